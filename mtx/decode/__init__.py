"""From a trained model to translations: `search` (ids in, ids out) and `translator` (strings in, strings out)."""
