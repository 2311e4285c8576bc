"""What signals ask of a process: to stop, or to save and go on."""

import ctypes
import os
import signal
import sys
import threading
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


_NO_SIGNAL = 0


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


def end_with_parent(number: signal.Signals) -> None:
    """Let this process get the signal `number` when the one that started it ends, however that happens; on Linux."""
    if sys.platform == "linux":
        set_parent_death_signal = 1  # linux/prctl.h
        ctypes.CDLL(None).prctl(set_parent_death_signal, number)


@contextmanager
def deferred_signals(echo_seconds: float = ECHO_SECONDS, *, is_last: bool = False) -> Iterator[Requests]:
    """Inside, the first SIGINT, SIGTERM or SIGHUP is only noted, for the work to stop at a good place; so is SIGUSR1.

    One more of the first three leaves at once, unless it comes within `echo_seconds`. With `is_last` the process ends
    soon after: later signals are ignored, so that they can't hide why it ends.
    """
    requests = Requests()

    def note_stop(number: int, _frame: FrameType | None) -> None:
        if requests.stop is None:
            requests.stop = EXIT_CODES[signal.Signals(number)]

    def note_save(_number: int, _frame: FrameType | None) -> None:
        requests.is_save_wanted = True

    handlers = dict.fromkeys(stops(), note_stop) | {signal.SIGUSR1: note_save}
    with _second_one_leaves(echo_seconds):
        before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
        try:
            yield requests
        finally:
            if not is_last:
                for number, handler in before.items():
                    signal.signal(number, handler)


@contextmanager
def _second_one_leaves(echo_seconds: float) -> Iterator[None]:
    """Inside, the process ends with the code of the second signal to stop, as soon as that comes.

    Python hands a signal to its handler when the main thread comes back from torch, which may be seconds later: neither
    could that leave at once, nor would it know how long after the first one the second came. Python writes the number
    of each signal into a pipe at the moment itself, and a thread reads it.
    """
    reading, writing = os.pipe()
    os.set_blocking(writing, False)  # as Python wants it
    listener = threading.Thread(target=_leave_at_second, args=(reading, echo_seconds), daemon=True)
    listener.start()
    before = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        os.write(writing, bytes([_NO_SIGNAL]))  # closing it would not do: processes forked meanwhile hold it too
        listener.join()
        os.close(writing)
        os.close(reading)


def _leave_at_second(reading: int, echo_seconds: float) -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())  # they interrupt what the main thread waits for
    first = None
    while _NO_SIGNAL not in (numbers := os.read(reading, 4096)):
        now = time.monotonic()
        for number in numbers:
            if number in EXIT_CODES:
                first = first or now
                if now - first > echo_seconds:
                    os._exit(EXIT_CODES[signal.Signals(number)])
