"""Cleaning: which pairs are kept, and in what form."""
