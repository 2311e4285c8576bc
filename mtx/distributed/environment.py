"""What a launcher tells a process that it starts as one of several: variables that torchrun has made usual."""

import os

VARIABLES = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


def is_launched() -> bool:
    """Whether a launcher has started this process as one of several that train together."""
    return all(name in os.environ for name in VARIABLES)


def is_rank0() -> bool:
    """Whether this process is the one of them that reports, or by itself."""
    return not is_launched() or os.environ["RANK"] == "0"
