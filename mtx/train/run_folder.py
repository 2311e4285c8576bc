"""Run folder: its files, its lock, its metrics, and whether a config may continue it."""

import json
import math
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

CHANGEABLE_KEYS = (
    "train.max_steps", "train.eval_every", "train.save_every", "train.log_every", "train.device",
    "train.keep", "train.patience", "train.parallel",
)  # fmt: skip
"""Keys that may change when a run continues, because they affect no step that was done already."""

TOKENIZER_FILES = {
    "spm.model": "tokenizer.model",
    "source.spm": "tokenizer.src.model",
    "target.spm": "tokenizer.tgt.model",
}
"""Names of a tokenizer's files in a run folder."""

WRITTEN_NAMES = [
    *map(re.escape, [*TOKENIZER_FILES.values(), "config.yaml", "metrics.jsonl", "bad-batch.json"]),
    "model",
]
"""Names that are first written as temporary files beside their place, as regular expressions."""


@dataclass(frozen=True, slots=True)
class RunFolder:
    """Paths of a run."""

    path: Path

    @property
    def config(self) -> Path:
        """Settings of the run, as the user gave them."""
        return self.path / "config.yaml"

    @property
    def checkpoints(self) -> Path:
        """Folder of checkpoints, one for each saved step."""
        return self.path / "checkpoints"

    @property
    def model(self) -> Path:
        """Model folder, written at the end."""
        return self.path / "model"

    @property
    def metrics(self) -> Path:
        """Metrics file: a JSON object for each log line and each validation."""
        return self.path / "metrics.jsonl"

    @property
    def log(self) -> Path:
        """Log of the run."""
        return self.path / "train.log"

    @property
    def bad_batch(self) -> Path:
        """Pairs of the last step of a training that diverged."""
        return self.path / "bad-batch.json"

    def finished_steps(self) -> int | None:
        """Return the `max_steps` of the finished model; None if there is none, or it has to be made again.

        Raises:
            UserError: the model is damaged, and there are no checkpoints to make it from (MODEL).
        """
        if not (self.model / MANIFEST).exists():
            return None
        try:
            steps = open_sealed(self.model).get("max_steps")
        except DamagedError as damage:
            if not saved_steps(self.checkpoints):
                raise
            LOGGER.warning("%s is damaged (%s); making it again from the checkpoints", self.model, damage.why)
            return None
        return steps if isinstance(steps, int) else 0

    def is_finished(self, max_steps: int) -> bool:
        """Whether there is a model trained for `max_steps` steps or more.

        Raises:
            UserError: the model is damaged, and there are no checkpoints to make it from (MODEL).
        """
        steps = self.finished_steps()
        return steps is not None and steps >= max_steps

    def check_continuable(self, config: Config, resume: str) -> None:
        """Check that the folder is empty, or holds a run of this config.

        Raises:
            UserError: it holds something else, or `resume` is "never" (RUN_FOLDER); the config differs (USAGE).
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
            if change.split(":")[0] not in CHANGEABLE_KEYS
        ]
        if problems:
            raise UserError.several(problems)

    def check_checkpoints(self) -> None:
        """Refuse to restart from step 0 if the run once had checkpoints: that would silently overwrite its log.

        Raises:
            UserError: all checkpoints are missing (MODEL).
        """
        if saved_steps(self.checkpoints):
            return
        records = list(read_metrics(self.metrics)) if self.metrics.exists() else []
        steps = [record["step"] for record in records if isinstance(record.get("step"), int)]
        if (
            (self.model / MANIFEST).exists()
            or (records and not self.checkpoints.is_dir())
            or any(record.get("event") == "validation" for record in records)  # each comes after a save
            or (steps and max(steps) > load_config(self.config, []).train.save_every)
        ):
            what, do = "the checkpoints of this run are missing", "Restore them, or give another --run-dir."
            raise UserError(ExitCode.MODEL, what, where=str(self.checkpoints), do=do)

    def _content(self) -> list[str]:
        """List the names in the folder, without those that a process killed at its start may have left.

        Raises:
            UserError: the path is a file (RUN_FOLDER), or can't be listed (MACHINE).
        """
        try:
            names = os.listdir(self.path)
        except FileNotFoundError:
            return []
        except NotADirectoryError:
            what, do = "the run folder is a file, or below one", "Give another --run-dir."
            raise UserError(ExitCode.RUN_FOLDER, what, where=str(self.path), do=do) from None
        except OSError as error:
            raise machine_error(error, "cannot list the run folder", self.path) from error
        # The config is the first file that a run writes.
        return [name for name in names if name != ".lock" and not name.startswith(f"{self.config.name}.tmp-")]

    @contextmanager
    def locked(self) -> Iterator[None]:
        """In the block, keep other processes from training here. The lock dies with the process.

        If no run has begun by the end of the block, the folder is left as it was found.

        Raises:
            UserError: another process trains here (RUN_FOLDER); the folder can't be written (MACHINE).
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
        """Write config and tokenizer, and remove files that a killed process left half-written."""
        write_file(self.config, dump_config(config).encode())  # first, because it marks the folder as a run
        left = remove_leftovers(self.path, WRITTEN_NAMES) + remove_leftovers(self.checkpoints, [CHECKPOINT_NAMES])
        if left:
            LOGGER.info("removed files that a killed run left half-written: %s", ", ".join(left))
        make_folder(self.checkpoints)
        if self.tokenizer() is None:
            for name, data in tokenizer.files.items():
                write_file(self.path / TOKENIZER_FILES[name], data)

    def tokenizer(self) -> Tokenizer | None:
        """Load the run's tokenizer, if it has one; half of one, left by a kill, doesn't count."""
        joint, *sides = (os.path.lexists(self.path / name) for name in TOKENIZER_FILES.values())
        return load_tokenizer(self.path) if joint or all(sides) else None

    def rewind_metrics(self, step: int) -> None:
        """Delete the records of steps after `step`, which will be done and logged again."""
        if self.metrics.exists():
            kept = [record for record in read_metrics(self.metrics) if not _comes_after(record, step)]
            write_file(self.metrics, "".join(json.dumps(record) + "\n" for record in kept).encode())

    def append_metrics(self, record: dict[str, Any]) -> None:
        """Append a record to the metrics file; JSON has no NaN or infinity, so they become null."""
        finite = {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in record.items()}
        with self.metrics.open("a", encoding="utf-8") as file:
            file.write(json.dumps(finite, allow_nan=False) + "\n")


def read_metrics(path: Path) -> Iterator[dict[str, Any]]:
    """Read the records of a metrics file, without a last line that a kill cut short."""
    for line in path.read_text(encoding="utf-8", errors="replace").split("\n"):
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if isinstance(record, dict):
            yield record


def _comes_after(record: dict[str, Any], step: int) -> bool:
    # A checkpoint is saved before the validation of its step, which is done again on resuming.
    is_validation = record.get("event") == "validation"
    number = record.get("step")
    if not isinstance(number, int):  # not one of ours
        return False
    return number >= step if is_validation else number > step
