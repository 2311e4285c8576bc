"""Signals are noted where work goes on, and leave no trace."""

import os
import signal
import subprocess
import sys

import pytest

from mtx.system.signals import deferred_signals

STOPS = [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 143)]


@pytest.fixture
def left(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The codes with which the process would have ended at once."""
    codes: list[int] = []
    monkeypatch.setattr(os, "_exit", codes.append)
    return codes


@pytest.mark.parametrize(("number", "code"), STOPS)
def test_the_first_signal_is_noted_and_its_echo_is_none(number: signal.Signals, code: int, left: list[int]) -> None:
    started_with = signal.signal(number, signal.SIG_DFL)
    with deferred_signals() as requests:
        assert requests.stop is None
        signal.raise_signal(number)
        assert (requests.stop, left) == (code, [])
        # The same wish, which a wrapper passed on, or a service manager makes sure of.
        signal.raise_signal(number)
        signal.raise_signal(signal.SIGHUP)
        assert (requests.stop, left) == (code, [])
    assert left == []
    assert signal.signal(number, started_with) is signal.SIG_DFL


IN_A_LONG_CALL = """
import hashlib, os, signal, sys, threading
from mtx.system.signals import deferred_signals

begun = threading.Event()

def echo():
    begun.wait()
    os.kill(os.getpid(), signal.SIGHUP)

with deferred_signals() as requests:
    signal.raise_signal(signal.SIGTERM)
    if sys.argv[1] == "echo":
        threading.Thread(target=echo).start()
    print(int(requests.stop), flush=True)
    begun.set()
    # It comes back to Python when it is done, as a large product of matrices does.
    hashlib.pbkdf2_hmac("sha256", b"", b"", int(sys.argv[2]))
print("saved")
"""


def test_an_echo_is_known_by_when_it_comes_not_by_when_it_is_looked_at() -> None:
    command = [sys.executable, "-c", IN_A_LONG_CALL, "echo", "3_000_000"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.stdout.split(), done.returncode, done.stderr) == (["143", "saved"], 0, "")


@pytest.mark.parametrize(("number", "code"), STOPS)
def test_the_second_signal_leaves_at_once(number: signal.Signals, code: int) -> None:
    command = [sys.executable, "-c", IN_A_LONG_CALL, "alone", "2_000_000_000"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"143\n"
        for _ in range(600):
            process.send_signal(number)  # the first ones are its echo
            try:
                process.wait(0.05)
                break
            except subprocess.TimeoutExpired:
                continue
        process.kill()
        assert process.stdout.read() == b""
    assert process.returncode == code


@pytest.mark.parametrize("number", [number for number, _ in STOPS])
def test_a_signal_that_was_ignored_stays_so(number: signal.Signals, left: list[int]) -> None:
    """As `nohup` sets SIGHUP, and a shell SIGINT for what it starts in the background."""
    before = signal.signal(number, signal.SIG_IGN)
    try:
        with deferred_signals() as requests:
            signal.raise_signal(number)
            assert requests.stop is None
        assert signal.getsignal(number) is signal.SIG_IGN
    finally:
        signal.signal(number, before)


def test_a_save_may_be_asked_for(left: list[int]) -> None:
    before = signal.getsignal(signal.SIGUSR1)
    with deferred_signals() as requests:
        assert not requests.are_any
        signal.raise_signal(signal.SIGUSR1)
        signal.raise_signal(signal.SIGUSR1)
        assert (requests.is_save_wanted, requests.stop, left) == (True, None, [])
        assert requests.are_any
    assert signal.getsignal(signal.SIGUSR1) is before


def test_handlers_are_put_back_after_an_error() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(ValueError, match="inside"), deferred_signals():
        raise ValueError("inside")
    assert signal.getsignal(signal.SIGTERM) is before


def test_nothing_interrupts_a_process_that_is_about_to_end(left: list[int]) -> None:
    """As the signal would that a launcher sends to all ranks when the first one of them has ended."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)
    before = [signal.getsignal(number) for number in numbers]
    try:
        with deferred_signals(is_last=True) as requests:
            pass
        signal.raise_signal(signal.SIGTERM)
        assert (requests.stop, left) == (143, [])
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def test_what_hears_of_signals_is_put_back() -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    before = signal.set_wakeup_fd(writing)
    try:
        with deferred_signals():
            pass
        assert signal.set_wakeup_fd(writing) == writing
    finally:
        signal.set_wakeup_fd(before)
        os.close(writing)
        os.close(reading)


MASK_OF_THE_LISTENER = """
import os, pathlib, re, threading, time
from mtx.system.signals import deferred_signals

with deferred_signals():
    (listener,) = [thread for thread in threading.enumerate() if thread is not threading.main_thread()]
    status = pathlib.Path(f"/proc/self/task/{listener.native_id}/status")
    deadline = time.monotonic() + 30
    blocked = 0
    while not blocked and time.monotonic() < deadline:  # it may not have begun yet
        blocked = int(re.search("SigBlk:(.*)", status.read_text())[1], 16)
    print(blocked)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_thread_that_listens_takes_no_signal_from_the_main_one() -> None:
    """Which would not wake up from what it waits for."""
    command = [sys.executable, "-c", MASK_OF_THE_LISTENER]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    for number in signal.Signals:
        if number not in (signal.SIGKILL, signal.SIGSTOP):
            assert int(done.stdout) >> (number - 1) & 1, number
