"""Programs that run in the contestants' own processes."""
