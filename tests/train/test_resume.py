"""A run that was stopped, killed or damaged anywhere ends like an uninterrupted one, bit for bit."""

import hashlib
import json
import math
import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from mtx.checkpoint.training import saved_steps
from mtx.config.settings import Config, TrainSettings
from mtx.data.batching import Batch
from mtx.errors import ExitCode, UserError
from mtx.model import Transformer
from mtx.train import checkpoints, finish, spikes, trainer, validation
from mtx.train.loss import LOSSES, Loss, blocked_cross_entropy
from mtx.train.records import read_metrics
from mtx.train.run_folder import RunFolder
from mtx.train.trainer import train

pytestmark = pytest.mark.slow

Configure = Callable[..., Config]

TIMES = {"seconds", "tokens_per_second", "mfu", "matrix_rate"}
LAST = 12


class Killed(BaseException):
    """Stands for the end of the process: nothing in mtx catches it."""


def result(run: Path, last_step: int = LAST) -> dict[str, Any]:
    """Everything that a finished run leaves, except for times."""
    last = run / "checkpoints" / f"step-{last_step:06d}"
    state = json.loads((last / "state.json").read_text())
    for times in (state["progress"], state["progress"]["unlogged"]):
        times.pop("seconds")
    files = {
        str(path.relative_to(run)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in [*last.glob("*.safetensors"), *run.glob("model/*.*"), run / "tokenizer.model", run / "config.yaml"]
        if path.name != "README.md"
    }
    metrics = [
        {key: value for key, value in r.items() if key not in TIMES} for r in read_metrics(run / "metrics.jsonl")
    ]
    return {"files": files, "state": state, "metrics": metrics}


@pytest.fixture(scope="module")
def expected(configure: Configure, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The result of an uninterrupted run."""
    run = tmp_path_factory.mktemp("expected") / "run"
    train(configure(), run)
    found = result(run)
    steps = [(record["event"][:5], record["step"]) for record in found["metrics"]]
    assert steps == [("valid", 4), ("updat", 5), ("valid", 8), ("updat", 10), ("updat", 12), ("valid", 12)]
    assert found["state"]["progress"]["epoch"] >= 3
    return found


def call_then(
    monkeypatch: pytest.MonkeyPatch, where: Any, name: str, number: int, then: Callable[[], None], *, before: bool
) -> None:
    """Do `then` just before or after the `number`-th call of the function `name` of the module `where`."""
    real, calls = getattr(where, name), iter(range(1, 10_000))

    def call(*args: Any, **kwargs: Any) -> Any:
        is_it = next(calls) == number
        if is_it and before:
            then()
        answer = real(*args, **kwargs)
        if is_it and not before:
            then()
        return answer

    monkeypatch.setattr(where, name, call)


def kill() -> None:
    raise Killed


def train_until_killed(config: Config, run: Path, where: Any, name: str, number: int, *, before: bool = False) -> None:
    with pytest.MonkeyPatch.context() as patch:
        call_then(patch, where, name, number, kill, before=before)
        with pytest.raises(Killed):
            train(config, run)


def test_only_the_same_seed_gives_the_same_run(configure: Configure, tmp_path: Path, expected: dict[str, Any]) -> None:
    train(configure(), tmp_path / "again")
    assert result(tmp_path / "again") == expected
    train(configure("train.seed=2"), tmp_path / "other")
    assert (
        result(tmp_path / "other")["files"]["model/model.safetensors"] != expected["files"]["model/model.safetensors"]
    )


def test_a_run_stopped_after_every_step_ends_the_same(
    configure: Configure, tmp_path: Path, expected: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    config, run = configure(), tmp_path / "run"
    for step in range(1, LAST + 1):
        number, code = (signal.SIGINT, 130) if step == 2 else (signal.SIGTERM, 143)
        with monkeypatch.context() as patch:
            call_then(patch, trainer, "train_step", 1, lambda number=number: os.kill(os.getpid(), number), before=False)
            with pytest.raises(UserError, match=f"stopped by a signal at step {step}, state saved") as caught:
                train(config, run)
        assert caught.value.code == code
        assert saved_steps(run / "checkpoints")[-1] == step
        assert not (run / "model").exists()
    train(config, run)
    assert result(run) == expected


def test_a_run_with_skips_and_spikes_stopped_after_each_of_thirty_steps_ends_the_same(
    configure: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twelve epochs of five batches, two a step. One pair makes the loss of its batches NaN, another a spike."""

    def faulty_loss(model: Transformer, batch: Batch, settings: TrainSettings) -> Loss:
        loss = blocked_cross_entropy(model, batch, settings)
        return loss._replace(total=loss.total * (math.nan if 3 in batch.rows else 3.0 if 0 in batch.rows else 1.0))

    monkeypatch.setitem(LOSSES, "cross_entropy", faulty_loss)
    monkeypatch.setattr(spikes, "MEMORY", 4)
    monkeypatch.setattr(spikes, "SIGMAS", 0.5)
    overrides = [
        "clean.duplicates=keep",
        "train.max_steps=30",
        "train.eval_every=15",
        "train.save_every=10",
        "train.log_every=7",
    ]
    config, run = configure(*overrides, "train.skip_spikes=true"), tmp_path / "run"
    train(config, tmp_path / "whole")
    expected = result(tmp_path / "whole", 30)
    updates = [record for record in expected["metrics"] if record["event"] == "update"]
    num_skipped, num_spikes = (sum(record[name] for record in updates) for name in ("skipped", "spikes"))
    assert 30 > num_skipped > num_spikes > 1
    for step in range(1, 31):
        with monkeypatch.context() as patch:
            call_then(patch, trainer, "train_step", 1, lambda: os.kill(os.getpid(), signal.SIGTERM), before=False)
            with pytest.raises(UserError, match=f"stopped by a signal at step {step}, state saved"):
                train(config, run)
    train(config, run)
    assert result(run, 30) == expected


@pytest.mark.process
@pytest.mark.parametrize("threads", [1, 2])
def test_new_processes_give_the_same_run(
    threads: int, config_path: Path, program: Sequence[str], tmp_path: Path
) -> None:
    """Python's hash seed does not matter; it differs only where Python is started, not where `program` forks."""
    mtx = program if threads == 1 else [sys.executable, "-m", "mtx"]
    command = [*mtx, "train", "--config", str(config_path), "train.max_steps=4", "--run-dir"]
    for hash_seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "OMP_NUM_THREADS": str(threads)}
        environment["MTX_CACHE"] = str(tmp_path / f"cache-{hash_seed}")
        ended = subprocess.run([*command, str(tmp_path / hash_seed)], env=environment, capture_output=True, check=False)
        assert ended.returncode == 0, ended.stderr.decode()
    first, second = (result(tmp_path / hash_seed, 4) for hash_seed in ("1", "2"))
    assert first == second


def test_a_run_stopped_in_validations_ends_the_same(
    configure: Configure, tmp_path: Path, expected: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    config, run = configure(), tmp_path / "run"
    places: list[tuple[Any, str, int, int]] = [
        (trainer, "validate", 1, 4), (trainer, "validate", 1, 4), (trainer, "validate", 2, 8),
        (finish, "validate", 1, 12), (validation, "Translator", 3, 12),
    ]  # fmt: skip
    for where, name, number, step in places:
        with monkeypatch.context() as patch:
            call_then(patch, where, name, number, lambda: os.kill(os.getpid(), signal.SIGTERM), before=True)
            with pytest.raises(UserError, match=f"at step {step}, state saved") as caught:
                train(config, run)
        assert caught.value.code == ExitCode.TERMINATED
    train(config, run)
    assert result(run) == expected


def test_a_requested_save_changes_nothing(
    configure: Configure, tmp_path: Path, expected: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGUSR1 saves, and changes neither the run nor one that resumes from that save."""
    config, run = configure(), tmp_path / "run"
    with monkeypatch.context() as patch:
        call_then(patch, trainer, "train_step", 10, lambda: os.kill(os.getpid(), signal.SIGUSR1), before=False)
        call_then(patch, trainer, "train_step", 12, kill, before=True)
        with pytest.raises(Killed):
            train(config, run)
    assert saved_steps(run / "checkpoints")[-2:] == [9, 10], "once"
    train(config, run)
    assert result(run) == expected


@pytest.mark.process
@pytest.mark.parametrize(
    ("where", "name", "number", "before"),
    [
        (trainer, "train_step", 2, False),  # before the first save
        (trainer, "train_step", 11, False),
        (checkpoints, "save_checkpoint", 2, True),
        (checkpoints, "save_checkpoint", 2, False),  # not pruned, not validated: step 4
        (trainer, "validate", 2, False),  # validated, but not recorded
        (RunFolder, "append_metrics", 3, False),  # recorded, but not saved
        (finish, "validate", 1, True),
        (finish, "save_model", 1, True),
    ],
)
def test_a_killed_run_ends_the_same(
    where: Any, name: str, number: int, before: bool, configure: Configure, tmp_path: Path, expected: dict[str, Any]
) -> None:
    config, run = configure(), tmp_path / "run"
    train_until_killed(config, run, where, name, number, before=before)
    # Leftovers of a kill inside a write.
    (run / "checkpoints" / "step-000099.tmp-1").mkdir()
    (run / "model.old-1").mkdir()
    (run / "config.yaml.tmp-1").write_text("half")
    if (run / "metrics.jsonl").exists():
        with (run / "metrics.jsonl").open("a") as file:
            file.write('{"event": "upd')
    train(config, run)
    assert result(run) == expected
    assert not [path for path in run.rglob("*") if ".tmp-" in path.name or ".old-" in path.name]


def test_a_run_falls_back_to_the_checkpoint_before_a_damaged_one(
    configure: Configure, tmp_path: Path, expected: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    config, killed = configure(), tmp_path / "killed"
    train_until_killed(config, killed, trainer, "train_step", 9)
    assert saved_steps(killed / "checkpoints")[-2:] == [6, 8]
    names = sorted(path.name for path in (killed / "checkpoints" / "step-000008").iterdir())
    assert names == [
        "manifest.json",
        "optimizer.safetensors",
        "random.safetensors",
        "state.json",
        "weights.safetensors",
    ]
    for name in names:
        run = tmp_path / name
        shutil.copytree(killed, run)
        path = run / "checkpoints" / "step-000008" / name
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
        caplog.clear()
        train_until_killed(config, run, trainer, "train_step", 1)
        assert saved_steps(run / "checkpoints")[-2:] == [6, 8]  # kept until its step is saved again
        train(config, run)
        lines = [message for message in caplog.messages if message.startswith("step-000008 is damaged (")]
        assert len(lines) == 2
        assert all(name in line and line.endswith("); skipped") for line in lines)
        assert caplog.messages.count("resuming from step 6") == 2
        assert result(run) == expected, name


def test_a_damaged_newer_checkpoint_does_not_count_among_those_kept(
    configure: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, run = configure("train.save_every=2", "train.eval_every=12", "train.average=1"), tmp_path / "run"
    train_until_killed(config, run, trainer, "train_step", 9)
    assert saved_steps(run / "checkpoints") == [6, 8]
    (run / "checkpoints" / "step-000008" / "state.json").write_text("{}")
    with monkeypatch.context() as patch:
        call_then(patch, trainer, "train_step", 1, lambda: os.kill(os.getpid(), signal.SIGTERM), before=False)
        with pytest.raises(UserError, match="stopped by a signal at step 7"):
            train(config, run)
    assert saved_steps(run / "checkpoints") == [6, 7, 8]


def test_a_run_does_not_restart_if_every_checkpoint_is_damaged(configure: Configure, tmp_path: Path) -> None:
    config, run = configure(), tmp_path / "run"
    train_until_killed(config, run, trainer, "train_step", 5)
    for manifest in run.glob("checkpoints/*/manifest.json"):
        manifest.unlink()
    before = sorted(run.rglob("*"))
    with pytest.raises(UserError, match="every checkpoint is damaged") as caught:
        train(config, run)
    assert caught.value.code == ExitCode.MODEL
    assert sorted(run.rglob("*")) == before


@pytest.mark.parametrize("gone", ["checkpoints", "checkpoints/*"])
@pytest.mark.parametrize("number", [5, 13])
def test_a_run_does_not_restart_if_every_checkpoint_is_missing(
    number: int, gone: str, configure: Configure, tmp_path: Path
) -> None:
    """The run was killed after its first validation, or is finished and gets more steps."""
    run = tmp_path / "run"
    if number > LAST:
        train(configure(), run)
    else:
        train_until_killed(configure(), run, trainer, "train_step", number)
    for folder in run.glob(gone):
        shutil.rmtree(folder)
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    with pytest.raises(UserError, match="the checkpoints of this run are missing") as caught:
        train(configure("train.max_steps=14"), run)
    assert caught.value.code == ExitCode.MODEL
    after = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    assert {**after, run / ".lock": b""} == {**before, run / ".lock": b""}


def test_a_model_shows_that_checkpoints_are_missing(configure: Configure, tmp_path: Path) -> None:
    run = tmp_path / "run"
    train(configure(), run)
    shutil.rmtree(run / "checkpoints")
    (run / "metrics.jsonl").unlink()
    with pytest.raises(UserError, match="the checkpoints of this run are missing"):
        train(configure("train.max_steps=14"), run)


@pytest.mark.parametrize(
    ("settings", "where", "function", "number", "gone"),
    [
        # A step after a save is logged.
        (["data.dev=null", "train.save_every=2"], RunFolder, "append_metrics", 3, "checkpoints/*"),
        # None is logged, but the folder is created before the first step.
        (["data.dev=null", "train.save_every=2"], trainer, "train_step", 3, "checkpoints"),
        # A validation comes after a save.
        (["train.eval_every=2", "train.save_every=100"], trainer, "train_step", 3, "checkpoints/*"),
    ],
)
def test_the_metrics_show_that_checkpoints_are_missing(
    settings: list[str], where: Any, function: str, number: int, gone: str, configure: Configure, tmp_path: Path
) -> None:
    config, run = configure(*settings, "train.log_every=1"), tmp_path / "run"
    train_until_killed(config, run, where, function, number)
    assert saved_steps(run / "checkpoints") == [2]
    for folder in run.glob(gone):
        shutil.rmtree(folder)
    with pytest.raises(UserError, match="the checkpoints of this run are missing"):
        train(config, run)


def test_no_checkpoint_is_missed_before_the_first_save(configure: Configure, tmp_path: Path) -> None:
    config, run = configure("data.dev=null", "train.save_every=2", "train.log_every=1"), tmp_path / "run"
    train_until_killed(config, run, RunFolder, "append_metrics", 2)
    assert saved_steps(run / "checkpoints") == []
    train(config, run)


def test_a_damaged_model_is_made_again(
    configure: Configure, tmp_path: Path, expected: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    config, run = configure(), tmp_path / "run"
    train(config, run)
    (run / "model" / "config.json").write_text("{}")
    assert RunFolder(run).finished_steps() == 0
    assert f"{run / 'model'} is damaged (config.json: wrong checksum); making it again" in caplog.text
    assert train(config, run) == run / "model"
    assert result(run) == expected
    shutil.rmtree(run / "checkpoints")
    (run / "model" / "config.json").write_text("{}")
    with pytest.raises(UserError, match=r"config\.json: wrong checksum") as caught:
        RunFolder(run).finished_steps()
    assert caught.value.code == ExitCode.MODEL


@pytest.mark.parametrize(
    ("step", "saved", "left"),
    [
        (8, [3, 4, 6], [4, 6]),  # the best and the newest
        (12, [6, 8, 9], [8, 9]),  # two of the three averaged at the end, one of them the best
    ],
)
def test_a_full_disk_ends_a_run_which_continues_once_there_is_space(
    step: int, saved: list[int], left: list[int], configure: Configure, tmp_path: Path, expected: dict[str, Any]
) -> None:
    """The system refuses a file as large as that of the optimizer, which is written after the weights."""
    config, run = configure(), tmp_path / "run"
    train_until_killed(config, run, trainer, "train_step", step - 1)
    before = {path: path.read_bytes() for path in run.glob("checkpoints/*/*")}
    assert saved_steps(run / "checkpoints") == saved
    largest = max(map(len, before.values()))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest // 2, hard))
    try:
        with pytest.raises(UserError, match=rf"cannot save step {step}: file too large \(needs 0\.\d MB, ") as caught:
            train(config, run)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert caught.value.code == ExitCode.MACHINE
    assert {path: path.read_bytes() for path in run.glob("checkpoints/*/*")}.items() <= before.items()
    assert saved_steps(run / "checkpoints") == left
    train(config, run)
    assert result(run) == expected


def test_a_finished_run_continues_only_for_more_steps(configure: Configure, tmp_path: Path) -> None:
    run = tmp_path / "run"
    train(configure("train.max_steps=3"), run)
    before = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in run.rglob("*") if path.is_file()}
    assert RunFolder(run).finished_steps() == 3
    assert {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in run.rglob("*") if path.is_file()} == before
    train(configure("train.max_steps=5"), run)
    about = json.loads((run / "model" / "manifest.json").read_text())["about"]
    assert about["max_steps"] == 5
    assert saved_steps(run / "checkpoints")[-1] == 5


def test_a_run_shortened_to_fewer_steps_than_it_has_ends_there(configure: Configure, tmp_path: Path) -> None:
    run = tmp_path / "run"
    with pytest.MonkeyPatch.context() as patch:
        call_then(patch, trainer, "train_step", 2, lambda: os.kill(os.getpid(), signal.SIGTERM), before=False)
        with pytest.raises(UserError, match="at step 2"):
            train(configure(), run)
    train(configure("train.max_steps=1"), run)
    weights = load_file(run / "checkpoints" / "step-000002" / "weights.safetensors")
    model = load_file(run / "model" / "model.safetensors")
    assert weights.keys() == model.keys()
    assert all(model[name].equal(weight) for name, weight in weights.items())
