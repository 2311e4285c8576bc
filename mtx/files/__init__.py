"""Files: atomic writes, sealed folders, locks, and files from strangers."""
