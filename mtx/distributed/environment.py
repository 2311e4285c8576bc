"""The environment variables by which torchrun and other launchers tell a process its rank."""

import os

VARIABLES = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


def is_launched() -> bool:
    """Whether a launcher started this process as one of several ranks."""
    return all(name in os.environ for name in VARIABLES)


def is_rank0() -> bool:
    """Whether this process reports to the user: rank 0, or a process that trains alone."""
    return not is_launched() or os.environ["RANK"] == "0"
