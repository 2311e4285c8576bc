"""Bad pairs, too little memory, a broken GPU: the error names the lines, and nothing is lost or damaged."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from mtx.checkpoint.training import saved_steps
from mtx.config.settings import Config, TrainSettings
from mtx.data.batching import Batch
from mtx.errors import ExitCode, UserError
from mtx.model import Transformer
from mtx.system.device import Precision
from mtx.train import spikes, trainer, validation
from mtx.train.loss import LOSSES, Loss, blocked_cross_entropy
from mtx.train.optim import learning_rate
from mtx.train.records import read_metrics
from mtx.train.step import train_step
from mtx.train.trainer import train

pytestmark = pytest.mark.slow

Configure = Callable[..., Config]


@pytest.fixture
def faulty(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[list[int]]]:
    """Let a function change the losses of training batches, or raise; returns the rows of every batch so far."""

    def faulty(change: Callable[[Loss, Batch, int], Loss]) -> list[list[int]]:
        taken: list[list[int]] = []

        def faulty_loss(model: Transformer, batch: Batch, settings: TrainSettings) -> Loss:
            taken.append(batch.rows.tolist())
            return change(blocked_cross_entropy(model, batch, settings), batch, len(taken))

        monkeypatch.setitem(LOSSES, "cross_entropy", faulty_loss)
        return taken

    return faulty


def step_records(run: Path) -> list[dict[str, Any]]:
    return [record for record in read_metrics(run / "metrics.jsonl") if record["event"] == "update"]


def checkpoint(run: Path, step: int) -> dict[str, Tensor]:
    """Weights and moments."""
    folder = run / "checkpoints" / f"step-{step:06d}"
    return {name: tensor for path in folder.glob("[wo]*.safetensors") for name, tensor in load_file(path).items()}


def is_same(some: dict[str, Tensor], others: dict[str, Tensor]) -> bool:
    assert some.keys() == others.keys()
    return all(tensor.equal(others[name]) for name, tensor in some.items())


UNCLEANED = ("clean.level=none",)
"""Rows of the corpus are then lines of the file, except for empty pairs."""
EVERY_STEP = ("train.save_every=1", "train.log_every=1", "train.keep=99", "train.accumulate=1", "train.eval_every=99")


def without_dev(config: Config) -> Config:
    return config.model_copy(update={"data": config.data.model_copy(update={"dev": ()})})


# --- numbers that are not finite -------------------------------------------------------------------------------------


def test_a_skipped_step_changes_only_the_count_of_steps(
    configure: Configure, tmp_path: Path, faulty: Callable[..., Any]
) -> None:
    config, run = configure(*EVERY_STEP, "train.max_steps=6"), tmp_path / "run"
    faulty(lambda loss, _, number: loss._replace(total=loss.total * math.nan) if number == 4 else loss)
    train(config, run)
    assert is_same(checkpoint(run, 4), checkpoint(run, 3))
    assert not is_same(checkpoint(run, 5), checkpoint(run, 4))
    records = step_records(run)
    assert [record["skipped"] for record in records] == [0, 0, 0, 1, 0, 0]
    assert [record["loss"] is None for record in records] == [False, False, False, True, False, False]
    # The schedule is a function of the step alone.
    assert [record["lr"] for record in records] == [learning_rate(step, config.train) for step in range(1, 7)]


def test_ten_skips_in_a_row_end_the_run_and_name_their_pairs(
    configure: Configure, tmp_path: Path, config_path: Path, faulty: Callable[..., Any]
) -> None:
    """The second of two sources begins with a pair that is dropped; the lines named are still those of the files."""
    pairs = (config_path.parent / "train.tsv").read_text().splitlines(keepends=True)
    for name, part in (("first.tsv", pairs[:20]), ("second.tsv", ["\tempty\n", *pairs[20:]])):
        (tmp_path / name).write_text("".join(part))
    sources = f"[{{tsv: {tmp_path}/first.tsv}}, {{tsv: {tmp_path}/second.tsv}}]"
    steps = ("train.save_every=5", "train.keep=9", "train.max_steps=40")
    config = without_dev(configure(*UNCLEANED, *steps, f"data.train={sources}"))
    taken = faulty(lambda loss, _, number: loss._replace(total=loss.total * math.nan) if number > 2 * 7 else loss)
    run = tmp_path / "run"
    with pytest.raises(UserError, match=r"diverged: 10 steps .* \(step 17, last good step 7, .*bad-batch.json\)") as e:
        train(config, run)
    assert e.value.code == ExitCode.DIVERGED
    report = json.loads((run / "bad-batch.json").read_text())
    assert (report["step"], report["last_good_step"]) == (17, 7)
    found = [(Path(part["source"]["tsv"]), line) for part in report["lines"] for line in part["lines"]]
    texts = [path.read_text().splitlines(keepends=True)[line - 1] for path, line in found]
    assert texts == [pairs[row] for row in sorted(taken[-2] + taken[-1])]
    assert len(report["lines"]) == 2
    assert saved_steps(run / "checkpoints")[-1] == 16
    for step in saved_steps(run / "checkpoints"):
        assert all(tensor.isfinite().all() for tensor in checkpoint(run, step).values())


def test_skips_in_a_row_are_counted_across_a_restart(
    configure: Configure, tmp_path: Path, faulty: Callable[..., Any]
) -> None:
    faulty(lambda loss, *_: loss._replace(total=loss.total * math.nan))
    for max_steps in (4, 8):
        train(without_dev(configure(f"train.max_steps={max_steps}", "train.accumulate=1")), tmp_path / "run")
    with pytest.raises(UserError, match=r"step 10, last good step 0,"):
        train(without_dev(configure("train.max_steps=12", "train.accumulate=1")), tmp_path / "run")


def test_a_loss_scale_below_its_minimum_ends_the_run(
    configure: Configure, tmp_path: Path, faulty: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**-11)
    monkeypatch.setattr(Precision, "scaler", lambda _: scaler)
    faulty(lambda loss, _, number: loss._replace(total=loss.total * math.nan) if number % 2 else loss)
    with pytest.raises(UserError, match=r"overflow fp16 even if scaled by 0.0001 \(step 5, last good step 4,") as e:
        train(configure("train.max_steps=40", "train.accumulate=1", "data.dev=null"), tmp_path / "run")
    assert e.value.code == ExitCode.DIVERGED


# --- spikes ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def short_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spikes, "MEMORY", 20)


@pytest.mark.usefixtures("short_memory")
@pytest.mark.parametrize("is_skipped", [False, True])
def test_a_spike_is_logged_with_its_lines_and_skipped_on_request(
    is_skipped: bool, configure: Configure, tmp_path: Path, faulty: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    taken = faulty(lambda loss, _, number: loss._replace(total=loss.total * 1e4) if number == 25 else loss)
    steps = (*EVERY_STEP, "train.max_steps=26", "train.keep=3")
    config = configure(*UNCLEANED, *steps, f"train.skip_spikes={is_skipped}".lower())
    train(without_dev(config), tmp_path / "run")
    logged = [message for message in caplog.messages if "lately" in message]
    assert len(logged) == 1
    assert logged[0].startswith(f"step 25  {'skipped' if is_skipped else 'spike'}: loss ")
    assert logged[0].endswith(f": train.tsv lines {', '.join(str(row + 1) for row in sorted(taken[24]))}")
    records = step_records(tmp_path / "run")
    assert [record["step"] for record in records if record["spikes"]] == [25]
    assert [record["step"] for record in records if record["skipped"]] == ([25] if is_skipped else [])
    assert is_same(checkpoint(tmp_path / "run", 25), checkpoint(tmp_path / "run", 24)) == is_skipped


# --- memory ----------------------------------------------------------------------------------------------------------


def raise_above(num_tokens: int, error: Exception) -> Callable[[Any, Batch, Any], Any]:
    def raise_above(loss: Any, batch: Batch, _: Any) -> Any:
        if batch.tgt_out.numel() > num_tokens:
            raise error
        return loss

    return raise_above


def test_splitting_batches_gives_the_same_weights(
    configure: Configure, tmp_path: Path, faulty: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    config = configure("model.dropout=0.0", "train.log_every=1")
    expected = load_file(train(config, tmp_path / "whole") / "model.safetensors")
    faulty(raise_above(60, RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes.")))
    found = load_file(train(config, tmp_path / "parts") / "model.safetensors")
    for name, weight in expected.items():
        if "k_proj.bias" not in name:  # softmax ignores it: its gradient is rounding error, which Adam magnifies
            torch.testing.assert_close(found[name], weight, rtol=0, atol=1e-6)
    logged = [message for message in caplog.messages if "out of memory" in message]
    assert len(logged) == 1
    assert logged[0].startswith("step 1  out of memory: batch split in two (same gradient)")
    for name in ("tokens", "skipped", "lr"):
        assert [r[name] for r in step_records(tmp_path / "parts")] == [
            r[name] for r in step_records(tmp_path / "whole")
        ]


def test_a_pair_that_does_not_fit_is_named(
    configure: Configure, tmp_path: Path, config_path: Path, faulty: Callable[..., Any]
) -> None:
    taken = faulty(raise_above(8, torch.OutOfMemoryError("CUDA out of memory.")))
    with pytest.raises(UserError, match="out of memory for one pair of 9 source and 9 target tokens") as e:
        train(configure(), tmp_path / "run")
    assert e.value.code == ExitCode.MACHINE
    ((number,),) = [taken[-1]]
    assert f"(train.tsv line {number + 1})" in str(e.value)
    assert "Free memory" in str(e.value)


def test_validation_in_parts_gives_the_same_scores(
    configure: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def scores(run: Path) -> list[dict[str, Any]]:
        return [record for record in read_metrics(run / "metrics.jsonl") if record["event"] == "validation"]

    train(configure(), tmp_path / "whole")
    for limit, is_enough in ((40, True), (8, False)):
        too_large = raise_above(limit, MemoryError())

        def limited(model: Transformer, batch: Batch, settings: TrainSettings, too_large: Any = too_large) -> Loss:
            return too_large(blocked_cross_entropy(model, batch, settings), batch, 0)  # type: ignore[no-any-return]

        monkeypatch.setattr(validation, "loss_function", lambda _, limited=limited: limited)
        if is_enough:
            train(configure(), tmp_path / "parts")
            for found, expected in zip(scores(tmp_path / "parts"), scores(tmp_path / "whole"), strict=True):
                assert found == {**expected, "loss": pytest.approx(expected["loss"]), "sets": found["sets"]}
        else:
            with pytest.raises(UserError, match=r"one pair of \d+ source and \d+ target tokens \(dev\.tsv line \d\)"):
                train(configure(), tmp_path / "alone")


# --- GPU -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("number", "where"), [(3, "before the first checkpoint"), (8, "last checkpoint: step 6")])
def test_a_gpu_failure_ends_the_run_and_the_same_command_continues(
    number: int, where: str, configure: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, run = configure(), tmp_path / "run"
    expected = load_file(train(config, tmp_path / "whole") / "model.safetensors")
    calls = iter(range(1, 100))

    def failing_step(*args: Any) -> Any:
        if next(calls) == number:
            raise torch.AcceleratorError("CUDA error: an illegal memory access was encountered\nCUDA kernel")
        return train_step(*args)

    with monkeypatch.context() as patch:
        patch.setattr(trainer, "train_step", failing_step)
        with pytest.raises(UserError, match=rf"GPU failed at step {number - 1}: CUDA error: .* \(.*, {where}\)") as e:
            train(config, run)
    assert e.value.code == ExitCode.MACHINE
    assert "\n" not in str(e.value)
    assert is_same(load_file(train(config, run) / "model.safetensors"), expected)


def test_other_errors_are_raised_unchanged(
    configure: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing_step(*_: Any) -> Any:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    monkeypatch.setattr(trainer, "train_step", failing_step)
    with pytest.raises(RuntimeError, match="cannot be multiplied"):
        train(configure(), tmp_path / "run")
