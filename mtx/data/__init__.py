"""Parallel text in, batches of token ids out."""
