"""Random state: seeding, saving and restoring."""

import random

import numpy as np
import torch
from torch import Tensor


def seed_everything(seed: int) -> None:
    """Seed the generators of Python, NumPy and torch."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def random_state() -> dict[str, Tensor]:
    """The states of torch's generators by device; training uses no other generators."""
    gpus = {f"cuda:{index}": state for index, state in enumerate(torch.cuda.get_rng_state_all())}
    return {"cpu": torch.get_rng_state()} | gpus


def restore_random_state(state: dict[str, Tensor]) -> None:
    """Restore torch's generators, except those of devices that this machine lacks."""
    torch.set_rng_state(state["cpu"])
    for index in range(torch.cuda.device_count()):
        if f"cuda:{index}" in state:
            torch.cuda.set_rng_state(state[f"cuda:{index}"], index)


def decorrelate_rng(rank: int) -> None:
    """Give this rank its own random stream, so that dropout differs between ranks; rank 0 keeps the common one."""
    if rank:
        torch.manual_seed(int(torch.randint(2**62, ())) + rank)
