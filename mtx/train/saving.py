"""Checkpoints of a run: when they are saved, and which are kept."""

from collections.abc import Sequence

from mtx.checkpoint.training import (
    Evaluation,
    Progress,
    TrainState,
    delete_checkpoints,
    save_checkpoint,
    saved_steps,
)
from mtx.config.settings import TrainSettings
from mtx.errors import DiskFullError
from mtx.system.logs import LOGGER
from mtx.system.rng import random_state
from mtx.train.inputs import RunInputs
from mtx.train.parallel import full_state
from mtx.train.run_folder import RunFolder
from mtx.train.validation import best_of


def is_validation_due(step: int, settings: TrainSettings) -> bool:
    """Whether the model is validated after `step`."""
    return step % settings.eval_every == 0 or step >= settings.max_steps


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


def steps_to_average(progress: Progress, folder: RunFolder, settings: TrainSettings) -> list[int]:
    """Steps of the newest checkpoints that are averaged at the end of the run.

    Checkpoints at irregular steps are left out: a save that a signal asked for must not change the result.
    """
    regular = [step for step in past_steps(progress, folder) if is_save_due(step, settings)]
    return regular[-settings.average :]


def kept_steps(saved: Sequence[int], evaluations: Sequence[Evaluation], averaged: Sequence[int], keep: int) -> set[int]:
    """Select from `saved`, oldest first, the steps to keep: the `keep` newest, the best, and those `averaged`."""
    best = {best_of(evaluations).step} if evaluations else set()
    return {*saved[-keep:], *averaged, *best}.intersection(saved)


def max_kept(settings: TrainSettings) -> int:
    """Largest number of checkpoints that a run keeps at a time."""
    num_saves = settings.max_steps // settings.save_every + settings.max_steps // settings.eval_every + 1  # at most
    num_kept = max(settings.keep, settings.average) + 2  # the best, and the one being written
    return min(num_kept, num_saves)


def prune(progress: Progress, folder: RunFolder, settings: TrainSettings) -> None:
    """Delete the checkpoints that are no longer needed."""
    _keep_only(progress, folder, steps_to_average(progress, folder, settings), settings.keep)


def make_room(progress: Progress, folder: RunFolder, settings: TrainSettings) -> None:
    """Delete all checkpoints that the run can do without: keep the newest, the best and those averaged at the end."""
    steps = steps_to_average(progress, folder, settings)
    num_to_come = sum(is_save_due(step, settings) for step in range(progress.step, settings.max_steps + 1))
    num_averaged = settings.average if settings.patience else max(settings.average - num_to_come, 0)
    _keep_only(progress, folder, steps[max(len(steps) - num_averaged, 0) :], keep=1)


def _keep_only(progress: Progress, folder: RunFolder, averaged: Sequence[int], keep: int) -> None:
    saved = past_steps(progress, folder)
    delete_checkpoints(folder.checkpoints, set(saved) - kept_steps(saved, progress.evaluations, averaged, keep))
