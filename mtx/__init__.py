"""mtx: train a translator from parallel text, and use it, from the command line."""

__version__ = "0.1.0"
