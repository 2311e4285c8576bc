"""Metrics: means over the steps that counted, the same after a restart."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mtx.train.metrics import Window, format_record
from mtx.train.run_folder import RunFolder
from mtx.train.step import StepStats


def stats(loss: float, num_tokens: int, *, is_skipped: bool = False) -> StepStats:
    grad_norm = float("nan") if is_skipped else loss / 10
    return StepStats(1, loss, loss / 2, grad_norm, is_skipped, 0.1, num_tokens, 40, 30, np.arange(2), num_splits=0)


STEPS = [stats(0.1, 3), stats(float("nan"), 5, is_skipped=True), stats(7.7, 10), stats(0.7, 1)]


def record_of(steps: list[StepStats], window: Window | None = None) -> dict[str, Any]:
    window = window or Window()
    for step in steps:
        window.add(step, num_flops=30, seconds=2.0)
    return window.record(30, 0.1, matrix_rate=3e10)


def test_means_leave_out_skipped_steps() -> None:
    record = record_of(STEPS)
    assert record["loss"] == pytest.approx(8.5 / 14)
    assert record["nll"] == pytest.approx(8.5 / 28)
    assert record["grad_norm"] == pytest.approx(0.85 / 3)
    assert record["tokens_per_second"] == pytest.approx(14 / 8)
    assert record["mfu"] == pytest.approx(4 * 30 / 8 / 3e10)
    assert record["padding"] == pytest.approx(1 / 4)
    assert {key: record[key] for key in ("event", "step", "lr", "tokens", "skipped")} == {
        "event": "update", "step": 30, "lr": 0.1, "tokens": 14, "skipped": 1,
    }  # fmt: skip
    assert format_record(record, 1000).startswith("step 30/1,000  loss 0.607  perplexity 1.35 ")
    assert format_record(record, 1000).endswith(" 2 tokens/s, 0 % of 30 GFLOP/s, 1 skipped")


@pytest.mark.parametrize("cut", range(len(STEPS) + 1))
def test_a_saved_window_continues(cut: int) -> None:
    first = Window()
    record_of(STEPS[:cut], first)
    second = Window(**json.loads(json.dumps(asdict(first))))
    assert record_of(STEPS[cut:], second) == record_of(STEPS)


def test_there_is_no_mean_if_every_step_was_skipped() -> None:
    record = record_of(STEPS[1:2])
    assert (record["loss"], record["skipped"]) == (None, 1)
    assert "all 1 steps skipped" in format_record(record, 50)
    json.loads(json.dumps(record, allow_nan=False))


def test_numbers_that_are_not_finite_become_null(tmp_path: Path) -> None:
    RunFolder(tmp_path).append_metrics({"step": 1, "loss": float("nan"), "bleu": float("-inf"), "chrf": 0.5})
    assert (tmp_path / "metrics.jsonl").read_text() == '{"step": 1, "loss": null, "bleu": null, "chrf": 0.5}\n'
