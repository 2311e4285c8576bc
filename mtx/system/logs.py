"""Logging: lines on stderr and in the log file of a run, and progress."""

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
PROGRESS_SECONDS = 10  # Seconds between two progress lines of a long pass over data
# Characters that end a line, control a terminal or reverse text, and surrogates, which UTF-8 cannot encode.
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


class _OneLine(logging.Formatter):
    """Formats each message as one line, in which no text or path can forge a line or control a terminal.

    Unlike `escape_controls` it keeps invisible characters: sentences of many scripts need them.
    """

    def formatMessage(self, record: logging.LogRecord) -> str:
        record.message = _UNSAFE.sub(lambda match: repr(match[0])[1:-1], record.message)
        return super().formatMessage(record)


def log_to_stderr() -> None:
    """Write log messages to stderr, one plain line each."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_OneLine("%(message)s"))
    LOGGER.addHandler(handler)
    LOGGER.setLevel(logging.INFO)
    LOGGER.propagate = False


class _LogFile(logging.FileHandler):
    """A log file whose write errors are raised; `logging` would print a traceback and continue."""

    def handleError(self, record: logging.LogRecord) -> None:
        raise  # the error being handled: logging calls this in an except clause


@contextmanager
def log_to_file(path: Path) -> Iterator[None]:
    """Inside, also append log messages with the time, and the traceback of any bug, to the file at `path`."""
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
