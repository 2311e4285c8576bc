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

SECONDS_AT_MOST = 900
"""Seconds after which a process counts as hanging; no tiny training takes as long."""

HANGS = 124
"""Exit code recorded for a process that hung and was killed, as by `timeout`."""


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
    """Command line of `mtx` and the environment of its process."""

    arguments: Sequence[str]
    folder: Path
    """Current folder; output goes to files in it."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Variables in addition to the inherited ones."""
    ignored: Sequence[signal.Signals] = ()
    """Signals that the process ignores from its start, as under `nohup`."""
    file_size: int | None = None
    """Limit of the size of files (RLIMIT_FSIZE) in bytes."""
    terminal: str | None = None
    """Terminal to use instead of files."""
    is_held: bool = False
    """Whether the process waits at its start until it is released."""

    @property
    def printed(self) -> tuple[Path, Path]:
        """The files of stdout and stderr."""
        return self.folder / "stdout", self.folder / "stderr"


@dataclass(frozen=True)
class Running:
    """Running process, the leader of its process group."""

    pid: int
    start: Start
    status: Callable[[float], int | None]
    """Waits up to the given seconds for the exit code; returns None if the process still runs."""
    begun: float = field(default_factory=time.monotonic)

    def seconds(self) -> float:
        """Seconds since its start."""
        return time.monotonic() - self.begun

    def wait(self, seconds: float = SECONDS_AT_MOST) -> Ended:
        """Wait for its end, and kill it after `seconds`."""
        code = self.status(seconds)
        if code is None:
            self.kill()
            return Ended(HANGS, "", f"it hung: still running after {seconds:.0f} s")
        if self.start.terminal:
            return Ended(code, "", "")
        return Ended(code, *(path.read_text(errors="replace") for path in self.start.printed))

    def kill_at(self, seconds: float) -> Ended | None:
        """Send SIGKILL `seconds` after its start; return None if that killed it, or how it had ended before."""
        if self.status(max(0.0, seconds - self.seconds())) is None:
            self.send(signal.SIGKILL)
        ended = self.wait()
        return ended if ended.code != -signal.SIGKILL else None

    def send(self, number: signal.Signals, *, to_group: bool = False) -> None:
        """Send a signal, if it still runs."""
        with contextlib.suppress(ProcessLookupError):
            (os.killpg if to_group else os.kill)(self.pid, number)

    def kill(self) -> None:
        """Send SIGKILL to it and its children."""
        self.send(signal.SIGKILL, to_group=True)
        self.status(SECONDS_AT_MOST)

    def leaves_children(self) -> bool:
        """Whether processes of its group survive its end for seconds; these are then killed."""
        for _ in range(200):
            try:
                os.killpg(self.pid, 0)
            except ProcessLookupError:
                return False
            time.sleep(0.01)
        self.send(signal.SIGKILL, to_group=True)
        return True


def start_command(start: Start) -> Running:
    """Start the `mtx` command in a new interpreter."""
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
