"""Run folder: which config and data may continue it, its lock, and errors before the first step that leave no trace."""

import fcntl
import json
import os
import shutil
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TextIO

import pytest
import torch
from pydantic import BaseModel

from mtx.config.load import dump_config
from mtx.config.settings import Config
from mtx.data.prepared import prepare
from mtx.errors import ExitCode, UserError
from mtx.text.tokenizer import Tokenizer
from mtx.train import setup, trainer
from mtx.train.estimate import estimate_run
from mtx.train.records import read_metrics
from mtx.train.run_folder import RunFolder
from mtx.train.trainer import train

pytestmark = pytest.mark.slow

Configure = Callable[..., Config]

CHANGEABLE = {
    "train.max_steps": 13, "train.eval_every": 7, "train.save_every": 7, "train.log_every": 7, "train.device": "auto",
    "train.keep": 5, "train.patience": 1, "train.log_to": "[tensorboard]",
    "train.parallel": "fsdp", "train.eval_sentences": 7, "train.eval_beam": 2,
    "data.test": "{demo: test}", "decode.beam_size": 4, "decode.length_penalty": 0.5, "decode.max_length_factor": 3.0,
    "decode.max_length_extra": 3,
}  # fmt: skip
FIXED = {
    "data.src_lang": "fr", "data.tgt_lang": "fr", "data.train": "[{demo: train}]", "data.dev": "{demo: dev}",
    "data.max_tokens": 99, "data.on_bad_row": "stop", "data.temperature": 2.0,
    "clean.level": "strict", "clean.duplicates": "keep", "clean.max_ratio": 5.0, "clean.damage": "keep",
    "clean.letters": "drop", "clean.copies": "drop", "clean.script": "drop", "clean.markup": "drop",
    "clean.numbers": "drop", "clean.language": "drop", "clean.repair": "true", "clean.held_out": "side",
    "tokenizer.vocab_size": 41, "tokenizer.model_type": "bpe", "tokenizer.joint": "false",
    "tokenizer.byte_fallback": "true", "tokenizer.character_coverage": 0.99, "tokenizer.normalization": "nfkc",
    "tokenizer.split_digits": "false", "tokenizer.sample_megabytes": 7, "tokenizer.file": "other.model",
    "model.preset": "tiny", "model.d_model": 18, "model.num_heads": 4, "model.d_ff": 33, "model.encoder_layers": 2,
    "model.decoder_layers": 2, "model.dropout": 0.2, "model.attention_dropout": 0.1, "model.activation_dropout": 0.1,
    "model.norm": "post",
    "train.batch_tokens": 99, "train.accumulate": 3, "train.lr": 0.1, "train.warmup_steps": 3,
    "train.schedule": "cosine", "train.label_smoothing": 0.2, "train.weight_decay": 0.1, "train.adam_beta1": 0.8,
    "train.adam_beta2": 0.9, "train.adam_eps": 1e-6, "train.clip_norm": 2.0,
    "train.skip_spikes": "true", "train.precision": "bf16",
    "train.compile": "never", "train.seed": 2, "train.average": 2,
}  # fmt: skip
ONE_VALUE = {"train.loss"}


def keys_of(model: type[BaseModel], prefix: str = "") -> set[str]:
    keys = set()
    for name, field in model.model_fields.items():
        is_section = isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)
        keys |= keys_of(field.annotation, f"{prefix}{name}.") if is_section else {prefix + name}
    return keys


@pytest.fixture
def run(configure: Configure, tmp_path: Path) -> RunFolder:
    """A folder in which a run has begun."""
    folder = RunFolder(tmp_path / "run")
    folder.path.mkdir()
    folder.config.write_text(dump_config(configure()))
    return folder


def test_only_some_keys_may_change_when_a_run_continues(run: RunFolder, configure: Configure) -> None:
    assert CHANGEABLE.keys() | FIXED.keys() | ONE_VALUE == keys_of(Config)
    run.check_continuable(configure(*(f"{key}={value}" for key, value in CHANGEABLE.items())), "auto")
    for key, value in FIXED.items():
        with pytest.raises(UserError, match=rf"another config: {key}(\[0\])?: .* -> ") as caught:
            run.check_continuable(configure(f"{key}={value}"), "auto")
        assert caught.value.code == ExitCode.USAGE
        assert len(caught.value.lines) == 1 or key in ("model.preset", "clean.level")
    with pytest.raises(UserError) as caught:
        run.check_continuable(configure("train.lr=0.1", "train.max_steps=13", "model.d_ff=33"), "auto")
    assert len(caught.value.lines) == 2
    assert "train.lr: 0.005 -> 0.1" in "".join(caught.value.lines)
    assert "model.d_ff: 32 -> 33" in "".join(caught.value.lines)


def test_a_run_from_before_a_default_changed_keeps_the_old_one(
    run: RunFolder, configure: Configure, tokenizer: Tokenizer
) -> None:
    """A config of that time gave neither key. One that asks for another normalization is another config."""
    begun = dump_config(configure("tokenizer.normalization=nmt_nfkc"))
    run.config.write_text("".join(line for line in begun.splitlines(True) if "split_digits" not in line))
    for _ in range(2):  # the second time with the config that the first has written
        run.check_continuable(configure(), "auto")
        for change in ("tokenizer.normalization=source", "tokenizer.split_digits=true"):
            with pytest.raises(UserError, match="another config"):
                run.check_continuable(configure(change), "auto")
        run.begin(configure(), tokenizer)
        recorded = run.recorded().tokenizer
        assert (recorded.normalization, recorded.split_digits) == ("nmt_nfkc", False)


def test_other_files_in_the_folder_are_never_overwritten(run: RunFolder, configure: Configure, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "locked once").mkdir()
    (tmp_path / "locked once" / ".lock").touch()
    for name in ("not there", "empty", "locked once"):
        RunFolder(tmp_path / name).check_continuable(configure(), "never")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").touch()
    for folder, resume, message in (("run", "never", "not empty"), ("other", "auto", "holds something else")):
        with pytest.raises(UserError, match=message) as caught:
            train(configure(), tmp_path / folder, resume=resume)
        assert caught.value.code == ExitCode.RUN_FOLDER
    assert [path.name for path in (tmp_path / "other").iterdir()] == ["thesis.txt"]


@pytest.mark.process
def test_two_runs_cannot_use_one_folder(run: RunFolder, configure: Configure) -> None:
    with run.locked(), pytest.raises(UserError, match=rf"in use by process {os.getpid()} since \d+-") as caught:
        train(configure(), run.path)
    assert caught.value.code == ExitCode.RUN_FOLDER
    assert not run.checkpoints.exists()
    with (run.path / ".lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # released


@pytest.mark.process
def test_two_runs_cannot_begin_in_one_new_folder(
    configure: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second is refused at once, even with another config, long before the first has written anything."""

    def start_second(*_: object) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(setup, "check_sources", lambda _: pytest.fail("the lock comes first"))
            with pytest.raises(UserError, match="in use by process"):
                train(configure("train.lr=0.1"), tmp_path / "run")
        raise KeyboardInterrupt

    monkeypatch.setattr(setup, "make_tokenizer", start_second)
    with pytest.raises(KeyboardInterrupt):
        train(configure(), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.process
def test_the_lock_dies_with_the_process(run: RunFolder) -> None:
    reading, writing = os.pipe()
    process = os.fork()
    if process == 0:
        with run.locked():
            os.write(writing, b"locked")
            signal.pause()
    assert os.read(reading, 6) == b"locked"
    with pytest.raises(UserError, match=f"in use by process {process} since"), run.locked():
        pass
    os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)
    with run.locked():
        assert (run.path / ".lock").read_text().startswith(f"process {os.getpid()} ")


def test_a_lock_file_replaced_while_waiting_is_noticed(run: RunFolder) -> None:
    """A start that fails removes its lock file: a process that opened it just before does not hold the lock."""
    real, path = fcntl.flock, run.path / ".lock"

    def replace_then_lock(lock: TextIO, operation: int) -> None:
        path.unlink()
        path.touch()
        monkeypatch.undo()
        real(lock, operation)

    monkeypatch = pytest.MonkeyPatch()
    monkeypatch.setattr(fcntl, "flock", replace_then_lock)
    with run.locked(), path.open() as other, pytest.raises(BlockingIOError):
        real(other, fcntl.LOCK_EX | fcntl.LOCK_NB)


@pytest.mark.process
@pytest.mark.parametrize("number", range(1, 9))
def test_a_run_killed_at_its_start_can_be_started_again(
    number: int, configure: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed after the n-th change to the disk, it starts over or continues; half of a tokenizer is never used."""
    config, run = configure("tokenizer.joint=false", "train.max_steps=2"), tmp_path / "runs" / "run"
    calls = iter(range(1, 1000))

    def killed_after(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            answer = real(*arguments, **options)
            if next(calls) == number:
                os._exit(9)
            return answer

        return call

    process = os.fork()
    if process == 0:
        for name in ("mkdir", "rename", "replace", "fsync", "unlink"):
            monkeypatch.setattr(os, name, killed_after(getattr(os, name)))
        train(config, run)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 9
    assert train(config, run) == run / "model"


@pytest.fixture
def begun(configure: Configure, config_path: Path, tmp_path: Path) -> tuple[RunFolder, Callable[[int], Config]]:
    """A run of one step, and its config for more steps. Its data are `a.tsv`, `b.tsv` and `dev.tsv` beside it."""
    for name in ("a", "b", "dev"):
        (tmp_path / f"{name}.tsv").write_text(config_path.with_name("train.tsv").read_text())

    def config(max_steps: int) -> Config:
        sources = f"data.train=[{{tsv: {tmp_path / 'a.tsv'}}}, {{tsv: {tmp_path / 'b.tsv'}}}]"
        return configure(f"train.max_steps={max_steps}", sources, f"data.dev={{tsv: {tmp_path / 'dev.tsv'}}}")

    train(config(1), tmp_path / "run")
    return RunFolder(tmp_path / "run"), config


def change(path: Path) -> None:
    path.write_text(path.read_text().replace("a", "b", 1))


def test_changed_data_is_refused_unless_allowed(
    begun: tuple[RunFolder, Callable[[int], Config]], caplog: pytest.LogCaptureFixture
) -> None:
    run, config = begun
    caplog.set_level("INFO")
    change(run.path.with_name("b.tsv"))
    change(run.path.with_name("dev.tsv"))
    message = r"the training data is not that of the run's start \(.*/run: b\.tsv\)\. .*--allow-data-change"
    with pytest.raises(UserError, match=message) as caught:
        train(config(2), run.path)
    assert caught.value.code == ExitCode.DATA
    assert "the dev set is not that" not in caplog.text
    train(config(2), run.path, allow_data_change=True)
    assert "not bit-equal to an uninterrupted run: other training data (b.tsv)" in caplog.messages
    assert "the dev set is not that of the run's start: scores from before can't be compared" in caplog.messages
    caplog.clear()
    train(config(3), run.path)  # the changed data now counts as the original
    assert "resuming from step 2" in caplog.messages
    assert "is not that" not in caplog.text
    assert "not bit-equal" not in caplog.text


def test_data_prepared_by_another_version_is_not_called_changed(
    begun: tuple[RunFolder, Callable[[int], Config]], monkeypatch: pytest.MonkeyPatch
) -> None:
    run, config = begun
    monkeypatch.setattr(prepare, "CODE_VERSION", prepare.CODE_VERSION + 1)
    with pytest.raises(
        UserError, match=r"prepared by another version of mtx.*/run\)\. .*--allow-data-change"
    ) as caught:
        train(config(2), run.path)
    assert caught.value.code == ExitCode.DATA
    train(config(2), run.path, allow_data_change=True)


def test_a_run_of_the_version_before_goes_on_if_its_data_is_the_same(
    begun: tuple[RunFolder, Callable[[int], Config]], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, config = begun
    caplog.set_level("INFO")
    with monkeypatch.context() as patch:
        patch.setattr(prepare, "data_key", partial(prepare.data_key, version=3))
        train(config(1), run.path.with_name("earlier"))
    train(config(2), run.path.with_name("earlier"))
    assert "resuming from step 1" in caplog.messages
    assert "not bit-equal" not in caplog.text
    assert "the dev set is not that" not in caplog.text


def test_a_changed_tokenizer_is_not_mistaken_for_changed_data(
    begun: tuple[RunFolder, Callable[[int], Config]],
) -> None:
    run, config = begun
    path = run.path / "tokenizer.model"
    model = path.read_bytes()
    place = model.index(b"\x15", 20)  # of a score, whose least bits a flip changes
    path.write_bytes(model[: place + 1] + bytes([model[place + 1] ^ 1]) + model[place + 2 :])
    for allow in (False, True):
        with pytest.raises(UserError, match="the tokenizer is not that of the run's start") as caught:
            train(config(2), run.path, allow_data_change=allow)
        assert caught.value.code == ExitCode.MODEL
        assert f"({path})" in str(caught.value)
    change(run.path.with_name("a.tsv"))
    with pytest.raises(UserError, match=r"the training data is not that .*a\.tsv"):
        train(config(2), run.path)
    with pytest.raises(UserError, match="the tokenizer is not that"):
        train(config(2), run.path, allow_data_change=True)


def test_another_number_of_threads_is_logged(
    begun: tuple[RunFolder, Callable[[int], Config]], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, config = begun
    caplog.set_level("INFO")
    monkeypatch.setattr(setup, "use_threads", lambda: 77)
    train(config(2), run.path)
    assert "not bit-equal to an uninterrupted run: threads was 1, is 77" in caplog.messages


def test_another_version_of_torch_is_logged(
    begun: tuple[RunFolder, Callable[[int], Config]], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, config = begun
    caplog.set_level("INFO")
    version = torch.__version__
    monkeypatch.setattr(torch, "__version__", "2.99.0")
    train(config(2), run.path)
    assert f"not bit-equal to an uninterrupted run: torch was {version}, is 2.99.0" in caplog.messages


def test_too_little_disk_space_is_reported_before_training(
    configure: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, run = configure("train.max_steps=6"), tmp_path / "run"
    free = 0
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=free))
    monkeypatch.setattr(trainer, "train_step", lambda *_: pytest.fail("training has begun"))
    with pytest.raises(
        UserError, match=r"no space for the checkpoints: needs 0\.\d MB, 0\.0 MB free \(.*run\)"
    ) as caught:
        train(config, run)
    assert caught.value.code == ExitCode.MACHINE
    monkeypatch.undo()
    train(config, run)
    sizes = [sum(path.stat().st_size for path in step.iterdir()) for step in (run / "checkpoints").iterdir()]
    free = 6 * max(sizes) - sum(sizes)  # 3 averaged, the best, the one being written; minus what is there
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=free))
    train(configure("train.max_steps=7"), run)


def test_no_space_is_required_for_checkpoints_that_will_not_exist(
    configure: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1 << 20))
    train(configure("train.max_steps=2", "train.keep=1000000"), tmp_path / "run")


# --- metrics ---


def test_foreign_records_in_the_metrics_are_kept(run: RunFolder) -> None:
    foreign = [{"note": "mine"}, {"step": "seven"}, {"step": None}, {"event": "validation"}]
    ours = [{"event": "update", "step": step} for step in (1, 2, 3)] + [{"event": "validation", "step": 2}]
    run.metrics.write_text("".join(json.dumps(record) + "\n" for record in [*foreign, *ours]) + "[1]\n{half")
    run.rewind_metrics(2)
    assert list(read_metrics(run.metrics)) == [*foreign, *ours[:2]]


def test_leftovers_of_a_killed_run_are_removed_and_logged(
    run: RunFolder, configure: Configure, tokenizer: Tokenizer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    run.checkpoints.mkdir()
    for path in ("checkpoints/step-000005.tmp-7", "checkpoints/step-000002.old-7", "model.tmp-7", "notes.tmp-7"):
        (run.path / path).mkdir()
    for name in ("config.yaml.tmp-7", "tokenizer.model.tmp-7", "metrics.jsonl.tmp-7", "my.tmp-7", "model.tmp-x"):
        (run.path / name).touch()
    run.begin(configure(), tokenizer)
    left = "config.yaml.tmp-7, metrics.jsonl.tmp-7, model.tmp-7, tokenizer.model.tmp-7, step-000002.old-7"
    assert caplog.messages == [f"removed files that a killed run left half-written: {left}, step-000005.tmp-7"]
    names = {path.name for path in run.path.iterdir()}
    assert names == {"config.yaml", "tokenizer.model", "checkpoints", "notes.tmp-7", "my.tmp-7", "model.tmp-x"}
    assert list(run.checkpoints.iterdir()) == []


# --- errors ---


@pytest.mark.parametrize(
    ("override", "code"),
    [
        ("data.train=[{tsv: missing.tsv}]", ExitCode.DATA),
        ("data.dev={tsv: missing.tsv}", ExitCode.DATA),
        ("tokenizer.vocab_size=9", ExitCode.DATA),
        ("tokenizer.file=missing.model", ExitCode.MODEL),
        ("train.batch_tokens=8", ExitCode.USAGE),
        ("train.precision=fp16", ExitCode.USAGE),
        ("train.device=cuda:99", ExitCode.MACHINE),
    ],
)
def test_an_error_before_the_first_step_leaves_no_run_folder(
    override: str, code: ExitCode, configure: Configure, tmp_path: Path
) -> None:
    with pytest.raises(UserError) as caught:
        train(configure(override), tmp_path / "run")
    assert caught.value.code == code
    assert not (tmp_path / "run").exists()


def test_a_dry_run_leaves_no_run_folder(configure: Configure, tmp_path: Path) -> None:
    estimate_run(configure(), RunFolder(tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_a_disk_error_while_training_is_not_reported_as_a_bug(
    configure: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full_disk(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(RunFolder, "append_metrics", full_disk)
    with pytest.raises(UserError, match=r"No space left on device \(.*\)\. Free some space") as caught:
        train(configure(), tmp_path / "run")
    assert caught.value.code == ExitCode.MACHINE
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(UserError, match="the run folder is a file, or below one") as caught:
            train(configure(), folder)
        assert caught.value.code == ExitCode.RUN_FOLDER


def test_a_folder_that_cannot_be_created_is_reported_at_once(
    configure: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(setup, "check_sources", lambda _: pytest.fail("the folder comes first"))
    with pytest.raises(UserError, match=r"File name too long|cannot") as caught:
        train(configure(), tmp_path / ("x" * 300))
    assert caught.value.code == ExitCode.MACHINE
    real = Path.mkdir
    monkeypatch.setattr(Path, "mkdir", lambda *_, **__: (_ for _ in ()).throw(OSError(30, "Read-only file system")))
    with pytest.raises(UserError, match="Read-only file system") as caught:
        train(configure(), tmp_path / "run")
    assert caught.value.code == ExitCode.MACHINE
    monkeypatch.setattr(Path, "mkdir", real)
