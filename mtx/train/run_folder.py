"""The run folder: what lies where, who may write in it, and whether a config may continue it."""

import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from mtx.checkpoint.training import CHECKPOINT_NAMES, saved_steps
from mtx.config.load import differences, dump_config, load_config
from mtx.config.settings import Config
from mtx.errors import ExitCode, UserError, machine_error
from mtx.files.atomic import make_folder, remove_leftovers, write_file
from mtx.files.lock import locked
from mtx.files.sealed import MANIFEST, DamagedError, open_sealed
from mtx.system.logs import LOGGER
from mtx.text.tokenizer import Tokenizer, load_tokenizer

HARMLESS = (
    "train.max_steps", "train.eval_every", "train.save_every", "train.log_every", "train.device",
    "train.keep", "train.patience", "train.parallel",
)  # fmt: skip
"""Keys that may change when a run continues: none of them changes an update that was done already."""

TOKENIZER_FILES = {
    "spm.model": "tokenizer.model",
    "source.spm": "tokenizer.src.model",
    "target.spm": "tokenizer.tgt.model",
}
"""What the files of a tokenizer are called in a run folder."""

WRITTEN_NAMES = [
    *map(re.escape, [*TOKENIZER_FILES.values(), "config.yaml", "metrics.jsonl", "bad-batch.json"]),
    "model",
]
"""What is written beside its place before it gets there, as regular expressions."""


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
        """The `max_steps` that the finished model here was trained for; None if it is still to be made, or again.

        Raises:
            UserError: it is damaged, and no checkpoint is there to make it of (MODEL).
        """
        if not (self.model / MANIFEST).exists():
            return None
        try:
            steps = open_sealed(self.model).get("max_steps")
        except DamagedError as damage:
            if not saved_steps(self.checkpoints):
                raise
            LOGGER.warning("%s is damaged (%s); it is made again from the checkpoints", self.model, damage.why)
            return None
        return steps if isinstance(steps, int) else 0

    def check_continuable(self, config: Config, resume: str) -> None:
        """Make sure that what is in the folder, if anything, is a run of this config.

        Raises:
            UserError: something else is in it, or `resume` is "never" (RUN_FOLDER); the config differs (USAGE).
        """
        if not self._content():
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

    def check_checkpoints(self) -> None:
        """Make sure that a run that has saved checkpoints has one: without, it would begin anew, and forget its log.

        Raises:
            UserError: all are gone (MODEL).
        """
        if saved_steps(self.checkpoints):
            return
        records = list(read_metrics(self.metrics)) if self.metrics.exists() else []
        steps = [record["step"] for record in records if isinstance(record.get("step"), int)]
        if (
            (self.model / MANIFEST).exists()
            or (records and not self.checkpoints.is_dir())
            or any(record.get("event") == "validation" for record in records)  # which comes after a save
            or (steps and max(steps) > load_config(self.config, []).train.save_every)
        ):
            what, do = "the checkpoints of this run are gone", "Restore them, or give another --run-dir."
            raise UserError(ExitCode.MODEL, what, where=str(self.checkpoints), do=do)

    def _content(self) -> list[str]:
        """What is in the folder, apart from what a start leaves that was killed before there was a run.

        Raises:
            UserError: a file is in its place (RUN_FOLDER), or it can't be looked into (MACHINE).
        """
        try:
            names = os.listdir(self.path)
        except FileNotFoundError:
            return []
        except NotADirectoryError:
            what, do = "the run folder is a file, or below one", "Give another --run-dir."
            raise UserError(ExitCode.RUN_FOLDER, what, where=str(self.path), do=do) from None
        except OSError as error:
            raise machine_error(error, "cannot look into the run folder", self.path) from error
        # The config is what a run writes first.
        return [name for name in names if name != ".lock" and not name.startswith(f"{self.config.name}.tmp-")]

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Inside, no other process trains here; the lock dies with the process.

        A folder in which no run has begun by the end is left as it was found.

        Raises:
            UserError: another process does (RUN_FOLDER); the folder can't be made or written in (MACHINE).
        """
        missing = [folder for folder in (self.path, *self.path.parents) if not os.path.lexists(folder)]
        path = self.path / ".lock"
        try:
            make_folder(self.path)
            with locked(path, self._refuse):
                path.write_text(f"process {os.getpid()} since {datetime.now():%Y-%m-%d %H:%M:%S}\n", encoding="utf-8")
                try:
                    yield
                finally:
                    if not self._content():
                        remove_leftovers(self.path, WRITTEN_NAMES)
                        path.unlink()
        except OSError as error:
            raise machine_error(error, "the system refused", self.path) from error
        finally:
            for folder in missing:
                with suppress(OSError):  # not empty: a run has begun
                    folder.rmdir()

    def _refuse(self) -> None:
        owner = (self.path / ".lock").read_text(encoding="utf-8").strip() or "another process"
        do = "Wait for it, or give another --run-dir."
        raise UserError(ExitCode.RUN_FOLDER, f"in use by {owner}", where=str(self.path), do=do)

    def begin(self, config: Config, tokenizer: Tokenizer) -> None:
        """Write what a run begins with, and clear away what a killed one left half-written."""
        write_file(self.config, dump_config(config).encode())  # first: it tells that this is a run
        left = remove_leftovers(self.path, WRITTEN_NAMES) + remove_leftovers(self.checkpoints, [CHECKPOINT_NAMES])
        if left:
            LOGGER.info("removed what a killed run left half-written: %s", ", ".join(left))
        make_folder(self.checkpoints)
        if self.tokenizer() is None:
            for name, data in tokenizer.files().items():
                write_file(self.path / TOKENIZER_FILES[name], data)

    def tokenizer(self) -> Tokenizer | None:
        """The tokenizer of this run, if it was trained already; one of which a kill left a half counts as none."""
        joint, *sides = (os.path.lexists(self.path / name) for name in TOKENIZER_FILES.values())
        return load_tokenizer(self.path) if joint or all(sides) else None

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
    number = record.get("step")
    if not isinstance(number, int):  # not of ours
        return False
    return number >= step if is_validation else number > step
