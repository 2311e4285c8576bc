"""Scripts of this repository; nothing in `mtx` imports them."""
