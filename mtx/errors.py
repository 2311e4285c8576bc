"""The errors that a user can mend, and the exit codes of the program.

Anything else that is raised is a bug of ours and keeps its traceback.
"""

import errno
from collections.abc import Sequence
from enum import IntEnum
from typing import Self


class ExitCode(IntEnum):
    """What the process answers to its caller."""

    DONE = 0
    ANSWER_IS_NO = 1
    """Ran, and the answer is no: `--min` was not met, a check found problems."""
    USAGE = 2
    """Wrong command line or config."""
    DATA = 3
    """Input data wrong."""
    MODEL = 4
    """Model folder or checkpoint unusable."""
    MACHINE = 5
    """Disk, permission, device, memory."""
    DIVERGED = 6
    """Training diverged."""
    RUN_FOLDER = 7
    """Run folder in use, or holds something else."""
    PEER_LOST = 8
    """A distributed peer was lost."""
    BUG = 70
    """A bug in mtx."""
    INTERRUPTED = 130
    """Stopped by SIGINT, state saved."""
    READER_GONE = 141
    """The reader of our output went away."""
    TERMINATED = 143
    """Stopped by SIGTERM, state saved."""


class UserError(Exception):
    """One or several problems that the user can mend, and the exit code they lead to.

    Each line reads `WHAT (WHERE). DO THIS.`; the command line puts `mtx: error: ` before it.
    """

    def __init__(self, code: ExitCode, what: str, *, where: str = "", do: str) -> None:
        place = f" ({where})" if where else ""
        self.code = code
        self.lines: tuple[str, ...] = (f"{what}{place}. {do}",)
        super().__init__(self.lines[0])

    @classmethod
    def several(cls, problems: Sequence[Self]) -> Self:
        """All the lines of `problems` as one error, with the code of the first."""
        error = problems[0]
        error.lines = tuple(line for problem in problems for line in problem.lines)
        return error


class DiskFullError(UserError):
    """No space is left on the disk, or this user may have no more of it."""


def machine_error(error: OSError, what: str, where: object = "") -> UserError:
    """What the user should read when the system refused `what`: its reason, and what may help."""
    place = where or error.filename or ""
    do = _REMEDIES.get(error.errno or 0, "Check the disk, the file and its permissions.")
    kind = DiskFullError if error.errno in _FULL else UserError
    return kind(ExitCode.MACHINE, f"{what}: {error.strerror or error}", where=str(place), do=do)


def escape_controls(text: str) -> str:
    """`text` as a message shows it: on one line, what is invisible or would steer a terminal escaped."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_REMEDIES = {
    **dict.fromkeys(_FULL, "Free some space and run the same command again."),
    **dict.fromkeys((errno.ENOMEM, errno.EAGAIN), "Free memory, or use fewer threads or smaller batches."),
    **dict.fromkeys((errno.EMFILE, errno.ENFILE), "Raise the limit of open files (ulimit -n)."),
}
