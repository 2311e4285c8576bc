"""Log lines on stderr and in the log file of a run."""

import logging
import re
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mtx.errors import UserError

LOGGER = logging.getLogger("mtx")

PROGRESS_SECONDS = 10
"""Seconds between two progress lines of a long pass over data."""

_STEERS = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""What ends a line, moves a cursor or turns text around on a terminal; and surrogates, which cannot be written."""


class _OneLine(logging.Formatter):
    """One line a message, whatever text or path stands in it: none can forge a line or steer a terminal.

    Unlike `escape_controls` of errors it leaves what is only invisible: a log shows sentences, and many scripts
    need that.
    """

    def formatMessage(self, record: logging.LogRecord) -> str:
        record.message = _STEERS.sub(lambda found: repr(found[0])[1:-1], record.message)
        return super().formatMessage(record)


def log_to_stderr() -> None:
    """Send what the program says of its work to stderr, one plain line each."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_OneLine("%(message)s"))
    LOGGER.addHandler(handler)
    LOGGER.setLevel(logging.INFO)
    LOGGER.propagate = False


def log_nowhere() -> None:
    """Keep what the program says of its work to itself."""
    LOGGER.addHandler(logging.NullHandler())
    LOGGER.propagate = False


class _LogFile(logging.FileHandler):
    """A log file that raises what the disk refuses, where logging itself would print a traceback and go on."""

    def handleError(self, record: logging.LogRecord) -> None:
        raise  # what it is called for: logging calls it inside its except clause


@contextmanager
def log_to_file(path: Path) -> Iterator[None]:
    """Inside, append what the program says to the file at `path` too, with the time of day, and any bug's traceback."""
    handler = _LogFile(path, encoding="utf-8", errors="backslashreplace")
    handler.setFormatter(_OneLine("%(asctime)s %(message)s", "%Y-%m-%d %H:%M:%S"))
    LOGGER.addHandler(handler)
    try:
        yield
    except Exception as error:
        if not isinstance(error, (UserError, OSError)):
            with path.open("a", encoding="utf-8") as file:
                traceback.print_exception(error, file=file)
            error.add_note(f"traceback in {path}")
        raise
    finally:
        LOGGER.removeHandler(handler)
        handler.close()


class ProgressLog:
    """Logs the number of pairs done and their rate, at most every PROGRESS_SECONDS: `prepared 12,000 pairs, 900/s`."""

    def __init__(self, verb: str, num_before: int = 0) -> None:
        """Start the clock; `num_before` pairs were done by an earlier process and do not count for the rate."""
        self.verb, self.num_before = verb, num_before
        self.start = self.last = time.monotonic()

    def update(self, num_done: int) -> None:
        """Log `num_done` if a line is due."""
        now = time.monotonic()
        if now - self.last >= PROGRESS_SECONDS:
            self.last = now
            rate = (num_done - self.num_before) / (now - self.start)
            LOGGER.info("%s %s pairs, %s/s", self.verb, f"{num_done:,}", f"{rate:,.0f}")
