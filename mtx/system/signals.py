"""Signals that ask a process to stop, or to save and continue."""

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

# The stop signals, each with the exit code of a process that it stops.
EXIT_CODES = {
    signal.SIGINT: ExitCode.INTERRUPTED,
    signal.SIGTERM: ExitCode.TERMINATED,
    signal.SIGHUP: ExitCode.TERMINATED,
}

# Stop signals within this time of the first one count as its echo. A terminal and a wrapper script both pass Ctrl-C
# on, and a service manager sends SIGHUP right after SIGTERM.
ECHO_SECONDS = 0.3
_END_OF_SIGNALS = 0  # Byte that ends the listener thread; no signal has this number


@dataclass(slots=True)
class Requests:
    """Requests that have arrived as signals."""

    stop: ExitCode | None = None  # Exit code with which to save and stop, if a stop was requested
    is_save_wanted: bool = False  # Whether to save and continue


def stop_signals() -> list[signal.Signals]:
    """The stop signals that this process may handle: all except those it was started to ignore, as by nohup."""
    return [number for number in EXIT_CODES if signal.getsignal(number) is not signal.SIG_IGN]


def end_with_parent(number: signal.Signals) -> None:
    """On Linux, have the kernel send this process the signal `number` when its parent ends, even by SIGKILL."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, number)  # PR_SET_PDEATHSIG of linux/prctl.h


@contextmanager
def deferred_signals(echo_seconds: float = ECHO_SECONDS, *, is_last: bool = False) -> Iterator[Requests]:
    """Inside, record the first stop signal and any SIGUSR1 as requests, so that work can stop at a good moment.

    A second stop signal exits at once, unless it comes within `echo_seconds` of the first. With `is_last`, signals stay
    ignored afterwards: the process is about to exit, and a signal must not hide the reason.
    """
    requests = Requests()

    def record(number: int, _frame: FrameType | None) -> None:
        if number == signal.SIGUSR1:
            requests.is_save_wanted = True
        elif requests.stop is None:
            requests.stop = EXIT_CODES[signal.Signals(number)]

    with _exit_at_second_signal(echo_seconds):
        before = {number: signal.signal(number, record) for number in (*stop_signals(), signal.SIGUSR1)}
        try:
            yield requests
        finally:
            if not is_last:
                for number, handler in before.items():
                    signal.signal(number, handler)


@contextmanager
def _exit_at_second_signal(echo_seconds: float) -> Iterator[None]:
    """Inside, exit with the code of the second stop signal the moment it arrives.

    Python runs signal handlers only when the main thread returns from C code. A matrix product can delay that by
    seconds, and a late handler cannot tell an echo from a second signal. But Python's C handler writes each signal's
    number to a pipe at once, so a thread that reads the pipe can act in time.
    """
    reading, writing = os.pipe()
    os.set_blocking(writing, False)  # required by set_wakeup_fd
    listener = threading.Thread(target=_listen, args=(reading, echo_seconds), daemon=True)
    listener.start()
    before = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        os.write(writing, bytes([_END_OF_SIGNALS]))  # closing is not enough: forked processes hold the pipe open too
        listener.join()
        os.close(writing)
        os.close(reading)


def _listen(reading: int, echo_seconds: float) -> None:
    # Blocked here, signals interrupt the main thread, which may be waiting for something.
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    first = None
    while _END_OF_SIGNALS not in (numbers := os.read(reading, 4096)):
        now = time.monotonic()
        for number in numbers:
            if number in EXIT_CODES:
                first = first or now
                if now - first > echo_seconds:
                    os._exit(EXIT_CODES[signal.Signals(number)])
