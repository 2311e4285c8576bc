"""Faults that a run must survive, made again and again from outside; see `scripts/torture`."""
