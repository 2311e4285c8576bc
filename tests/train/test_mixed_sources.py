"""Training on sources with weights and a temperature: how often pairs occur, and resuming within an epoch."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mtx.checkpoint.training import saved_steps
from mtx.config.settings import Config
from mtx.data import batching
from mtx.data.batching import Batch
from mtx.train import trainer
from mtx.train.trainer import train

pytestmark = pytest.mark.slow

Configure = Callable[..., Config]

SIZES, WEIGHTS = (24, 20, 10), (1.0, 2.5, 0.3)
BEGINS = np.cumsum([0, *SIZES]).tolist()
PLAIN = ["data.dev=null", "train.accumulate=1", "train.batch_tokens=60", "model.dropout=0.1"]


class Killed(BaseException):
    """Stands for the end of the process: nothing in mtx catches it."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three sources; all pairs differ."""
    folder = tmp_path_factory.mktemp("sources")
    for number, size in enumerate(SIZES):
        pairs = [f"{'abc'[number]} {' '.join(f'{line:05b}'.translate({48: 'x', 49: 'y'}))}" for line in range(size)]
        (folder / f"{number}.tsv").write_text("".join(f"{text[: 3 + len(text) // 2]}\t{text}\n" for text in pairs))
    return folder


def sources(folder: Path, weights: tuple[float, ...]) -> str:
    listed = (f"{{tsv: {folder}/{number}.tsv, weight: {weight}}}" for number, weight in enumerate(weights))
    return f"data.train=[{', '.join(listed)}]"


@pytest.fixture
def trained_on(monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """Rows of the batches of each step from now on."""
    updates: list[list[int]] = []
    real = trainer.train_step

    def noted(state: Any, loss_fn: Any, batches: list[Batch], *arguments: Any) -> Any:
        updates.append([row for batch in batches for row in batch.rows.tolist()])
        return real(state, loss_fn, batches, *arguments)

    monkeypatch.setattr(trainer, "train_step", noted)
    return updates


def epochs(updates: list[list[int]], num_epochs: int, size: int) -> list[Counter[int]]:
    """Count each line in each of the first epochs, of `size` lines each."""
    lines = [line for update in updates for line in update]
    assert len(lines) >= num_epochs * size, "the training was too short"
    return [Counter(lines[epoch * size : (epoch + 1) * size]) for epoch in range(num_epochs)]


def of_source(counts: Counter[int], number: int) -> list[int]:
    return [counts[line] for line in range(BEGINS[number], BEGINS[number + 1])]


def test_pairs_occur_as_often_as_the_weight_of_their_source_says(
    configure: Configure, folder: Path, tmp_path: Path, trained_on: list[list[int]]
) -> None:
    train(configure(sources(folder, WEIGHTS), *PLAIN, "train.max_steps=110", "train.save_every=110"), tmp_path / "run")
    size = sum(int(weight * size) for weight, size in zip(WEIGHTS, SIZES, strict=True))
    found = epochs(trained_on, 10, size)
    for number, (weight, num_pairs) in enumerate(zip(WEIGHTS, SIZES, strict=True)):
        so_far = Counter[int]()
        for counts in found:
            here = of_source(counts, number)
            assert sum(here) == int(weight * num_pairs)
            so_far += counts
            together = of_source(so_far, number)
            assert max(together) - min(together) <= 1
        assert together == [round(10 * weight)] * num_pairs


def test_a_temperature_makes_small_sources_more_frequent(
    configure: Configure, folder: Path, tmp_path: Path, trained_on: list[list[int]]
) -> None:
    """At temperature 2, sizes count by their square roots."""
    settings = ["data.temperature=2", "train.max_steps=30", "train.save_every=30"]
    train(configure(sources(folder, (1, 1, 1)), *PLAIN, *settings), tmp_path / "run")
    wanted = [int((24 * size) ** 0.5) for size in SIZES]
    assert wanted == [24, 21, 15]
    for counts in epochs(trained_on, 2, sum(wanted)):
        assert [sum(of_source(counts, number)) for number in range(3)] == wanted


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut an epoch of 77 lines into parts of 30, and sort 10 lines at a time."""
    monkeypatch.setattr(batching, "PART_PAIRS", 30)
    monkeypatch.setattr(batching, "WINDOW_PAIRS", 10)


@pytest.mark.usefixtures("small_parts")
def test_a_run_killed_within_an_epoch_continues_with_the_right_batches(
    configure: Configure, folder: Path, tmp_path: Path, trained_on: list[list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = [sources(folder, WEIGHTS), *PLAIN, "train.max_steps=40", "train.save_every=1", "train.keep=100"]
    train(configure(*settings), tmp_path / "whole")
    expected = trained_on.copy()
    states = {
        step: json.loads((tmp_path / "whole" / "checkpoints" / f"step-{step:06d}" / "state.json").read_text())
        for step in saved_steps(tmp_path / "whole" / "checkpoints")
    }
    positions = [[state["progress"][key] for key in ("epoch", "part", "batch")] for _, state in sorted(states.items())]
    assert positions == sorted(positions)
    assert {(epoch, part) for epoch, part, _ in positions} >= {(0, 0), (0, 1), (0, 2), (1, 0), (1, 1)}
    assert max(batch for _, _, batch in positions) >= 3

    # Kill a run at the beginning of each part and within it, and resume it each time.
    kills = [1, *(step for step in range(2, 40) if positions[step - 1][2] in (0, 2))]
    assert len(kills) > 10
    trained_on.clear()
    save = trainer.save
    for kill in kills:

        def save_then_die(state: Any, inputs: Any, kill: int = kill) -> None:
            save(state, inputs)
            if state.progress.step == kill:
                raise Killed

        monkeypatch.setattr(trainer, "save", save_then_die)
        with pytest.raises(Killed):
            train(configure(*settings), tmp_path / "killed")
    monkeypatch.setattr(trainer, "save", save)
    train(configure(*settings), tmp_path / "killed")
    assert trained_on == expected
    weights = [tmp_path / run / "checkpoints" / "step-000040" / "weights.safetensors" for run in ("whole", "killed")]
    assert weights[0].read_bytes() == weights[1].read_bytes()
