"""Which checkpoints a run keeps."""

from collections.abc import Sequence

from mtx.checkpoint.training import Evaluation, delete_checkpoints
from mtx.config.settings import TrainSettings
from mtx.train.state import Session
from mtx.train.validation import best_of


def kept_steps(
    saved: Sequence[int], evaluations: Sequence[Evaluation], averaged: Sequence[int], *, keep: int
) -> set[int]:
    """Of the steps `saved`, oldest first, those to keep: the `keep` newest, the best, and those `averaged`."""
    best = {best_of(evaluations).step} if evaluations else set()
    return {*saved[-keep:], *averaged, *best}.intersection(saved)


def most_kept(settings: TrainSettings) -> int:
    """How many checkpoints a run keeps at once, at most."""
    num_saves = settings.max_steps // settings.save_every + settings.max_steps // settings.eval_every + 1  # at most
    num_kept = max(settings.keep, settings.average) + 2  # the best, and one that is being written
    return min(num_kept, num_saves)


def prune(session: Session) -> None:
    """Delete the checkpoints that are no longer needed."""
    _delete_all_but(session, session.steps_to_average(), session.config.train.keep)


def make_room(session: Session) -> None:
    """Delete all checkpoints but those that the run cannot do without if it is to end as it would have.

    They are the newest, the best, and those that its end will take the mean of.
    """
    settings, steps = session.config.train, session.steps_to_average()
    num_to_come = sum(map(session.is_save_due, range(session.progress.step, settings.max_steps + 1)))
    num_averaged = settings.average if settings.patience else max(settings.average - num_to_come, 0)
    _delete_all_but(session, steps[max(len(steps) - num_averaged, 0) :], keep=1)


def _delete_all_but(session: Session, averaged: Sequence[int], keep: int) -> None:
    saved = session.past_steps()
    kept = kept_steps(saved, session.progress.evaluations, averaged, keep=keep)
    delete_checkpoints(session.run.checkpoints, set(saved) - kept)
