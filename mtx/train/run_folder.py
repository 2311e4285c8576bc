"""Run folder: its files, its lock, its metrics, and whether a config may continue it."""

import json
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from mtx.checkpoint.model_folder import set_decode
from mtx.checkpoint.training import CHECKPOINT_NAMES, saved_steps
from mtx.config.load import Difference, differences, dump_config, load_config
from mtx.config.messages import key_text
from mtx.config.settings import Config
from mtx.errors import ExitCode, UserError, machine_error
from mtx.files.atomic import make_folder, remove_leftovers, write_file
from mtx.files.lock import locked
from mtx.files.sealed import MANIFEST, DamagedError, open_sealed
from mtx.system.logs import LOGGER
from mtx.text.tokenizer import Tokenizer, load_tokenizer
from mtx.train.records import METRICS, VALIDATION, read_metrics
from mtx.train.tensorboard import EventFile

# Keys that may change when a run continues, because they affect no step that was done already
CHANGEABLE_KEYS = (
    "train.max_steps", "train.eval_every", "train.save_every", "train.log_every", "train.log_to", "train.device",
    "train.keep", "train.patience", "train.parallel", "train.eval_beam", "train.eval_sentences", "data.test", "decode",
)  # fmt: skip
SCORING_KEYS = ("train.eval_beam", "train.eval_sentences")  # Changeable keys that affect the scores of validations
# Former defaults of keys of `tokenizer`; runs that began with them keep them
FORMER_DEFAULTS = {"normalization": "nmt_nfkc", "split_digits": False}
# Names of a tokenizer's files in a run folder
TOKENIZER_FILES = {
    "spm.model": "tokenizer.model",
    "source.spm": "tokenizer.src.model",
    "target.spm": "tokenizer.tgt.model",
}
# Patterns of the names that are first written as temporary files beside their place
WRITTEN_NAMES = [*map(re.escape, [*TOKENIZER_FILES.values(), "config.yaml", METRICS, "bad-batch.json", "model"])]


class RunFolder:
    """Files of a run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config = path / "config.yaml"  # Settings of the run, as the user gave them
        self.checkpoints = path / "checkpoints"  # A folder for each saved step
        self.model = path / "model"  # Model folder, written at the end
        self.metrics = path / METRICS
        self.log = path / "train.log"
        self.event_file: EventFile | None = None  # Of TensorBoard, if the run logs to it
        self.bad_batch = path / "bad-batch.json"  # Pairs of the last step of a training that diverged

    def finished_steps(self) -> int:
        """Return the `max_steps` of the finished model; 0 if there is none, or it has to be made again.

        Raises:
            UserError: the model is damaged, and there are no checkpoints to make it from (MODEL).
        """
        if not (self.model / MANIFEST).exists():
            return 0
        try:
            steps = open_sealed(self.model).get("max_steps")
        except DamagedError as damage:
            if not saved_steps(self.checkpoints):
                raise
            LOGGER.warning("%s is damaged (%s); making it again from the checkpoints", self.model, damage.why)
            return 0
        return steps if isinstance(steps, int) else 0

    def check_continuable(self, config: Config, resume: str) -> None:
        """Check that the folder is empty, or holds a run of this config.

        Raises:
            UserError: it holds something else, or `resume` is "never" (RUN_FOLDER); the config differs (USAGE).
        """
        if not self._content():
            return
        if resume == "never":
            do = "Give another --run-dir, or continue it with --resume auto."
            raise self._refusal("the run folder is not empty", do)
        if not self.config.is_file():
            raise self._refusal("the run folder holds something else")
        self.refuse(change for change in self.changes(config) if not _is_changeable(change))

    def changes(self, config: Config) -> list[Difference]:
        """List the settings in which `config` differs from that of the run."""
        return differences(self.recorded(), self._with_former_defaults(config)) if self.config.is_file() else []

    def recorded(self) -> Config:
        """The config of the run. Keys of a later version have the defaults that the run began with."""
        config = load_config(self.config, [])
        unknown = FORMER_DEFAULTS.keys() - config.tokenizer.model_fields_set
        return _with_tokenizer(config, {name: FORMER_DEFAULTS[name] for name in unknown})

    def _with_former_defaults(self, config: Config) -> Config:
        """`config`, with former defaults of the run for the keys that it leaves out."""
        begun, given = self.recorded().tokenizer, config.tokenizer.model_fields_set
        former = {name: value for name, value in FORMER_DEFAULTS.items() if getattr(begun, name) == value}
        return _with_tokenizer(config, {name: value for name, value in former.items() if name not in given})

    def refuse(self, changes: Iterable[Difference]) -> None:
        """Refuse `changes` of the config, if there are any (USAGE)."""
        what, do = "this run was started with another config", "Set it back, or give another --run-dir."
        where = str(self.config)
        if problems := [UserError(ExitCode.USAGE, f"{what}: {change}", where=where, do=do) for change in changes]:
            raise UserError.several(problems)

    def update_finished(self, config: Config) -> None:
        """Record the test set of `config` in a finished run, and its search settings also in the model."""
        recorded = self.recorded()
        data = recorded.data.model_copy(update={"test": config.data.test})
        updated = recorded.model_copy(update={"data": data, "decode": config.decode})
        if changes := differences(recorded, updated):
            with self.locked():
                if recorded.decode != config.decode:
                    set_decode(self.model, config.decode)
                write_file(self.config, dump_config(updated).encode())
            LOGGER.info("recorded    %s", ", ".join(map(str, changes)))

    def check_checkpoints(self) -> None:
        """Refuse to restart from step 0 if the run once had checkpoints (MODEL): its log would be overwritten."""
        if saved_steps(self.checkpoints):
            return
        records = list(read_metrics(self.metrics)) if self.metrics.exists() else []
        steps = [record["step"] for record in records if isinstance(record.get("step"), int)]
        if (
            (self.model / MANIFEST).exists()
            or (records and not self.checkpoints.is_dir())
            or any(record.get("event") == VALIDATION for record in records)  # each comes after a save
            or (steps and max(steps) > load_config(self.config, []).train.save_every)
        ):
            what, do = "the checkpoints of this run are missing", "Restore them, or give another --run-dir."
            raise UserError(ExitCode.MODEL, what, where=str(self.checkpoints), do=do)

    def _content(self) -> list[str]:
        """List the names in the folder, without those that a process killed at its start may have left."""
        try:
            names = os.listdir(self.path)
        except FileNotFoundError:
            return []
        except NotADirectoryError:
            raise self._refusal("the run folder is a file, or below one") from None
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
            with locked(path, self._refuse_second):
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

    def _refuse_second(self) -> None:
        owner = (self.path / ".lock").read_text(encoding="utf-8").strip() or "another process"
        raise self._refusal(f"in use by {owner}", "Wait for it, or give another --run-dir.")

    def _refusal(self, what: str, do: str = "Give another --run-dir.") -> UserError:
        return UserError(ExitCode.RUN_FOLDER, what, where=str(self.path), do=do)

    def begin(self, config: Config, tokenizer: Tokenizer) -> None:
        """Write config and tokenizer, and remove files that a killed process left half-written."""
        if self.config.is_file():
            config = self._with_former_defaults(config)
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
            kept = [record for record in read_metrics(self.metrics) if _precedes(record, step)]
            write_file(self.metrics, "".join(json.dumps(record) + "\n" for record in kept).encode())

    def append_metrics(self, record: dict[str, Any]) -> None:
        """Append a record to the metrics, and tell TensorBoard; JSON has no NaN or infinity, so they become null."""
        finite = json.loads(json.dumps(record), parse_constant=lambda name: None)
        with self.metrics.open("a", encoding="utf-8") as file:
            file.write(json.dumps(finite, allow_nan=False) + "\n")
        if self.event_file is not None:
            self.event_file.add(finite)


def _is_changeable(change: Difference) -> bool:
    keys = [key_text(change.key[:depth]) for depth in range(1, len(change.key) + 1)]
    return change.is_path or not set(CHANGEABLE_KEYS).isdisjoint(keys)


def _with_tokenizer(config: Config, settings: dict[str, Any]) -> Config:
    return config.model_copy(update={"tokenizer": config.tokenizer.model_copy(update=settings)})


def _precedes(record: dict[str, Any], step: int) -> bool:
    """Whether a record comes before the checkpoint of `step`, which itself comes before the validation of its step."""
    number, is_validation = record.get("step"), record.get("event") == VALIDATION
    return not isinstance(number, int) or number < step or (number == step and not is_validation)
