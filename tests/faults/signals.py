"""Signals at any moment of a training with two threads: state saved, the documented exit code, nothing left behind."""

import os
import pty
import random
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

from tests.faults.outcome import Outcome, Verdict
from tests.faults.process import Ended, Running
from tests.faults.starter import Starter
from tests.faults.training import Failure, Training, check_finished, count, metrics, result, saved_steps

EXIT_CODES = {signal.SIGTERM: 143, signal.SIGINT: 130, signal.SIGHUP: 143, signal.SIGUSR1: 0}
"""Exit code of a training after each signal."""

PLACES = ("anywhere", "anywhere", "anywhere", "in preparation", "in a validation", "at the finish")
"""Phases in which signals are sent; half of them outside the loop over steps."""

SHARE_OF_SECONDS = 0.2
"""Share of the signals that are followed by a second one."""


@dataclass(frozen=True)
class Timetable:
    """Times of an untouched run, in seconds after its start."""

    begin: float
    """Time of the run's first file."""
    validation: float
    """Duration of a validation in seconds."""
    finish: float
    """Duration of the finish in seconds, from the last checkpoint on."""
    end: float


@dataclass(frozen=True)
class Moment:
    """Moment of a signal, `delay` seconds after `file` appears in the run folder; no `file` means after the start."""

    place: str
    file: str
    delay: float

    def __str__(self) -> str:
        return f"{self.delay:.3f} s after {self.file or 'the start'}"


def send_at_random(folder: Path, tries: int, seed: int) -> list[Outcome]:
    """Send one signal to each of `tries` trainings, to the process or to its group, and let the same command finish.

    The first training is drawn from `seed`, the next from `seed + 1` and so on; then come signals of special kinds.
    """
    training = Training(folder / "data", max_steps=40, eval_every=10, log_every=1, num_dev=200, threads=2)
    training.write()
    rows = {number: Outcome(f"{number.name} {training.threads} threads") for number in EXIT_CODES}
    with Starter() as starter:
        timetable, expected = watch(training, starter.start(training.start(folder / "untouched")))
        for one in range(seed, seed + tries):
            draw = random.Random(one)
            number, moment = draw.choice(list(EXIT_CODES)), draw_moment(draw, training, timetable)
            to_group = draw.random() < 0.5
            again = draw.uniform(0, 1.0) if draw.random() < SHARE_OF_SECONDS else None
            place = folder / f"seed-{one}"
            failure = signalled_run(training, place, starter, number, moment, expected, to_group=to_group, again=again)
            target = "the group" if to_group else "the process"
            twice = f", again {again:.3f} s later" if again is not None else ""
            what = f"{number.name} to {target} {moment.place}, {moment}{twice} (seed {one})"
            count(rows[number], failure, what, place)
        special = [
            in_terminal(training, folder / "terminal", starter, timetable, expected),
            under_nohup(training, folder / "nohup", starter, timetable, expected),
            suspended(training, folder / "suspended", starter, timetable, expected),
            reader_gone(folder / "untouched" / "run", folder / "reader"),
        ]
    return [*rows.values(), *special]


def watch(training: Training, running: Running) -> tuple[Timetable, dict[str, str]]:
    """Watch an untouched training; return its timetable and the digests of its result."""
    run = running.start.folder / "run"
    steps = f"checkpoints/step-{training.eval_every:06d}", f"checkpoints/step-{training.max_steps:06d}"
    seen: dict[str, float] = {}
    while running.status(0.002) is None:
        for file in ("config.yaml", *steps):
            if (run / file).exists():
                seen.setdefault(file, running.seconds())
        if any(record["event"] == "validation" for record in metrics(run)):
            seen.setdefault("validation", running.seconds())
    ended = running.wait()
    assert ended.code == 0, f"an untouched training ended with {ended}"
    end = running.seconds()
    times = Timetable(seen["config.yaml"], seen["validation"] - seen[steps[0]], end - seen[steps[1]], end)
    return times, result(run)


def draw_moment(draw: random.Random, training: Training, times: Timetable) -> Moment:
    """Draw a phase and a moment in it."""
    place = draw.choice(PLACES)
    if place == "in preparation":
        return Moment(place, "", draw.uniform(0, times.begin))
    if place == "in a validation":
        step = training.eval_every * draw.randint(1, training.max_steps // training.eval_every)
        return Moment(place, f"checkpoints/step-{step:06d}", draw.uniform(0, times.validation))
    if place == "at the finish":
        return Moment(place, f"checkpoints/step-{training.max_steps:06d}", draw.uniform(0, times.finish))
    return Moment(place, "", draw.uniform(0, times.end))


def wait_for(moment: Moment, running: Running) -> None:
    """Wait for the moment, or for the end of the process if that comes first."""
    file = running.start.folder / "run" / moment.file
    while moment.file and not file.exists() and running.status(0.001) is None:
        pass
    running.status(moment.delay if moment.file else max(0.0, moment.delay - running.seconds()))


def signalled_run(
    training: Training,
    place: Path,
    starter: Starter,
    number: signal.Signals,
    moment: Moment,
    expected: dict[str, str],
    *,
    to_group: bool,
    again: float | None,
) -> Failure | None:
    """Send `number` to a training, and once more after `again` seconds; then run the same command to the end."""
    start = training.start(place)
    running = starter.start(start)
    wait_for(moment, running)
    running.send(number, to_group=to_group)
    if again is not None and running.status(again) is None:
        running.send(number, to_group=to_group)
    failure = check_stopped(running.wait(), place / "run", number, is_twice=again is not None)
    if running.leaves_children():
        failure = failure or (Verdict.LOST, "left children behind")
    return failure or check_finished(starter.start(start).wait(), place / "run", expected)


def check_stopped(ended: Ended, run: Path, number: signal.Signals, *, is_twice: bool) -> Failure | None:
    """Check how a training ended after a signal; None if it ended as it should."""
    if ended.has_traceback:
        return Verdict.TRACEBACK, str(ended)
    # Killed by it, before mtx had begun or when all was done: Python itself was starting or ending.
    is_done = is_twice or not run.exists() or (run / "model" / "manifest.json").exists()
    is_killed = ended.code == -number and is_done
    if ended.code not in (0, EXIT_CODES[number]) and not is_killed:
        return Verdict.LOST, str(ended)
    if EXIT_CODES[number] and ended.code > 0 and not is_twice:
        if len(ended.errors) != 1:
            return Verdict.LOST, f"{ended}, {len(ended.errors)} error lines"
        logged = max((r["step"] for r in metrics(run) if r["event"] == "update"), default=0)
        saved = max(saved_steps(run), default=0)
        if saved != logged:
            return Verdict.LOST, f"step {logged} was logged last, step {saved} saved last"
    return None


def in_terminal(
    training: Training, place: Path, starter: Starter, times: Timetable, expected: dict[str, str]
) -> Outcome:
    """Press Ctrl-C during a validation on a terminal, which shows a progress bar."""
    row = Outcome("Ctrl-C on a terminal")
    master, slave = pty.openpty()
    start = training.start(place)
    running = starter.start(replace(start, terminal=os.ttyname(slave)))
    moment = Moment("in a validation", f"checkpoints/step-{training.eval_every:06d}", times.validation / 2)
    os.close(slave)
    os.set_blocking(master, False)
    shown = bytearray()
    file = place / "run" / moment.file
    while not file.exists() and running.status(0.001) is None:
        read_into(shown, master)
    running.status(moment.delay)
    os.write(master, b"\x03")
    while running.status(0.01) is None:
        read_into(shown, master)
    read_into(shown, master)
    os.close(master)
    ended = replace(running.wait(), stderr=shown.decode(errors="replace").replace("\r", "\n"))
    failure = check_stopped(ended, place / "run", signal.SIGINT, is_twice=False)
    if running.leaves_children():
        failure = failure or (Verdict.LOST, "left children behind")
    count(row, failure or check_finished(starter.start(start).wait(), place / "run", expected), row.fault, place)
    return row


def read_into(shown: bytearray, terminal: int) -> None:
    """Append the terminal's pending output to `shown`."""
    try:
        shown += os.read(terminal, 65536)
    except OSError:  # no output yet, or the process has closed the terminal
        return


def under_nohup(
    training: Training, place: Path, starter: Starter, times: Timetable, expected: dict[str, str]
) -> Outcome:
    """Send SIGHUP to the process group of a training that ignores it."""
    row = Outcome("SIGHUP under nohup")
    running = starter.start(training.start(place, ignored=[signal.SIGHUP]))
    wait_for(Moment("", f"checkpoints/step-{training.eval_every:06d}", times.validation / 2), running)
    running.send(signal.SIGHUP, to_group=True)
    count(row, check_finished(running.wait(), place / "run", expected), row.fault, place)
    return row


def suspended(training: Training, place: Path, starter: Starter, times: Timetable, expected: dict[str, str]) -> Outcome:
    """Send SIGSTOP, and SIGCONT five seconds later, to the process group of a training."""
    row = Outcome("SIGSTOP, SIGCONT")
    running = starter.start(training.start(place))
    wait_for(Moment("", f"checkpoints/step-{training.eval_every:06d}", times.validation / 2), running)
    running.send(signal.SIGSTOP, to_group=True)
    time.sleep(5)
    running.send(signal.SIGCONT, to_group=True)
    count(row, check_finished(running.wait(), place / "run", expected), row.fault, place)
    return row


def reader_gone(run: Path, place: Path) -> Outcome:
    """Run `mtx translate | head -1`, which must end quietly with exit code 141."""
    row = Outcome("reader of translate goes away")
    place.mkdir()
    (place / "many.txt").write_text("one two three\n" * 100_000)  # whose translations no pipe holds: 64 KiB
    command = f"{sys.executable} -m mtx translate --model {run} --input many.txt --beam 1"
    shell = f'{command} | head -1; echo "${{PIPESTATUS[0]}}"'
    done = subprocess.run(["bash", "-c", shell], cwd=place, capture_output=True, text=True, check=False)
    what = f"answered {done.stdout!r}, {done.stderr[-300:]!r}: {shell}"
    is_right = done.stdout.splitlines()[1:] == ["141"] and not done.stderr
    verdict = Verdict.TRACEBACK if "Traceback" in done.stderr else Verdict.LOST
    count(row, None if is_right else (verdict, what), row.fault, place)
    return row
