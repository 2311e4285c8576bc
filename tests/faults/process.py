"""An `mtx` command as a process: how it is started, signalled, waited for, and how it ended."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

SECONDS_AT_MOST = 120
"""No tiny training takes as long: it hangs."""

HANGS = 124
"""Stands for the exit code of a process that did not end and was killed, as it does for `timeout`."""


@dataclass(frozen=True)
class Ended:
    """Exit code and output of a finished process."""

    code: int
    """Exit code; -N if signal N killed the process."""
    stdout: str
    stderr: str

    @property
    def errors(self) -> list[str]:
        """Error lines for the user."""
        return [line for line in self.stderr.splitlines() if line.removeprefix("^C").startswith("mtx: error: ")]

    @property
    def has_traceback(self) -> bool:
        """Whether the user was shown, or told of, a bug."""
        return "Traceback" in self.stderr or self.code in (1, 70)

    def __str__(self) -> str:
        last = self.stderr.strip().splitlines()[-1:] or ["nothing printed"]
        return f"exit {self.code}, {(self.errors or last)[0][:300]!r}"


@dataclass(frozen=True)
class Start:
    """A command line of `mtx`, and what its process finds around it."""

    arguments: Sequence[str]
    folder: Path
    """The current folder; output goes to files in it."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Variables beside the inherited ones."""
    ignored: Sequence[signal.Signals] = ()
    """Signals that whoever starts it has set to be ignored, as `nohup` does."""
    file_size: int | None = None
    """RLIMIT_FSIZE in bytes."""
    terminal: str | None = None
    """A terminal to talk to in place of files."""
    is_held: bool = False
    """It waits, before it does anything, until it is released."""

    @property
    def printed(self) -> tuple[Path, Path]:
        """The files of stdout and stderr."""
        return self.folder / "stdout", self.folder / "stderr"


@dataclass(frozen=True)
class Running:
    """A process, the first of its process group."""

    pid: int
    start: Start
    status: Callable[[float], int | None]
    """Waits so many seconds for the exit code; None if it still runs."""
    begun: float = field(default_factory=time.monotonic)

    def seconds(self) -> float:
        """Since its start."""
        return time.monotonic() - self.begun

    def wait(self, seconds: float = SECONDS_AT_MOST) -> Ended:
        """Wait for its end, or kill it after so many seconds."""
        code = self.status(seconds)
        if code is None:
            self.kill()
            return Ended(HANGS, "", f"it hung: still running after {seconds:.0f} s")
        if self.start.terminal:
            return Ended(code, "", "")
        return Ended(code, *(path.read_text(errors="replace") for path in self.start.printed))

    def kill_at(self, seconds: float) -> Ended | None:
        """SIGKILL so many seconds after its start; None if that hit it, else how it had ended before."""
        if self.status(max(0.0, seconds - self.seconds())) is None:
            self.send(signal.SIGKILL)
        ended = self.wait()
        return ended if ended.code != -signal.SIGKILL else None

    def send(self, number: signal.Signals, *, to_group: bool = False) -> None:
        """Send a signal, if it still runs."""
        with contextlib.suppress(ProcessLookupError):
            (os.killpg if to_group else os.kill)(self.pid, number)

    def kill(self) -> None:
        """SIGKILL to it and its children."""
        self.send(signal.SIGKILL, to_group=True)
        self.status(SECONDS_AT_MOST)

    def leaves_children(self) -> bool:
        """Whether something of its group goes on for seconds after its end; it is killed then."""
        for _ in range(200):
            try:
                os.killpg(self.pid, 0)
            except ProcessLookupError:
                return False
            time.sleep(0.01)
        self.send(signal.SIGKILL, to_group=True)
        return True


def start_command(start: Start) -> Running:
    """Start the `mtx` command itself, importing and all."""
    stdout, stderr = start.printed
    with stdout.open("wb") as out, stderr.open("wb") as err:
        process = subprocess.Popen(
            [sys.executable, "-m", "mtx", *start.arguments],
            cwd=start.folder, env={**os.environ, **start.environment}, stdin=subprocess.DEVNULL, stdout=out, stderr=err,
            start_new_session=True,
        )  # fmt: skip

    def status(seconds: float) -> int | None:
        try:
            return process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None

    return Running(process.pid, start, status)
