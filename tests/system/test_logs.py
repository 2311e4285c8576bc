"""Log lines on stderr and in the run's log file."""

import logging
import os
from pathlib import Path

import pytest

from mtx.system.logs import LOGGER, ProgressLog, log_to_file, log_to_stderr


def test_the_log_file_gets_messages_with_their_time(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, LOGGER.name)
    for text in ("one – 1", "two"):
        with log_to_file(tmp_path / "log"):
            LOGGER.info("%s", text)
        LOGGER.info("outside")
    lines = (tmp_path / "log").read_text(encoding="utf-8").splitlines()
    assert [line.split(" ", 2)[2] for line in lines] == ["one – 1", "two"]
    assert not LOGGER.handlers


def test_a_full_disk_is_an_error_of_the_log_file(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    LOGGER.setLevel(logging.INFO)
    with pytest.raises(OSError, match="No space left"), log_to_file(Path("/dev/full")):
        LOGGER.info("a line")
    assert not LOGGER.handlers
    assert "Traceback" not in capfd.readouterr().err


def test_a_log_escapes_file_names_that_are_not_utf8(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LOGGER, "propagate", False)  # pytest captures only valid text
    monkeypatch.setattr(LOGGER, "level", logging.INFO)
    with log_to_file(tmp_path / "log"):
        LOGGER.info("in %s", os.fsdecode(b"f\xff"))
    assert (tmp_path / "log").read_text(encoding="utf-8").endswith("in f\\udcff\n")


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("\x1b[2J\x1b]0;title\x07", r"\x1b[2J\x1b]0;title\x07"),
        ("a\n2026-01-01 00:00:00 finished\r\n", r"a\n2026-01-01 00:00:00 finished\r\n"),
        ("a\x85b\u2028c\u2029d\x9b31m\x7f\0", r"a\x85b\u2028c\u2029d\x9b31m\x7f\x00"),
        ("\u202egnp.exe\u2066", r"\u202egnp.exe\u2066"),
        (os.fsdecode(b"/run/\xff\x1b"), r"/run/\udcff\x1b"),
        *[(text, text) for text in ("Ça va\xa0? «\u202fOui\u202f»", "👩\u200d👧", "می\u200cخواهم", "\u05d0\u200e")],
    ],
)
def test_no_text_forges_a_line_of_the_log_or_controls_a_terminal(
    message: str, expected: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LOGGER, "handlers", [])
    monkeypatch.setattr(LOGGER, "propagate", False)
    monkeypatch.setattr(LOGGER, "level", logging.INFO)
    log_to_stderr()
    with log_to_file(tmp_path / "log"):
        LOGGER.info("  source     %s", message)
    assert capsys.readouterr().err == f"  source     {expected}\n"
    assert (tmp_path / "log").read_text(encoding="utf-8").split(" ", 2)[2] == f"  source     {expected}\n"


def test_progress_is_logged_at_most_every_ten_seconds(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, LOGGER.name)
    clock = iter([0.0, 9.9, 10.0, 19.9, 20.0])
    monkeypatch.setattr("mtx.system.logs.time.monotonic", lambda: next(clock))
    progress = ProgressLog("prepared", num_before=1_000)
    for num_done in (1_500, 2_000, 2_500, 5_000):
        progress.update(num_done)
    assert caplog.messages == ["prepared 2,000 pairs, 100/s", "prepared 5,000 pairs, 200/s"]
