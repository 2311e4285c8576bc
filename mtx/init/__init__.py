"""`mtx init`: look at parallel text and write a config for it."""
