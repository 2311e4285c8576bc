"""`python -m mtx` is `mtx`."""

from mtx.cli import main

if __name__ == "__main__":
    main()
