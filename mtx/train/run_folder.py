"""The run folder: what lies where, who may write in it, and whether a config may continue it."""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from mtx.checkpoint.sealed import disk_error, open_sealed, remove_leftovers, write_file
from mtx.config.reading import differences, dump_config, load_config
from mtx.config.settings import Config
from mtx.errors import ExitCode, UserError
from mtx.tokenizer import Tokenizer, load_tokenizer

HARMLESS = (
    "train.max_steps", "train.eval_every", "train.save_every", "train.log_every", "train.device",
    "train.keep", "train.patience",
)  # fmt: skip
"""Keys that may change when a run continues: none of them changes an update that was done already."""

TOKENIZER_FILES = {
    "spm.model": "tokenizer.model",
    "source.spm": "tokenizer.src.model",
    "target.spm": "tokenizer.tgt.model",
}
"""What the files of a tokenizer are called in a run folder."""


@dataclass(frozen=True, slots=True)
class RunFolder:
    """The paths of a run."""

    path: Path

    @property
    def config(self) -> Path:
        """The settings as asked for."""
        return self.path / "config.yaml"

    @property
    def checkpoints(self) -> Path:
        """One folder for each saved step."""
        return self.path / "checkpoints"

    @property
    def model(self) -> Path:
        """The model folder, made at the end."""
        return self.path / "model"

    @property
    def metrics(self) -> Path:
        """One JSON object for each logged update and each validation."""
        return self.path / "metrics.jsonl"

    @property
    def log(self) -> Path:
        """What the program said."""
        return self.path / "train.log"

    @property
    def bad_batch(self) -> Path:
        """Which pairs a training that diverged ended with."""
        return self.path / "bad-batch.json"

    def finished_steps(self) -> int | None:
        """The `max_steps` that the finished model here was trained for; None if there is none yet."""
        if not (self.model / "manifest.json").exists():
            return None
        return int(open_sealed(self.model).get("max_steps", 0))

    def check_continuable(self, config: Config, resume: str) -> None:
        """Make sure that what is in the folder, if anything, is a run of this config.

        Raises:
            UserError: something else is in it, or `resume` is "never" (RUN_FOLDER); the config differs (USAGE).
        """
        content = [path.name for path in self.path.iterdir() if path.name != ".lock"] if self.path.exists() else []
        if not content:
            return
        if resume == "never":
            what, do = "the run folder is not empty", "Give another --run-dir, or continue it with --resume auto."
            raise UserError(ExitCode.RUN_FOLDER, what, where=str(self.path), do=do)
        if not self.config.is_file():
            what, do = "the run folder holds something else", "Give another --run-dir."
            raise UserError(ExitCode.RUN_FOLDER, what, where=str(self.path), do=do)
        changes = differences(load_config(self.config, []), config)
        problems = [
            UserError(
                ExitCode.USAGE,
                f"this run was started with another config: {change}",
                where=str(self.config),
                do="Set it back, or give another --run-dir.",
            )
            for change in changes
            if change.split(":")[0] not in HARMLESS
        ]
        if problems:
            raise UserError.several(problems)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Inside, no other process trains here; the lock dies with the process.

        Raises:
            UserError: another process does (RUN_FOLDER); the folder can't be made, or be written inside (MACHINE).
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            with (self.path / ".lock").open("a+") as lock:
                self._take(lock)
                yield
        except OSError as error:
            raise disk_error(error, self.path) from error

    def _take(self, lock: TextIO) -> None:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            what = f"in use by process {lock.read().strip() or 'unknown'}"
            do = "Wait for it, or give another --run-dir."
            raise UserError(ExitCode.RUN_FOLDER, what, where=str(self.path), do=do) from None
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()

    def prepare(self, config: Config, tokenizer: Tokenizer) -> None:
        """Write what a run begins with, and clear away what a killed one left half-written."""
        remove_leftovers(self.path)
        remove_leftovers(self.checkpoints)
        self.checkpoints.mkdir(exist_ok=True)
        for name, data in tokenizer.files().items():
            if not (self.path / TOKENIZER_FILES[name]).exists():
                write_file(self.path / TOKENIZER_FILES[name], data)
        write_file(self.config, dump_config(config).encode())

    def tokenizer(self) -> Tokenizer | None:
        """The tokenizer of this run, if it was trained already."""
        if not any((self.path / name).exists() for name in TOKENIZER_FILES.values()):
            return None
        return load_tokenizer(self.path)

    def rewind_metrics(self, step: int) -> None:
        """Forget what was logged after the updates up to `step`: it will be done, and logged, again."""
        if self.metrics.exists():
            kept = [record for record in read_metrics(self.metrics) if not _comes_after(record, step)]
            write_file(self.metrics, "".join(json.dumps(record) + "\n" for record in kept).encode())


def read_metrics(path: Path) -> Iterator[dict[str, Any]]:
    """The records of a metrics file; a last line that a kill cut short is left out."""
    for line in path.read_text(encoding="utf-8", errors="replace").split("\n"):
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if isinstance(record, dict):
            yield record


def _comes_after(record: dict[str, Any], step: int) -> bool:
    # A checkpoint is saved before the validation of its step, so that one is made up for on resuming.
    is_validation = record.get("event") == "validation"
    return bool(record["step"] >= step if is_validation else record["step"] > step)
