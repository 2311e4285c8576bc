"""Benchmarks. Run them from the root of the repository: `python -m scripts.bench.train --help`."""
