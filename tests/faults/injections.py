"""A system call of a training fails, or the process dies in it; then the same command finishes it, bit-equal.

Every call of a whole short training that changes its run folder or its cache can be hit: opening for writing, write,
fsync, mkdir, rename, unlink, rmdir. strace does it, attached to a process that a starter has forked.
"""

import random
import shutil
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path

from tests.faults.disks import check_full
from tests.faults.outcome import Outcome, SkippedError, Verdict
from tests.faults.process import Ended, Start
from tests.faults.starter import Starter
from tests.faults.training import Failure, Training, check_finished, check_refused, count, untouched

CALLS = ("openat", "write", "fsync", "mkdir", "rename", "unlink", "unlinkat", "rmdir")

FAULTS = {"KILL": "signal=KILL", "ENOSPC": "error=ENOSPC", "EIO": "error=EIO", "EROFS": "error=EROFS",
          "EACCES": "error=EACCES"}  # fmt: skip
"""Faults to inject into a system call, in strace's syntax."""


DATA = 3
"""The exit code for data that cannot be read."""


@dataclass(frozen=True)
class SystemCall:
    """Call `number` of all calls named `name` by a process."""

    name: str
    number: int
    text: str
    """Line that strace printed for it."""

    def changes(self, folder: Path) -> bool:
        """Whether it changes the run folder or the cache in `folder`."""
        is_there = f"{folder}/run" in self.text or f"{folder}/cache" in self.text
        return is_there and (self.name != "openat" or "O_WRONLY" in self.text or "O_RDWR" in self.text)


def inject_at_random(folder: Path, tries: int, seed: int) -> list[Outcome]:
    """Hit `tries` of all pairs of a call and a fault, drawn without repetition.

    Raises:
        SkippedError: strace is missing, or may not attach.
    """
    training = Training(folder / "data", max_steps=12, save_every=4, eval_every=6)
    training.write()
    rows = {fault: Outcome(f"{fault} in a system call") for fault in FAULTS}
    with Starter() as starter:
        _, expected = untouched(training, folder / "untouched", starter.start)
        traced = folder / "traced"
        _, calls = run_under_strace(training.start(traced), starter)
        points = [(call, fault) for call in calls if call.changes(traced) for fault in FAULTS]
        random.Random(seed).shuffle(points)
        for call, fault in points[:tries]:
            place = folder / f"{fault}-{call.name}-{call.number}"
            failure = injected_run(training, place, starter, call, fault, expected)
            count(rows[fault], failure, f"{fault} at {call.name} number {call.number}", place)
    return list(rows.values())


def injected_run(
    training: Training, place: Path, starter: Starter, call: SystemCall, fault: str, expected: dict[str, str]
) -> Failure | None:
    """One training whose `call` is hit, then its command again."""
    start = training.start(place)
    injection = f"inject={call.name}:{FAULTS[fault]}:when={call.number}"
    ended, calls = run_under_strace(start, starter, injection)
    finished = starter.start(start).wait()
    hit = next((one for one in calls if "INJECTED" in one.text), calls[-1])
    failure = check_hit(ended, fault, hit, place) or check_finished(finished, place / "run", expected)
    return (failure[0], f"{failure[1]} after {hit.text[:200]}") if failure else None


def check_hit(ended: Ended, fault: str, hit: SystemCall, place: Path) -> Failure | None:
    """Check how a process ended after one of its calls was hit. Some calls may fail without harm."""
    if fault == "KILL":
        return None if ended.code in (-9, 0) else (Verdict.LOST, str(ended))
    if ended.code == DATA and not hit.changes(place):  # counts differ a little from run to run: it was a read
        return check_refused(ended, DATA)
    return check_full(ended)


def run_under_strace(start: Start, starter: Starter, *injections: str) -> tuple[Ended, list[SystemCall]]:
    """Run a command with `injections`; also returns its calls.

    Raises:
        SkippedError: strace is missing, or may not attach.
    """
    if shutil.which("strace") is None:
        raise SkippedError("strace is not installed (apt-get install strace)")
    trace = start.folder / "trace"
    expressions = [f"trace={','.join(CALLS)}", *injections]
    options = [word for expression in expressions for word in ("-e", expression)]
    running = starter.start(replace(start, is_held=True))
    command = ["strace", "-y", "-s", "0", "-o", str(trace), *options, "-p", str(running.pid)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as strace:
        assert strace.stderr is not None
        answer = strace.stderr.readline()
        if "attached" not in answer:
            running.kill()
            raise SkippedError(f"strace can't attach: {answer.strip()}")
        starter.release()
        ended = running.wait()
    return ended, read_calls(trace.read_text(errors="replace"))


def read_calls(trace: str) -> list[SystemCall]:
    """The calls of a trace, each name counted from 1."""
    counts = dict.fromkeys(CALLS, 0)
    calls = []
    for line in trace.splitlines():
        name = line.split("(")[0]
        if name in counts:
            counts[name] += 1
            calls.append(SystemCall(name, counts[name], line))
    return calls
