"""Signals during a training: when they are acted on, and how all ranks act together."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from mtx.distributed.process_group import ProcessGroup
from mtx.errors import ExitCode, UserError
from mtx.system.signals import Requests


class Stopped(BaseException):
    """A signal asked the run to stop, and its state is saved. Not an error."""


@dataclass(slots=True)
class StopSignals:
    """Signals to this process, and those to any rank that all ranks know of."""

    own: Requests
    group: ProcessGroup
    shared: Requests = field(default_factory=Requests)

    def share(self) -> None:
        """Tell all ranks about the signals to each of them. All ranks call it together."""
        stop, save = self.group.all_reduce_max(self.own.stop or 0, int(self.own.is_save_wanted))
        self.shared.stop = ExitCode(stop) if stop else None
        self.shared.is_save_wanted = bool(save)

    def forget_save(self) -> None:
        """Forget requests for a save, because one is made now."""
        self.own.is_save_wanted = self.shared.is_save_wanted = False

    def raise_if_stopped(self) -> None:
        """Share signals, and raise Stopped if any rank was asked to stop. All ranks call it together."""
        self.share()
        if self.shared.stop is not None:
            raise Stopped

    def check(self, *_: Any) -> None:
        """Raise Stopped if any rank was asked to stop by now. For frequent calls inside `interruptible`."""
        if self.own.stop is not None:
            self.group.request_stop()
            raise Stopped
        if self.group.is_stop_requested():
            raise Stopped

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """In the block, let each rank do its share of a long job until a signal to any rank stops them all.

        The ranks wait for each other at the end, even if the job was interrupted. Only for jobs that begin when
        everything is saved.

        Raises:
            Stopped: one of the ranks was asked to stop, before or during the job.
        """
        self.raise_if_stopped()
        with suppress(Stopped):
            yield
        self.raise_if_stopped()

    def error(self, step: int, where: str) -> UserError:
        """Build the error that ends a stopped run, with the exit code of the signal."""
        assert self.shared.stop is not None
        what = f"stopped by a signal at step {step:,}, state saved"
        return UserError(self.shared.stop, what, where=where, do="Run the same command to continue.")
