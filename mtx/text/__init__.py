"""Text: sentences, pieces and ids."""
