"""Checkpoints of a run: when they are saved, which are kept, and how a run resumes from one."""

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from mtx.checkpoint.training import (
    Evaluation,
    Progress,
    TrainState,
    checkpoint_bytes,
    delete_checkpoints,
    load_checkpoint,
    newest_checkpoint,
    save_checkpoint,
    saved_steps,
)
from mtx.config.messages import key_text
from mtx.config.settings import Config, TrainSettings
from mtx.data.prepared.earlier import was_prepared_alike
from mtx.errors import DiskFullError, ExitCode, UserError
from mtx.judge.languages import has_bleu_tokenizer
from mtx.system.formats import format_megabytes
from mtx.system.logs import LOGGER
from mtx.system.rng import decorrelate_rng, random_state
from mtx.text.tokenizer import load_tokenizer
from mtx.train.optim import build_optimizer
from mtx.train.parallel import full_state
from mtx.train.run_folder import SCORING_KEYS, TOKENIZER_FILES, RunFolder
from mtx.train.setup import RunInputs
from mtx.train.tensorboard import EventFile
from mtx.train.validation import best_of, is_validation_due

BITWISE_KEYS = ("threads", "precision", "device", "torch", "ranks", "parallel")  # Metadata that decide the last bits


# --- save ------------------------------------------------------------------------------------------------------------


def is_save_due(step: int, settings: TrainSettings) -> bool:
    """Whether a checkpoint is saved after `step`: also before each validation."""
    return step % settings.save_every == 0 or is_validation_due(step, settings)


def save(state: TrainState, inputs: RunInputs) -> None:
    """Write a checkpoint of the current step, and delete those no longer needed. All ranks call it together.

    If the disk is full, older checkpoints are deleted first.

    Raises:
        UserError: it can't be written (MACHINE), or would hold a number that is not finite (DIVERGED).
    """
    group, folder, settings = inputs.group, inputs.folder, inputs.settings
    state = full_state(state, inputs.trained.model, settings, group)
    random_states = group.all_gather(random_state())
    if group.is_rank0:
        checkpoint = folder.checkpoints, state, inputs.metadata, random_states[1:]
        try:
            save_checkpoint(*checkpoint)
        except DiskFullError as error:
            LOGGER.warning("%s Deleting older checkpoints to try once more.", error)
            make_room(state.progress, folder, settings)
            save_checkpoint(*checkpoint)
        prune(state.progress, folder, settings)
    group.barrier()  # so that no rank looks for the checkpoint before it exists


def past_steps(progress: Progress, folder: RunFolder) -> list[int]:
    """Steps of the checkpoints up to now. A later one is damaged, and will be replaced when its step comes."""
    return [step for step in saved_steps(folder.checkpoints) if step <= progress.step]


def steps_to_average(steps: Sequence[int], settings: TrainSettings) -> list[int]:
    """Select from `steps`, oldest first, the newest checkpoints, which are averaged at the end of the run.

    Irregular steps are left out: a save that a signal asked for must not change the result.
    """
    return [step for step in steps if is_save_due(step, settings)][-settings.average :]


def kept_steps(saved: Sequence[int], evaluations: Sequence[Evaluation], averaged: Sequence[int], keep: int) -> set[int]:
    """Select from `saved`, oldest first, the steps to keep: the `keep` newest, the best, and those `averaged`."""
    best = {best_of(evaluations).step} if evaluations else set()
    return {*saved[-keep:], *averaged, *best}.intersection(saved)


def max_kept(settings: TrainSettings) -> int:
    """Largest number of checkpoints that a run keeps at a time."""
    num_saves = settings.max_steps // settings.save_every + settings.max_steps // settings.eval_every + 1  # at most
    return min(max(settings.keep, settings.average) + 2, num_saves)  # 2: the best, and the one being written


def prune(progress: Progress, folder: RunFolder, settings: TrainSettings) -> None:
    """Delete the checkpoints that are no longer needed."""
    saved = past_steps(progress, folder)
    kept = kept_steps(saved, progress.evaluations, steps_to_average(saved, settings), settings.keep)
    delete_checkpoints(folder.checkpoints, set(saved) - kept)


def make_room(progress: Progress, folder: RunFolder, settings: TrainSettings) -> None:
    """Delete all checkpoints that the run can do without: keep the newest, the best and those averaged at the end."""
    saved = past_steps(progress, folder)
    num_to_come = sum(is_save_due(step, settings) for step in range(progress.step, settings.max_steps + 1))
    num_old = settings.average if settings.patience else max(settings.average - num_to_come, 0)
    averaged = steps_to_average(saved, settings)
    kept = kept_steps(saved, progress.evaluations, averaged[max(len(averaged) - num_old, 0) :], keep=1)
    delete_checkpoints(folder.checkpoints, set(saved) - kept)


# --- resume ----------------------------------------------------------------------------------------------------------


def start_or_resume(inputs: RunInputs, allow_data_change: bool = False) -> TrainState:
    """Return a new training state, or that of the newest undamaged checkpoint. All ranks call it together.

    Raises:
        UserError: the training data changed (DATA); the tokenizer changed, or every checkpoint is damaged (MODEL); the
            disk has no space for the checkpoints to come (MACHINE).
    """
    model, group, folder = inputs.trained.model, inputs.group, inputs.folder
    state = TrainState(model, build_optimizer(model, inputs.settings), inputs.precision.scaler(), Progress())
    newest = group.broadcast_from_0(lambda: _newest(inputs))
    if newest is None:
        decorrelate_rng(group.rank)
    else:
        checkpoint, saved = newest
        _check_same_inputs(saved, inputs, allow_data_change)
        load_checkpoint(checkpoint, state, group.rank)
        LOGGER.info("resuming from step %s", f"{state.progress.step:,}")
    if group.is_rank0:
        folder.rewind_metrics(state.progress.step)
        if inputs.settings.log_to:
            folder.event_file = EventFile(folder.path / "tensorboard", folder.metrics, state.progress.step)
        _check_space(inputs)
    return state


def check_changes(config: Config, inputs: RunInputs) -> None:
    """Refuse changed paths to other content than the run began with (USAGE). Warn if scores become incomparable."""
    folder, now = inputs.folder, inputs.metadata
    changes = folder.changes(config)
    for change in changes:
        if key_text(change.key) in SCORING_KEYS:
            LOGGER.warning("%s: earlier dev scores can't be compared with later ones", change)
    moved = [change for change in changes if change.key[0] in ("data", "tokenizer")]
    if not moved or (newest := _newest(inputs)) is None:
        return
    saved, file = newest[1], config.tokenizer.file
    is_same_text = [digest for _, digest in saved.get("sources", now["sources"])] == [own for _, own in now["sources"]]
    is_other = {
        "train": not is_same_text,
        "dev": saved.get("dev", now["dev"]) != now["dev"],
        "test": is_same_text
        and saved["data"] != now["data"],  # `clean.held_out` drops its pairs from the training data
        "file": file is not None and load_tokenizer(file).digest != saved["tokenizer"],
    }
    folder.refuse(change for change in moved if is_other.get(str(change.key[1])))


def _newest(inputs: RunInputs) -> tuple[Path, dict[str, Any]] | None:
    """The newest undamaged checkpoint and its metadata, which name data by its present key if it is the same."""
    if (newest := newest_checkpoint(inputs.folder.checkpoints)) is None:
        return None
    checkpoint, saved = newest
    is_same = was_prepared_alike(str(saved.get("data")), inputs.config, inputs.trained.tokenizer)
    return checkpoint, saved | ({"data": inputs.metadata["data"]} if is_same else {})


def keep_bleu_tokenizers(inputs: RunInputs, progress: Progress) -> RunInputs:
    """Let BLEU of each dev set keep its tokenizer, so that all scores of a run can be compared.

    The choice differs from that at the start of the run if packages were installed or removed since.
    """
    before = progress.evaluations[-1].tokenizers if progress.evaluations else []
    if len(before) != len(inputs.dev):
        return inputs
    dev = []
    for each, former in zip(inputs.dev, before, strict=True):
        chosen = each.bleu_tokenizer
        if former != chosen and has_bleu_tokenizer(former):
            what = "%s: BLEU keeps tok:%s, with which this run began; a new run would use tok:%s"
            LOGGER.warning(what, each.name, former, chosen)
            each = replace(each, bleu_tokenizer=former)
        elif former != chosen:
            what = "%s: BLEU uses tok:%s from now on and can't be compared with earlier scores: tok:%s is not installed"
            LOGGER.warning(what, each.name, chosen, former)
        dev.append(each)
    return replace(inputs, dev=tuple(dev))


def _check_space(inputs: RunInputs) -> None:
    """Check that the disk has space for all checkpoints that the run keeps at a time."""
    folder = inputs.folder
    held = sum(path.stat().st_size for path in folder.checkpoints.rglob("*"))
    needed = max_kept(inputs.settings) * checkpoint_bytes(inputs.trained.model) - held
    free = shutil.disk_usage(folder.path).free
    if free < needed:
        what = f"no space for the checkpoints: needs {format_megabytes(needed)}, {format_megabytes(free)} free"
        do = "Free some space, or give a --run-dir elsewhere."
        raise DiskFullError(ExitCode.MACHINE, what, where=str(folder.path), do=do)


def _check_same_inputs(saved: dict[str, Any], inputs: RunInputs, allow_data_change: bool) -> None:
    """Compare a checkpoint's metadata with the inputs, and log the allowed differences.

    Older checkpoints lack some of the keys.
    """
    now, path = inputs.metadata, inputs.folder.path
    is_same_tokenizer = saved.get("tokenizer") == now["tokenizer"]
    # Compared by digest: a source may have been renamed.
    names, names_now = ({digest: name for name, digest in each.get("sources", now["sources"])} for each in (saved, now))
    all_names, differing = names_now | names, names.keys() ^ names_now.keys()
    changed = ", ".join(dict.fromkeys(name for digest, name in all_names.items() if digest in differing))
    is_changed = bool(changed) or (is_same_tokenizer and saved.get("data") != now["data"])
    if is_changed and not allow_data_change:
        what = "the training data is not that of the run's start"
        do = "Restore it, give another --run-dir, or continue with --allow-data-change."
        if not changed and "sources" in saved:
            what = "this run was prepared by another version of mtx, which cleaned or tokenized the data differently"
            if inputs.config.clean.held_out != "keep":
                what = "a dev or test set, whose text clean.held_out keeps from training, or the version of mtx changed"
            do = "Give another --run-dir, or continue with --allow-data-change."
        raise UserError(ExitCode.DATA, what, where=f"{path}: {changed}" if changed else str(path), do=do)
    if not is_same_tokenizer:
        files = " and ".join(str(path / TOKENIZER_FILES[name]) for name in inputs.trained.tokenizer.files)
        what, do = "the tokenizer is not that of the run's start", "Restore it, or give another --run-dir."
        raise UserError(ExitCode.MODEL, what, where=files, do=do)
    known = [key for key in BITWISE_KEYS if key in saved]
    differences = [f"{key} was {saved[key]}, is {now[key]}" for key in known if saved[key] != now[key]]
    if is_changed:
        differences.append(f"other training data ({changed or 'prepared differently'})")
    if differences:
        LOGGER.info("not bit-equal to an uninterrupted run: %s", "; ".join(differences))
    if saved.get("dev", now["dev"]) != now["dev"]:
        LOGGER.info("the dev set is not that of the run's start: scores from before can't be compared")
