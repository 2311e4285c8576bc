"""What is ordinary is the mean and deviation of the last updates, and one outlier does not change it much."""

import json
import math
from dataclasses import asdict

import numpy as np
import pytest

from mtx.train.spikes import MEMORY, SIGMAS, Level, Ordinary

RNG = np.random.default_rng(1)
USUAL = RNG.normal(5.0, 0.5, 1000).tolist()


def level_after(values: list[float]) -> Level:
    level = Level()
    for value in values:
        level.add(value)
    return level


def test_at_first_it_is_mean_and_deviation_of_all() -> None:
    for count in (1, 2, MEMORY):
        level = level_after(USUAL[:count])
        assert level.mean == pytest.approx(np.mean(USUAL[:count]), rel=1e-12)
        assert level.variance == pytest.approx(np.var(USUAL[:count]), rel=1e-12)
        assert level.highest == (math.inf if count < MEMORY else level.mean + SIGMAS * math.sqrt(level.variance))


def test_later_it_is_that_of_the_last_ones() -> None:
    moved = level_after([value + 20 for value in USUAL[:300]] + USUAL * 2)
    assert moved.mean == pytest.approx(5.0, abs=0.2)
    assert math.sqrt(moved.variance) == pytest.approx(0.5, rel=0.2)


def test_an_outlier_hides_no_other_and_a_new_level_is_soon_ordinary() -> None:
    level = level_after(USUAL)
    assert max(USUAL) < level.highest < 9
    level.add(1e9)
    assert level.highest < 9
    num_spikes = 0
    while level.highest < 50.0:
        level.add(50.0)
        num_spikes += 1
    assert 5 < num_spikes < MEMORY / 2


def test_where_nothing_changes_a_little_more_is_no_spike() -> None:
    level = level_after([2.0] * 2 * MEMORY)
    assert 2.1 < level.highest < 2.2


def test_loss_or_gradient_and_the_same_after_a_restart() -> None:
    ordinary = Ordinary()
    for loss, grad_norm in zip(USUAL[::2], USUAL[1::2], strict=True):
        ordinary.add(loss, grad_norm)
    for numbers, expected in (((5.0, 5.0), False), ((9.0, 5.0), True), ((5.0, 9.0), True), ((0.0, 0.0), False)):
        assert ordinary.is_spike(*numbers) is expected
    assert Ordinary.of(json.loads(json.dumps(asdict(ordinary)))) == ordinary
    assert Ordinary.of({}) == Ordinary()
    assert ordinary.describe(9.0, 5.0) == "loss 9.00 (lately 4.96), gradient 5.00 (lately 4.99)"
