"""Signals are noted where work goes on, and leave no trace."""

import os
import signal
import time

import pytest

from mtx.signals import deferred_signals

STOPS = [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 143)]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, in seconds; no test waits."""
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


@pytest.fixture
def left(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The codes with which the process would have ended at once."""
    codes: list[int] = []
    monkeypatch.setattr(os, "_exit", codes.append)
    return codes


@pytest.mark.parametrize(("number", "code"), STOPS)
def test_the_first_signal_is_noted_the_second_leaves(
    number: signal.Signals, code: int, clock: list[float], left: list[int]
) -> None:
    started_with = signal.signal(number, signal.SIG_DFL)
    with deferred_signals() as requests:
        assert requests.stop is None
        signal.raise_signal(number)
        assert (requests.stop, left) == (code, [])
        # The same wish, which a wrapper passed on, or a service manager makes sure of.
        signal.raise_signal(number)
        signal.raise_signal(signal.SIGHUP)
        assert (requests.stop, left) == (code, [])
        clock[0] += 1.0
        signal.raise_signal(signal.SIGTERM)
        assert left == [143]
    assert signal.signal(number, started_with) is signal.SIG_DFL


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
