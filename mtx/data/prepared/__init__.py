"""Prepared corpora: text as ids on disk."""
