"""Start or resume: a new training state, or that of the newest checkpoint of the run."""

import shutil
from typing import Any

from mtx.checkpoint.training import Progress, TrainState, checkpoint_bytes, load_checkpoint, newest_checkpoint
from mtx.errors import DiskFullError, ExitCode, UserError
from mtx.system.formats import format_megabytes
from mtx.system.logs import LOGGER
from mtx.system.rng import decorrelate_rng
from mtx.train.inputs import RunInputs
from mtx.train.optim import build_optimizer
from mtx.train.run_folder import TOKENIZER_FILES
from mtx.train.saving import max_kept

BITWISE_KEYS = ("threads", "precision", "device", "torch", "ranks", "parallel")
"""Keys of a checkpoint's metadata that must not change if a resumed run is to end bit-equal to an uninterrupted one."""


def check_ranks_agree(inputs: RunInputs) -> None:
    """Check that all ranks have the same inputs. All ranks call it together.

    Raises:
        UserError: they differ (DATA, or MODEL for the tokenizer).
    """
    metadata = inputs.group.all_gather(inputs.metadata)
    for rank, other in enumerate(metadata):
        for key, value in metadata[0].items():
            if other[key] != value and key != "threads":
                code = ExitCode.MODEL if key == "tokenizer" else ExitCode.DATA
                what, do = f"rank {rank} has another {key} than rank 0", "Give all machines the same files and torch."
                raise UserError(code, what, where=str(value)[:40], do=do)


def start_or_resume(inputs: RunInputs, allow_data_change: bool = False) -> TrainState:
    """Return a new training state, or that of the newest undamaged checkpoint. All ranks call it together.

    Raises:
        UserError: the training data changed (DATA); the tokenizer changed, or every checkpoint is damaged (MODEL); the
            disk has no space for the checkpoints to come (MACHINE).
    """
    model, group, folder = inputs.trained.model, inputs.group, inputs.folder
    state = TrainState(model, build_optimizer(model, inputs.settings), inputs.precision.scaler(), Progress())
    newest = group.broadcast_from_0(lambda: newest_checkpoint(folder.checkpoints))
    if newest is None:
        decorrelate_rng(group.rank)
    else:
        checkpoint, saved = newest
        check_same_inputs(saved, inputs, allow_data_change)
        load_checkpoint(checkpoint, state, group.rank)
        LOGGER.info("resuming from step %s", f"{state.progress.step:,}")
    if group.is_rank0:
        folder.rewind_metrics(state.progress.step)
        check_space(inputs)
    return state


def check_space(inputs: RunInputs) -> None:
    """Check that the disk has space for all checkpoints that the run keeps at a time.

    Raises:
        DiskFullError: it hasn't (MACHINE).
    """
    folder = inputs.folder
    held = sum(path.stat().st_size for path in folder.checkpoints.rglob("*"))
    needed = max_kept(inputs.settings) * checkpoint_bytes(inputs.trained.model) - held
    free = shutil.disk_usage(folder.path).free
    if free < needed:
        what = f"no space for the checkpoints: needs {format_megabytes(needed)}, {format_megabytes(free)} free"
        do = "Free some space, or give a --run-dir elsewhere."
        raise DiskFullError(ExitCode.MACHINE, what, where=str(folder.path), do=do)


def check_same_inputs(saved: dict[str, Any], inputs: RunInputs, allow_data_change: bool) -> None:
    """Compare a checkpoint's metadata with the inputs, and log the allowed differences.

    Older checkpoints lack some of the keys.

    Raises:
        UserError: the training data (DATA) or the tokenizer (MODEL) changed.
    """
    now, path = inputs.metadata, inputs.folder.path
    is_same_tokenizer = saved.get("tokenizer") == now["tokenizer"]
    changed = changed_sources(saved.get("sources", now["sources"]), now["sources"])
    is_changed = bool(changed) or (is_same_tokenizer and saved.get("data") != now["data"])
    if is_changed and not allow_data_change:
        what = "the training data is not that of the run's start"
        do = "Restore it, give another --run-dir, or continue with --allow-data-change."
        if not changed and "sources" in saved:
            what = "this run was prepared by another version of mtx, which cleaned or tokenized the data differently"
            do = "Give another --run-dir, or continue with --allow-data-change."
        where = f"{path}: {', '.join(changed)}" if changed else str(path)
        raise UserError(ExitCode.DATA, what, where=where, do=do)
    if not is_same_tokenizer:
        files = " and ".join(str(path / TOKENIZER_FILES[name]) for name in inputs.trained.tokenizer.files)
        what, do = "the tokenizer is not that of the run's start", "Restore it, or give another --run-dir."
        raise UserError(ExitCode.MODEL, what, where=files, do=do)
    known = [key for key in BITWISE_KEYS if key in saved]
    differences = [f"{key} was {saved[key]}, is {now[key]}" for key in known if saved[key] != now[key]]
    if is_changed:
        differences.append(f"other training data ({', '.join(changed) or 'prepared differently'})")
    if differences:
        LOGGER.info("not bit-equal to an uninterrupted run: %s", "; ".join(differences))
    if saved.get("dev", now["dev"]) != now["dev"]:
        LOGGER.info("the dev set is not that of the run's start: scores from before can't be compared")


def changed_sources(before: Any, now: Any) -> list[str]:
    """Names of the sources that are on one side only, or with other text."""
    others = [source for source in now if source not in before] + [source for source in before if source not in now]
    return list(dict.fromkeys(name for name, _ in others))
