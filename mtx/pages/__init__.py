"""HTML pages that need no network, in one style."""
