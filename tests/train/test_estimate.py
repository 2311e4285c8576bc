"""Estimate of a training before it begins: its parts add up, and the run stays untouched."""

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from mtx.config.settings import Config, ModelSettings, TrainSettings
from mtx.errors import ExitCode, UserError
from mtx.model import build_transformer
from mtx.system.device import choose_precision
from mtx.train import estimate as module
from mtx.train.estimate import Estimate, Sizes, estimate, estimate_run
from mtx.train.run_folder import RunFolder
from mtx.train.step import PairTooLargeError
from mtx.train.trainer import train

SIZES = Sizes(src_vocab_size=50, tgt_vocab_size=60, src_length=7, tgt_length=5, num_tokens=45.5)
SETTINGS = TrainSettings(max_steps=1_000, batch_tokens=64, save_every=100, eval_every=200, keep=2, average=3)


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SECONDS", 0.0)


def measured(settings: TrainSettings = SETTINGS, sizes: Sizes = SIZES, is_joint: bool = False) -> Estimate:
    shape = ModelSettings(d_model=8, num_heads=2, d_ff=16, encoder_layers=1, decoder_layers=1)
    model = build_transformer(
        shape, src_vocab_size=sizes.src_vocab_size, tgt_vocab_size=sizes.tgt_vocab_size, pad_id=0, is_joint=is_joint
    )
    return estimate(model, sizes, settings, choose_precision("fp32", torch.device("cpu")))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Make steps take 1 ms per token plus 2 s for Adam; returns the names of what is measured."""
    asked: list[str] = []

    def seconds(make: Callable[[], object], *_: object) -> float:
        name = make.func.__name__  # type: ignore[attr-defined]
        asked.append(name)
        return 2.0 if name == "_optimizer_step" else 2.0 + make.args[2][0].num_tokens / 1000  # type: ignore[attr-defined]

    monkeypatch.setattr(module, "_seconds_of", seconds)
    return asked


@pytest.mark.parametrize("accumulate", [1, 4])
@pytest.mark.parametrize("batch_tokens", [64, 512, 1_000, 100_000])
def test_a_step_takes_its_batches_and_adam_once(accumulate: int, batch_tokens: int, clock: list[str]) -> None:
    tokens = batch_tokens * 5 / 7  # the shorter side
    settings = SETTINGS.model_copy(update={"accumulate": accumulate, "batch_tokens": batch_tokens})
    found = measured(settings, replace(SIZES, num_tokens=tokens))
    assert found.num_tokens == round(accumulate * tokens)
    assert found.seconds_per_step == pytest.approx(2 + accumulate * tokens / 1000, rel=0.1)
    assert found.seconds == found.seconds_per_step * 1_000
    assert found.is_full_size == (batch_tokens <= 512), "after the first, a larger one would take too long"
    assert clock == ["train_step", "_optimizer_step"]


@pytest.mark.parametrize("accumulate", [1, 4])
def test_time_is_proportional_to_the_tokens_in_a_batch(accumulate: int, clock: list[str]) -> None:
    settings = SETTINGS.model_copy(update={"accumulate": accumulate, "batch_tokens": 512})
    found = measured(settings, replace(SIZES, num_tokens=20.5))
    assert found.num_tokens == round(20.5 * accumulate)
    assert found.seconds_per_step == pytest.approx(2 + accumulate * 0.0205)
    assert clock == ["train_step", "_optimizer_step"]


def test_batches_grow_while_there_is_time(clock: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SECONDS", 1e9)
    found = measured(SETTINGS.model_copy(update={"batch_tokens": 3_000}))
    assert found.is_full_size
    assert clock == ["train_step"] * 4 + ["_optimizer_step"]  # of 512, 1,024, 2,048 and 3,000 tokens


@pytest.mark.parametrize("is_joint", [False, True])
def test_memory_is_the_sum_of_its_parts(is_joint: bool) -> None:
    sizes = Sizes(60, 60, 7, 5, 45.5)
    found = measured(sizes=sizes, is_joint=is_joint)
    layers = 4 * (8 * 8 + 8) + 2 * 8 * 16 + 16 + 8 + 2 * 2 * 8  # of an encoder: attention, feed-forward, two norms
    layers += 8 * (8 * 8 + 8) + 2 * 8 * 16 + 16 + 8 + 3 * 2 * 8 + 2 * 2 * 8  # of a decoder; the closing norms
    assert found.weights == 4 * (layers + 60 * 8 * (1 if is_joint else 2))
    assert found.memory == 4 * found.weights + found.batch
    assert found.disk == 5 * 3 * found.weights + found.weights  # three in the mean, the best, one being written
    short = measured(SETTINGS.model_copy(update={"max_steps": 100, "average": 1}), sizes, is_joint)
    assert short.disk == 2 * 3 * found.weights + found.weights, "the run saves no more often"


def test_a_batch_is_full_and_its_ids_are_in_the_vocabulary() -> None:
    batch = module._random_batch(SIZES, 64, module.np.random.default_rng(1))
    assert batch.src_ids.shape == (9, 7)
    assert batch.tgt_out.shape == (9, 5)
    assert (batch.num_src_tokens, batch.num_tokens) == (63, 45)
    assert int(batch.src_ids.max()) < 50
    assert int(batch.tgt_out.max()) < 60
    assert module._random_batch(SIZES, 1, module.np.random.default_rng(1)).src_ids.shape == (1, 7)


def test_too_little_memory_for_a_pair_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def train_step(*arguments: object) -> None:
        raise PairTooLargeError(arguments[2][0])  # type: ignore[index]

    monkeypatch.setattr(module, "train_step", train_step)
    with pytest.raises(UserError, match="no memory for one pair of 7 source and 5 target tokens") as caught:
        measured()
    assert caught.value.code == ExitCode.MACHINE


def test_the_median_of_the_tries_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([0, 5, 10, 11, 20, 24])
    monkeypatch.setattr(module.time, "perf_counter", lambda: float(next(times)))
    assert module._seconds_of(lambda: None, torch.device("cpu"), 8.0) == 4  # of 5, 1 and 4


@pytest.fixture
def snapshot(config_path: Path) -> Callable[[], dict[Path, bytes]]:
    """Contents of the files beside the config."""
    return lambda: {path: path.read_bytes() for path in config_path.parent.rglob("*") if path.is_file()}


def test_a_dry_run_logs_an_estimate_and_writes_nothing(
    configure: Callable[..., Config],
    snapshot: Callable[[], dict[Path, bytes]],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    caplog.set_level(logging.INFO, "mtx")
    before = snapshot()
    estimate_run(configure(), RunFolder(tmp_path / "run"))
    assert snapshot() == before
    assert list(tmp_path.iterdir()) == []
    logged = [message.split()[0] for message in caplog.messages]
    assert logged[-2:] == ["time", "memory"]
    assert "for 12 steps of " in caplog.messages[-2]


@pytest.mark.slow
def test_a_dry_run_does_not_change_a_later_run(
    configure: Callable[..., Config], tmp_path: Path, one_thread: None
) -> None:
    plain = train(configure("train.max_steps=3"), tmp_path / "plain")
    estimate_run(configure("train.max_steps=3"), RunFolder(tmp_path / "after"))
    after = train(configure("train.max_steps=3"), tmp_path / "after")
    names = ["model.safetensors", "spm.model"]
    assert [(after / name).read_bytes() for name in names] == [(plain / name).read_bytes() for name in names]


def test_a_run_keeps_no_more_on_disk_than_estimated(configure: Callable[..., Config], tmp_path: Path) -> None:
    config = configure("train.average=2")
    folder = train(config, tmp_path / "run")
    sizes = [path.stat().st_size for path in (tmp_path / "run").rglob("*.safetensors") if path.stem != "random"]
    weights = (folder / "model.safetensors").stat().st_size
    assert sum(sizes) <= module.max_kept(config.train) * 3 * weights + weights + 4_096 * len(sizes)
