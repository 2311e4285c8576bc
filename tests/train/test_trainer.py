"""A run keeps the right checkpoints, ends at the right time, and ends with the right weights."""

import json
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from mtx.checkpoint.training import Evaluation, saved_steps
from mtx.config.settings import Config
from mtx.errors import ExitCode, UserError
from mtx.train import finish, setup, trainer
from mtx.train.records import read_metrics
from mtx.train.run_folder import RunFolder
from mtx.train.trainer import train

pytestmark = pytest.mark.slow

Configure = Callable[..., Config]


def train_with_scores(config: Config, run: Path, scores: Sequence[float], score_of_mean: float = -1.0) -> list[int]:
    """Train, with these BLEU scores in the validations; return the steps whose weights were chosen."""
    coming = iter(scores)

    def validate(_inputs: Any, step: int, _signals: Any) -> Evaluation:
        return Evaluation(step, loss=1.0, bleu=next(coming), chrf=0.0)

    def validate_mean(_inputs: Any, step: int, _signals: Any) -> Evaluation:
        return Evaluation(step, loss=1.0, bleu=score_of_mean, chrf=0.0)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trainer, "validate", validate)
        patch.setattr(finish, "validate", validate_mean)
        model = train(config, run)
    assert next(coming, None) is None
    steps: list[int] = json.loads((model / "manifest.json").read_text())["about"]["steps"]
    return steps


def mean_of(run: Path, steps: list[int]) -> dict[str, torch.Tensor]:
    folders = [load_file(run / "checkpoints" / f"step-{step:06d}" / "weights.safetensors") for step in steps]
    return {name: torch.stack([f[name].double() for f in folders]).mean(0).float() for name in folders[0]}


def test_averaged_checkpoints_are_used_only_if_dev_scores_them_higher(configure: Configure, tmp_path: Path) -> None:
    config = configure("train.eval_every=2", "train.save_every=100", "train.max_steps=8")
    for name, score_of_mean, chosen in (("better", 31.0, [4, 6, 8]), ("equal", 30.0, [2]), ("worse", 29.0, [2])):
        run = tmp_path / name
        assert train_with_scores(config, run, [30.0, 10.0, 20.0, 15.0], score_of_mean) == chosen
        model = load_file(run / "model" / "model.safetensors")
        for weight_name, weight in mean_of(run, chosen).items():
            torch.testing.assert_close(model[weight_name], weight, rtol=2e-7, atol=0)
        card = (run / "model" / "README.md").read_text()
        assert f"| weights of step | {', '.join(map(str, chosen))} |" in card


def test_undeleted_checkpoints_are_deleted_at_the_end(configure: Configure, tmp_path: Path) -> None:
    config, leftover = configure("train.max_steps=4"), tmp_path / "run" / "checkpoints" / "step-000001.old-7"
    real = trainer.write_model

    def write_model(*arguments: Any) -> None:
        leftover.mkdir()
        real(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trainer, "write_model", write_model)
        train(config, tmp_path / "run")
    assert not leftover.exists()


def test_damaged_checkpoints_are_left_out_at_the_end(
    configure: Configure, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config, whole = configure("train.eval_every=2", "train.save_every=100", "train.max_steps=8"), tmp_path / "whole"
    train_with_scores(config, whole, [30.0, 10.0, 20.0, 15.0])
    assert saved_steps(whole / "checkpoints") == [2, 4, 6, 8]
    shutil.rmtree(whole / "model")
    for damaged, score_of_mean, chosen in (
        ([2], 1.0, [6]),  # the second best
        ([2, 6], 1.0, [8]),
        ([2, 6], 31.0, [4, 8]),  # the undamaged ones of the last three
        ([2, 4, 6], 31.0, [8]),  # one checkpoint has no mean
        ([4, 6], 1.0, [2]),
    ):
        run = tmp_path / f"{damaged} {score_of_mean}"
        shutil.copytree(whole, run)
        for step in damaged:
            (run / "checkpoints" / f"step-{step:06d}" / "state.json").write_text("{}")
        caplog.clear()
        assert train_with_scores(config, run, [15.0], score_of_mean) == chosen
        lines = [line for line in caplog.messages if "is damaged" in line]
        assert lines == [f"step-{step:06d} is damaged (state.json: wrong checksum); skipped" for step in damaged]
        model = load_file(run / "model" / "model.safetensors")
        for name, weight in mean_of(run, chosen).items():
            torch.testing.assert_close(model[name], weight, rtol=2e-7, atol=0)


def test_best_newest_and_previous_checkpoints_are_kept(configure: Configure, tmp_path: Path) -> None:
    overrides = ["train.eval_every=1", "train.max_steps=6", "train.average=1"]
    for scores, kept in (
        ([1, 9, 2, 3, 4, 5], [2, 5, 6]),
        ([1, 2, 3, 4, 5, 6], [5, 6]),
        ([1, 1, 1, 1, 1, 1], [1, 5, 6]),
    ):
        run = tmp_path / str(kept)
        train_with_scores(configure(*overrides), run, scores)
        assert saved_steps(run / "checkpoints") == kept
    train_with_scores(configure(*overrides, "train.keep=4"), tmp_path / "four", [9, 1, 1, 1, 1, 1])
    assert saved_steps(tmp_path / "four" / "checkpoints") == [1, 3, 4, 5, 6]


def test_training_ends_when_dev_scores_stop_improving(configure: Configure, tmp_path: Path) -> None:
    config = configure("train.eval_every=1", "train.save_every=100", "train.patience=2", "train.log_every=1")
    assert train_with_scores(config, tmp_path / "run", [1.0, 3.0, 2.0, 4.0, 4.0, 3.9]) == [4]
    metrics = list(read_metrics(tmp_path / "run" / "metrics.jsonl"))
    assert metrics[-1] == {"event": "validation", "step": 6, "loss": 1.0, "bleu": 3.9, "chrf": 0.0, "sets": []}
    assert [record["step"] for record in metrics if record["event"] == "update"] == [1, 2, 3, 4, 5, 6]
    assert RunFolder(tmp_path / "run").finished_steps() == config.train.max_steps


def test_the_last_weights_are_used_without_a_dev_set(configure: Configure, config_path: Path, tmp_path: Path) -> None:
    config = configure("train.max_steps=5", "train.eval_every=5")
    config = config.model_copy(update={"data": config.data.model_copy(update={"dev": ()})})
    model = load_file(train(config, tmp_path / "run") / "model.safetensors")
    last = load_file(tmp_path / "run" / "checkpoints" / "step-000005" / "weights.safetensors")
    assert model.keys() == last.keys()
    assert all(weight.equal(last[name]) for name, weight in model.items())


def test_divergence_ends_the_run_and_is_in_no_checkpoint(configure: Configure, tmp_path: Path) -> None:
    config = configure(
        "train.lr=1e30", "train.warmup_steps=0", "train.max_steps=30", "train.save_every=1", "train.log_every=1"
    )
    config = config.model_copy(update={"data": config.data.model_copy(update={"dev": ()})})
    with pytest.raises(UserError, match="training diverged: 10 steps in a row") as caught:
        train(config, tmp_path / "run")
    assert caught.value.code == ExitCode.DIVERGED
    metrics = list(read_metrics(tmp_path / "run" / "metrics.jsonl"))
    assert [record["skipped"] for record in metrics][-9:] == [1] * 9
    saved = [load_file(path) for path in tmp_path.glob("run/checkpoints/*/[wo]*.safetensors")]
    assert saved
    assert all(tensor.isfinite().all() for tensors in saved for tensor in tensors.values())


@pytest.mark.parametrize("beam", [1, 3])
def test_divergence_found_by_a_validation_ends_the_run(beam: int, configure: Configure, tmp_path: Path) -> None:
    config = configure(
        "train.lr=1e30", "train.warmup_steps=0", "train.max_steps=4", "train.eval_every=2", f"train.eval_beam={beam}"
    )
    with pytest.raises(UserError, match="training diverged: the model's numbers overflow") as caught:
        train(config, tmp_path / "run")
    assert caught.value.code == ExitCode.DIVERGED


def test_compiling_needs_a_compiler(configure: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(setup, "has_compiler", lambda device: False)
    with pytest.raises(UserError, match=r"no compiler .* train\.compile to never") as caught:
        train(configure("train.compile=always"), tmp_path / "run")
    assert caught.value.code == ExitCode.MACHINE
    assert not (tmp_path / "run").exists()


def test_a_missing_test_set_is_reported_before_training(
    configure: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(setup, "make_tokenizer", lambda _: pytest.fail("the tokenizer came first"))
    with pytest.raises(UserError, match=r"nowhere\.en"):
        train(configure("data.test={src: nowhere.en, tgt: nowhere.de}"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_training_keeps_few_onednn_kernels(
    configure: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Batches of ever new sizes would fill a cache as large as that of a search, and hardly reuse anything."""
    capacity = "ONEDNN_PRIMITIVE_CACHE_CAPACITY"
    monkeypatch.setenv(capacity, "as it was")
    monkeypatch.delenv(capacity)
    train(configure("train.max_steps=1"), tmp_path / "run")
    assert 30 < int(os.environ[capacity]) < 100
