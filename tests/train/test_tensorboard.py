"""Event files of TensorBoard: the numbers of `metrics.jsonl`, once each, and no reason for a run to end."""

import errno
import json
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from mtx.config.settings import Config
from mtx.errors import ExitCode, UserError
from mtx.train.records import read_metrics
from mtx.train.tensorboard import EventFile, check_installed, scalars
from mtx.train.trainer import train

UPDATE = {"event": "update", "step": 5, "loss": 3.0, "nll": None, "tokens": 9}
SETS = [{"name": "a", "loss": 2.0, "bleu": 1.0, "tokenizer": "13a"}, {"name": "b", "loss": 4.0, "bleu": 3.0}]
VALIDATION = {"event": "validation", "step": 5, "loss": 3.0, "bleu": 2.0, "sets": SETS}


class Message:
    """A protocol buffer that is serialized as a line of JSON."""

    START = 1
    Value = dict

    def __init__(self, **fields: Any) -> None:
        self.fields = fields

    def SerializeToString(self) -> bytes:
        return (json.dumps(self.fields, default=lambda message: message.fields) + "\n").encode()


class FakeWriter:
    """A writer of records without their checksums."""

    def __init__(self, file: Any) -> None:
        self.file = file

    def write(self, data: bytes) -> None:
        self.file.write(data)


@pytest.fixture
def _fake(monkeypatch: pytest.MonkeyPatch) -> None:
    """Modules that stand in for the package tensorboard."""
    contents: dict[str, dict[str, Any]] = {
        "compat.proto.event_pb2": {"Event": Message, "SessionLog": Message},
        "compat.proto.summary_pb2": {"Summary": Message},
        "summary.writer.record_writer": {"RecordWriter": FakeWriter},
    }
    for path in ("", "compat", "compat.proto", "summary", "summary.writer", *contents):
        module = ModuleType(f"tensorboard.{path}".removesuffix("."))
        vars(module).update(contents.get(path, {}))
        monkeypatch.setitem(sys.modules, module.__name__, module)
        if path:
            parent, _, name = module.__name__.rpartition(".")
            setattr(sys.modules[parent], name, module)


def seen_by_tensorboard(run: Path) -> dict[tuple[str, int], float]:
    """Values by name and step, as TensorBoard reads fake event files; a step seen twice is an error."""
    seen: dict[tuple[str, int], float] = {}
    for path in sorted((run / "tensorboard").iterdir()):
        for line in path.read_text().splitlines():
            event = json.loads(line)
            if "session_log" in event:
                seen = {key: value for key, value in seen.items() if key[1] < event["step"]}
            for value in event.get("summary", {}).get("value", []):
                key = value["tag"], event["step"]
                assert key not in seen
                seen[key] = value["simple_value"]
    return seen


def expected(run: Path) -> dict[tuple[str, int], float]:
    records = read_metrics(run / "metrics.jsonl")
    return {(name, record["step"]): value for record in records for name, value in scalars(record)}


def test_numbers_have_names() -> None:
    assert dict(scalars(UPDATE)) == {"train/loss": 3.0, "train/tokens": 9}
    assert dict(scalars({**VALIDATION, "sets": SETS[:1]})) == {"dev/loss": 3.0, "dev/bleu": 2.0}
    several = {"dev/a/loss": 2.0, "dev/a/bleu": 1.0, "dev/b/loss": 4.0, "dev/b/bleu": 3.0}
    assert dict(scalars(VALIDATION)) == {"dev/loss": 3.0, "dev/bleu": 2.0, **several}


@pytest.mark.usefixtures("_fake")
def test_a_run_that_stops_and_goes_on_logs_each_step_once(configure: Callable[..., Config], tmp_path: Path) -> None:
    run = tmp_path / "run"
    train(configure("train.max_steps=4", "train.log_every=2"), run)
    assert not (run / "tensorboard").exists()
    train(configure("train.max_steps=8", "train.log_every=2", "train.log_to=[tensorboard]"), run)
    assert seen_by_tensorboard(run) == expected(run)
    (run / "checkpoints" / "step-000008" / "manifest.json").write_text("damaged")
    train(configure("train.max_steps=10", "train.log_every=2", "train.log_to=[tensorboard]"), run)
    assert seen_by_tensorboard(run) == expected(run)
    assert {step for _, step in expected(run)} == {2, 4, 6, 8, 10}
    assert len(list((run / "tensorboard").iterdir())) == 2


@pytest.mark.usefixtures("_fake")
def test_a_full_disk_is_told_once_and_the_run_goes_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    file = EventFile(tmp_path / "tensorboard", tmp_path / "metrics.jsonl", 0)

    def fail(_: object, event: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(EventFile, "_append", fail)
    with caplog.at_level(logging.WARNING, "mtx"):
        file.add(UPDATE)
        file.add(UPDATE)
    (message,) = caplog.messages
    assert "can't be written: No space left on device; metrics.jsonl has all numbers" in message


@pytest.mark.usefixtures("_fake")
def test_a_file_that_cannot_begin_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "tensorboard").touch()
    with pytest.raises(UserError, match="cannot write") as caught:
        EventFile(tmp_path / "tensorboard", tmp_path / "metrics.jsonl", 0)
    assert caught.value.code == ExitCode.MACHINE


def test_a_missing_package_is_told_before_the_training(
    configure: Callable[..., Config], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(UserError, match=r"mtx\[tensorboard\]") as caught:
        train(configure("train.log_to=[tensorboard]"), tmp_path / "run")
    assert caught.value.code == ExitCode.MACHINE
    assert not (tmp_path / "run").exists()


def test_the_real_package_reads_each_step_once(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="needs the extra mtx[tensorboard]")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    check_installed()
    metrics = tmp_path / "metrics.jsonl"
    for step in (0, 4, 2):
        kept = [{**UPDATE, "step": each, "loss": each / 2} for each in range(1, step + 1)]
        metrics.write_text("".join(json.dumps(record) + "\n" for record in kept))
        file = EventFile(tmp_path / "tensorboard", metrics, step)
        for each in range(step + 1, step + 4):
            file.add({**UPDATE, "step": each, "loss": step + each / 2})
        file.add({**VALIDATION, "step": step + 3})
    accumulator = EventAccumulator(str(tmp_path / "tensorboard"))
    accumulator.Reload()
    found = [(event.step, event.value) for event in accumulator.Scalars("train/loss")]
    assert found == [(1, 0.5), (2, 1.0), (3, 3.5), (4, 4.0), (5, 4.5)]
    assert [event.step for event in accumulator.Scalars("dev/b/bleu")] == [5]
