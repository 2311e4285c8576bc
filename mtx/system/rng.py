"""Random state: seeds, and what a checkpoint keeps of the generators."""

import logging
import random

import numpy as np
import torch
from torch import Tensor

LOGGER = logging.getLogger("mtx")


def seed_everything(seed: int) -> None:
    """Seed every generator that anything in the process may draw from."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def random_state() -> dict[str, Tensor]:
    """The state of torch's generators, the only ones that training draws from."""
    state = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        state |= {f"cuda:{index}": generator for index, generator in enumerate(torch.cuda.get_rng_state_all())}
    return state


def decorrelate_rng(rank: int) -> None:
    """Let this process, which has drawn as others have so far, draw as none of them does from now on."""
    if rank:
        torch.manual_seed(int(torch.randint(2**62, ())) + rank)


def restore_random_state(state: dict[str, Tensor]) -> None:
    """Put torch's generators back into `state`; those of devices that are not here are left out."""
    torch.set_rng_state(state["cpu"])
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            if f"cuda:{index}" in state:
                torch.cuda.set_rng_state(state[f"cuda:{index}"], index)
