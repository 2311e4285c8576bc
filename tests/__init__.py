"""Tests; a package, so that they and `scripts/torture` can share `tests.faults`."""
