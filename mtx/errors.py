"""Errors that the user can fix, and the exit codes of the program.

Any other exception is a bug in mtx and is printed with its traceback.
"""

import errno
from collections.abc import Sequence
from enum import IntEnum
from typing import Self


class ExitCode(IntEnum):
    """Exit code of the process."""

    DONE = 0
    CHECK_FAILED = 1  # The command ran, but a score is below `--min` or the data has problems
    USAGE = 2  # Error in the command line or config
    DATA = 3  # Error in the input data
    MODEL = 4  # Model folder or checkpoint cannot be used
    MACHINE = 5  # Error of disk, permissions, device or memory
    DIVERGED = 6  # Training diverged
    RUN_FOLDER = 7  # Run folder is in use or holds something else
    PEER_LOST = 8  # Another process of the same training was lost
    BUG = 70  # Bug in mtx
    INTERRUPTED = 130  # Stopped by SIGINT; a training has saved its state
    BROKEN_PIPE = 141  # The reader of stdout has closed it
    TERMINATED = 143  # Stopped by SIGTERM or SIGHUP; a training has saved its state


class UserError(Exception):
    """One or more problems that the user can fix, and their exit code.

    Each line reads `WHAT (WHERE). DO THIS.` and is printed after `mtx: error: `.
    """

    def __init__(self, code: ExitCode, what: str, *, where: str = "", do: str) -> None:
        place = f" ({where})" if where else ""
        self.code = code
        self.lines: tuple[str, ...] = (f"{what}{place}. {do}",)
        super().__init__(self.lines[0])

    @classmethod
    def several(cls, problems: Sequence[Self]) -> Self:
        """Join `problems` into one error with the exit code of the first."""
        error = problems[0]
        error.lines = tuple(line for problem in problems for line in problem.lines)
        return error


class DiskFullError(UserError):
    """The disk is full, or the user's quota is used up."""


def machine_error(error: OSError, what: str, where: object = "") -> UserError:
    """Return the error (MACHINE) for a failed system call: what failed, the system's reason and a remedy."""
    do = _REMEDIES.get(error.errno or 0, "Check the disk, the file and its permissions.")
    kind = DiskFullError if error.errno in _FULL else UserError
    return kind(ExitCode.MACHINE, f"{what}: {error.strerror or error}", where=str(where or error.filename or ""), do=do)


def escape_controls(text: str) -> str:
    """Escape line ends, control characters and invisible characters, so that `text` is safe to print on one line."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_REMEDIES = {
    **dict.fromkeys(_FULL, "Free some space and run the same command again."),
    **dict.fromkeys((errno.ENOMEM, errno.EAGAIN), "Free memory, or use fewer threads or smaller batches."),
    **dict.fromkeys((errno.EMFILE, errno.ENFILE), "Raise the limit of open files (ulimit -n)."),
}
