"""Device, memory, random state, logs, signals and processes."""
