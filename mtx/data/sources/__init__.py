"""Sources of parallel text: one file per kind."""
