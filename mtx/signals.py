"""What signals ask of a process: to stop, or to save and go on."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

from mtx.errors import ExitCode

EXIT_CODES = {
    signal.SIGINT: ExitCode.INTERRUPTED,
    signal.SIGTERM: ExitCode.TERMINATED,
    signal.SIGHUP: ExitCode.TERMINATED,
}
"""The signals that ask a process to stop, and what it answers."""

ECHO_SECONDS = 0.3
"""Signals that follow the first one so soon are the same wish: a terminal and a wrapper both pass Ctrl-C on, a service
manager sends SIGHUP right after SIGTERM."""


@dataclass(slots=True)
class Requests:
    """What signals asked of a training."""

    stop: ExitCode | None = None
    """To stop, with this code."""
    is_save_wanted: bool = False
    """To save, and go on."""

    @property
    def are_any(self) -> bool:
        """Whether there is something to do; either needs a save."""
        return self.stop is not None or self.is_save_wanted


def stops() -> list[signal.Signals]:
    """The signals to stop that this process may act on: not those that its starter had it ignore, as nohup does."""
    return [number for number in EXIT_CODES if signal.getsignal(number) is not signal.SIG_IGN]


@contextmanager
def deferred_signals() -> Iterator[Requests]:
    """Inside, the first SIGINT, SIGTERM or SIGHUP is only noted, for the work to stop at a good place; so is SIGUSR1.

    One more of the first three leaves at once.
    """
    requests, noted_at = Requests(), 0.0

    def note_stop(number: int, _frame: FrameType | None) -> None:
        nonlocal noted_at
        code = EXIT_CODES[signal.Signals(number)]
        if requests.stop is None:
            requests.stop, noted_at = code, time.monotonic()
        elif time.monotonic() - noted_at > ECHO_SECONDS:
            os._exit(code)

    def note_save(_number: int, _frame: FrameType | None) -> None:
        requests.is_save_wanted = True

    handlers = dict.fromkeys(stops(), note_stop) | {signal.SIGUSR1: note_save}
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield requests
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
