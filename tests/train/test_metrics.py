"""What is logged: means over the updates that counted, the same after a restart."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mtx.train.metrics import Window, append_record, describe_record
from mtx.train.step import Awaited, UpdateStats


def stats(loss: float, num_tokens: int, *, is_skipped: bool = False) -> UpdateStats:
    grad_norm = torch.tensor(float("nan") if is_skipped else loss / 10)
    found = Awaited.of(torch.tensor(loss), torch.tensor(loss / 2), grad_norm, torch.tensor(is_skipped))
    return UpdateStats(1, found, 0.1, num_tokens, 40, 30, np.arange(2), num_cuts=0)


UPDATES = [stats(0.1, 3), stats(float("nan"), 5, is_skipped=True), stats(7.7, 10), stats(0.7, 1)]


def record_of(updates: list[UpdateStats], window: Window | None = None) -> dict[str, Any]:
    window = window or Window()
    for update in updates:
        window.add(update, num_flops=30)
        window.seconds += 2.0
    return window.record(30, 0.1, matrix_rate=3e10)


def test_means_are_over_the_updates_that_were_made() -> None:
    record = record_of(UPDATES)
    assert record["loss"] == pytest.approx(8.5 / 14)
    assert record["nll"] == pytest.approx(8.5 / 28)
    assert record["grad_norm"] == pytest.approx(0.85 / 3)
    assert record["tokens_per_second"] == pytest.approx(14 / 8)
    assert record["mfu"] == pytest.approx(4 * 30 / 8 / 3e10)
    assert record["padding"] == pytest.approx(1 / 4)
    assert {key: record[key] for key in ("event", "step", "lr", "tokens", "skipped")} == {
        "event": "update", "step": 30, "lr": 0.1, "tokens": 14, "skipped": 1,
    }  # fmt: skip
    assert describe_record(record, 1000).startswith("step 30/1,000  loss 0.607  perplexity 1.35 ")
    assert describe_record(record, 1000).endswith(" 2 tokens/s, 0 % of 30 GFLOP/s, 1 skipped")


@pytest.mark.parametrize("cut", range(len(UPDATES) + 1))
def test_a_window_that_was_saved_goes_on(cut: int) -> None:
    first = Window()
    record_of(UPDATES[:cut], first)
    second = Window(**json.loads(json.dumps(asdict(first))))
    assert record_of(UPDATES[cut:], second) == record_of(UPDATES)


def test_where_every_update_was_skipped_there_is_no_mean() -> None:
    record = record_of(UPDATES[1:2])
    assert (record["loss"], record["skipped"]) == (None, 1)
    assert "1 updates skipped" in describe_record(record, 50)
    json.loads(json.dumps(record, allow_nan=False))


def test_a_number_that_is_not_finite_is_null(tmp_path: Path) -> None:
    append_record(tmp_path / "metrics.jsonl", {"step": 1, "loss": float("nan"), "bleu": float("-inf"), "chrf": 0.5})
    assert (tmp_path / "metrics.jsonl").read_text() == '{"step": 1, "loss": null, "bleu": null, "chrf": 0.5}\n'
