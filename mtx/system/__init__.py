"""The machine: device, memory, random state, logs, signals, processes."""
