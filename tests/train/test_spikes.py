"""Spikes are judged by mean and deviation of the last steps, which one outlier hardly changes."""

import json
import math
from dataclasses import asdict

import numpy as np
import pytest

from mtx.train.spikes import MEMORY, SIGMAS, RunningStats, SpikeDetector

RNG = np.random.default_rng(1)
USUAL = RNG.normal(5.0, 0.5, 1000).tolist()


def stats_after(values: list[float]) -> RunningStats:
    stats = RunningStats()
    for value in values:
        stats.add(value)
    return stats


def test_at_first_the_statistics_cover_all_values() -> None:
    for count in (1, 2, MEMORY):
        stats = stats_after(USUAL[:count])
        assert stats.mean == pytest.approx(np.mean(USUAL[:count]), rel=1e-12)
        assert stats.variance == pytest.approx(np.var(USUAL[:count]), rel=1e-12)
        assert stats.threshold == (math.inf if count < MEMORY else stats.mean + SIGMAS * math.sqrt(stats.variance))


def test_later_the_statistics_cover_recent_values() -> None:
    moved = stats_after([value + 20 for value in USUAL[:300]] + USUAL * 2)
    assert moved.mean == pytest.approx(5.0, abs=0.2)
    assert math.sqrt(moved.variance) == pytest.approx(0.5, rel=0.2)


def test_an_outlier_does_not_mask_the_next_and_a_new_level_is_soon_learned() -> None:
    stats = stats_after(USUAL)
    assert max(USUAL) < stats.threshold < 9
    stats.add(1e9)
    assert stats.threshold < 9
    num_spikes = 0
    while stats.threshold < 50.0:
        stats.add(50.0)
        num_spikes += 1
    assert 5 < num_spikes < MEMORY / 2


def test_a_value_slightly_above_a_constant_is_no_spike() -> None:
    stats = stats_after([2.0] * 2 * MEMORY)
    assert 2.1 < stats.threshold < 2.2


def test_both_loss_and_gradient_can_spike_also_after_a_restart() -> None:
    detector = SpikeDetector()
    for loss, grad_norm in zip(USUAL[::2], USUAL[1::2], strict=True):
        detector.add(loss, grad_norm)
    for numbers, expected in (((5.0, 5.0), False), ((9.0, 5.0), True), ((5.0, 9.0), True), ((0.0, 0.0), False)):
        assert detector.is_spike(*numbers) is expected
    assert SpikeDetector.restore(json.loads(json.dumps(asdict(detector)))) == detector
    assert SpikeDetector.restore({}) == SpikeDetector()
    assert detector.format(9.0, 5.0) == "loss 9.00 (lately 4.96), gradient 5.00 (lately 4.99)"
