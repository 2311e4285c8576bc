"""Stop signals become requests while work goes on, and handlers are restored afterwards."""

import os
import signal
import subprocess
import sys

import pytest

from mtx.system.signals import deferred_signals

STOPS = [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 143)]


@pytest.fixture
def left(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Exit codes of exits at once, which are recorded instead of done."""
    codes: list[int] = []
    monkeypatch.setattr(os, "_exit", codes.append)
    return codes


@pytest.mark.parametrize(("number", "code"), STOPS)
def test_the_first_signal_becomes_a_request_and_its_echo_is_ignored(
    number: signal.Signals, code: int, left: list[int]
) -> None:
    started_with = signal.signal(number, signal.SIG_DFL)
    with deferred_signals() as requests:
        assert requests.stop is None
        signal.raise_signal(number)
        assert (requests.stop, left) == (code, [])
        # Echoes: a wrapper passes the signal on, a service manager adds SIGHUP.
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
    # Runs no Python code until it is done, like a large matrix product.
    hashlib.pbkdf2_hmac("sha256", b"", b"", int(sys.argv[2]))
print("saved")
"""


@pytest.mark.process
def test_the_time_of_arrival_makes_an_echo_not_the_time_of_handling() -> None:
    command = [sys.executable, "-c", IN_A_LONG_CALL, "echo", "3_000_000"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.stdout.split(), done.returncode, done.stderr) == (["143", "saved"], 0, "")


@pytest.mark.process
@pytest.mark.parametrize(("number", "code"), STOPS)
def test_the_second_signal_exits_at_once(number: signal.Signals, code: int) -> None:
    command = [sys.executable, "-c", IN_A_LONG_CALL, "alone", "2_000_000_000"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"143\n"
        for _ in range(600):
            process.send_signal(number)  # the first of these count as an echo
            try:
                process.wait(0.05)
                break
            except subprocess.TimeoutExpired:
                continue
        process.kill()
        assert process.stdout.read() == b""
    assert process.returncode == code


@pytest.mark.parametrize("number", [number for number, _ in STOPS])
def test_an_ignored_signal_stays_ignored(number: signal.Signals, left: list[int]) -> None:
    """`nohup` sets SIGHUP to ignored, and a shell sets SIGINT for background processes."""
    before = signal.signal(number, signal.SIG_IGN)
    try:
        with deferred_signals() as requests:
            signal.raise_signal(number)
            assert requests.stop is None
        assert signal.getsignal(number) is signal.SIG_IGN
    finally:
        signal.signal(number, before)


def test_sigusr1_requests_a_save(left: list[int]) -> None:
    before = signal.getsignal(signal.SIGUSR1)
    with deferred_signals() as requests:
        signal.raise_signal(signal.SIGUSR1)
        signal.raise_signal(signal.SIGUSR1)
        assert (requests.is_save_wanted, requests.stop, left) == (True, None, [])
    assert signal.getsignal(signal.SIGUSR1) is before


def test_handlers_are_restored_after_an_error() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(ValueError, match="inside"), deferred_signals():
        raise ValueError("inside")
    assert signal.getsignal(signal.SIGTERM) is before


def test_nothing_interrupts_a_process_that_is_about_to_exit(left: list[int]) -> None:
    """When one rank has ended, a launcher sends a signal to the others."""
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


def test_the_wakeup_descriptor_is_restored() -> None:
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
    while not blocked and time.monotonic() < deadline:  # the thread may not have started yet
        blocked = int(re.search("SigBlk:(.*)", status.read_text())[1], 16)
    print(blocked)
"""


@pytest.mark.process
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_listener_thread_blocks_all_signals() -> None:
    """A signal that it handled would not interrupt a blocking call of the main thread."""
    command = [sys.executable, "-c", MASK_OF_THE_LISTENER]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    for number in signal.Signals:
        if number not in (signal.SIGKILL, signal.SIGSTOP):
            assert int(done.stdout) >> (number - 1) & 1, number
