"""Training by several processes: the process group and the launcher."""
