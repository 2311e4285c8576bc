"""Seeds and the random state of a checkpoint."""

import random

import numpy as np
import torch

from mtx.system.rng import random_state, restore_random_state, seed_everything


def draw() -> list[float]:
    return [random.random(), float(np.random.rand()), float(torch.rand(()))]


def test_the_seed_determines_every_generator() -> None:
    seed_everything(7)
    first = draw()
    seed_everything(7)
    assert draw() == first
    seed_everything(8)
    assert all(a != b for a, b in zip(draw(), first, strict=True))


def test_random_state_is_restored() -> None:
    state = random_state()
    first = torch.rand(3)
    restore_random_state({name: tensor.clone() for name, tensor in state.items()} | {"cuda:99": state["cpu"]})
    assert torch.rand(3).equal(first)
