"""Contests in turns: each contestant meets the same machine, even if the speed of that machine drifts.

Each contestant is a separate process (see `worker`) with its own Python. All start first, one after the other.
Then they take turns: A B C, A B C, … Only one works at a time, and speeds are compared within a round.
"""

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
"""The repository, where `scripts.bench` can be imported."""
PEERS = Path(__file__).resolve().parent / "peers"
SECONDS_TO_END = 60
"""Time for a worker to exit after the end of its input, before it is killed."""

Turn = dict[str, Any]
"""Answer of a worker: `seconds`, the work done in them, and other facts."""


@dataclass(frozen=True, slots=True)
class Contestant:
    """Name and command of a contestant."""

    name: str
    command: tuple[str, ...]
    """Python, script, arguments."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Environment variables to add to those of this process, such as OMP_NUM_THREADS."""


@dataclass(frozen=True, slots=True)
class Worker:
    """Running contestant."""

    name: str
    process: subprocess.Popen[str]
    log: Path
    """File with everything it prints apart from its answers."""
    about: Turn
    """Facts that it reported when it was ready, such as versions."""

    def turn(self, request: Mapping[str, Any]) -> Turn:
        """Have it work on `request` and return its answer."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        answer = _read(self.process)
        if answer is None:
            raise RuntimeError(f"{self.name} ended in the middle of the contest:\n{_tail(self.log)}")
        return answer


@dataclass(frozen=True, slots=True)
class Field:
    """Running contestants, and the reasons why others are missing."""

    workers: list[Worker]
    left_out: dict[str, str]

    def left_out_lines(self) -> list[str]:
        """Return a line for each missing contestant."""
        return [f"left out: {name}: {reason}" for name, reason in self.left_out.items()]


@contextmanager
def started(contestants: Sequence[Contestant], folder: Path) -> Iterator[Field]:
    """Start all contestants, wait until they are ready, and stop them on exit. Their logs go to `folder`.

    A contestant without its Python or library is left out, with a line on stderr.

    Raises:
        RuntimeError: if a contestant fails to start for any other reason.
    """
    with ExitStack() as stack:
        lineup = Field([], {})
        for contestant in contestants:
            say(f"{contestant.name}: getting ready")
            worker = _start(contestant, folder / f"{contestant.name.replace(' ', '_')}.log", stack)
            if isinstance(worker, Worker):
                lineup.workers.append(worker)
            else:
                lineup.left_out[contestant.name] = worker
                say(f"left out: {contestant.name}: {worker}")
        yield lineup


def alternate(workers: Sequence[Worker], request: Mapping[str, Any], rounds: int) -> dict[str, list[Turn]]:
    """Have the workers take turns at `request`; return the turns of each by its name, in the order of the rounds."""
    turns: dict[str, list[Turn]] = {worker.name: [] for worker in workers}
    for number in range(1, rounds + 1):
        for worker in workers:
            turn = worker.turn(request)
            turns[worker.name].append(turn)
            seconds = f"{turn['seconds']:.2f} s" if "seconds" in turn else ""
            say(f"round {number}/{rounds}: {worker.name} {seconds}")
    return turns


# --- arithmetic ------------------------------------------------------------------------------------------------------


def rates(turns: Sequence[Turn], what: str) -> list[float]:
    """Return `what` (tokens, sentences) per second, turn by turn."""
    return [turn[what] / turn["seconds"] for turn in turns]


def ratios(rates: Sequence[float], reference: Sequence[float]) -> list[float]:
    """Divide rates round by round."""
    return [rate / other for rate, other in zip(rates, reference, strict=True)]


def spread(values: Sequence[float], form: str) -> str:
    """Format median, minimum and maximum, each by the format `form`: `1.98 (1.95..2.04)`."""
    median, least, greatest = statistics.median(values), min(values), max(values)
    return f"{median:{form}} ({least:{form}}..{greatest:{form}})"


def markdown_table(rows: Sequence[Mapping[str, str]]) -> str:
    """Format rows as a Markdown table; the keys of the first row are its head."""
    head = list(rows[0])
    lines = [head, ["---"] * len(head), *([row[key] for key in head] for row in rows)]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def say(line: str) -> None:
    """Print progress to stderr, since stdout is for the tables."""
    print(line, file=sys.stderr, flush=True)


# --- processes -------------------------------------------------------------------------------------------------------


def _start(contestant: Contestant, log: Path, stack: ExitStack) -> Worker | str:
    """Start a worker and wait until it is ready; return the reason if it must be left out."""
    if not Path(contestant.command[0]).exists():
        return f"no Python at {contestant.command[0]}"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1", **contestant.environment}
    with log.open("w", encoding="utf-8") as printed:
        process = subprocess.Popen(
            contestant.command,
            env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=printed, text=True, encoding="utf-8",
        )  # fmt: skip
    stack.callback(_end, process)
    first = _read(process)
    if first is not None:
        return Worker(contestant.name, process, log, first["ready"])
    process.wait()
    printed_last = _tail(log)
    reason = printed_last.splitlines()[-1]
    if reason.startswith(("ModuleNotFoundError", "ImportError")):
        return reason
    raise RuntimeError(f"{contestant.name} did not get ready:\n{printed_last}")


def _read(process: subprocess.Popen[str]) -> Turn | None:
    """Read the next answer; None if the process ended instead."""
    assert process.stdout is not None
    line = process.stdout.readline()
    answer: Turn | None = json.loads(line) if line else None
    return answer


def _end(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    assert process.stdout is not None
    with suppress(BrokenPipeError):  # it has exited already
        process.stdin.close()
    try:
        process.wait(SECONDS_TO_END)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    process.stdout.close()


def _tail(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return "\n".join(lines[-30:]) or "no output"
