"""Contestants that work in turns, so that a machine whose speed drifts is the same for all of them.

Each is a process of its own (see `worker`), with its own Python. All get ready first, one after the other; then turns
alternate: A B C, A B C, … Only one works at a time, and what counts is the ratio of two turns of the same round.
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
"""After the end of its input a worker gets so long to end by itself."""

Turn = dict[str, Any]
"""What a worker answered: `seconds`, what it did in them, and whatever else it has to tell."""


@dataclass(frozen=True, slots=True)
class Contestant:
    """Whom to start, and how."""

    name: str
    command: tuple[str, ...]
    """A Python, a script, and its arguments."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Variables beside those of this process, such as OMP_NUM_THREADS."""


@dataclass(frozen=True, slots=True)
class Worker:
    """A contestant that runs."""

    name: str
    process: subprocess.Popen[str]
    log: Path
    """What it printed beside its answers."""
    about: Turn
    """What it said when it was ready."""

    def turn(self, request: Mapping[str, Any]) -> Turn:
        """Let it work on `request`; all others wait."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        answer = _read(self.process)
        if answer is None:
            raise RuntimeError(f"{self.name} ended in the middle of the contest:\n{_tail(self.log)}")
        return answer


@dataclass(frozen=True, slots=True)
class Field:
    """All who take part, and why the others do not."""

    workers: list[Worker]
    left_out: dict[str, str]

    def left_out_lines(self) -> list[str]:
        """One line for each contestant that is not here."""
        return [f"left out: {name}: {reason}" for name, reason in self.left_out.items()]


@contextmanager
def started(contestants: Sequence[Contestant], folder: Path) -> Iterator[Field]:
    """Start all contestants and wait until they are ready; at the end, end them. Their logs go to `folder`.

    One whose Python or library is missing is left out, with a line on stderr.
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
    """Let the workers take turns at `request`; the turns of each by its name, in the order of the rounds."""
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
    """How much of `what` (tokens, sentences) a second, turn by turn."""
    return [turn[what] / turn["seconds"] for turn in turns]


def ratios(rates_of_it: Sequence[float], rates_of_reference: Sequence[float]) -> list[float]:
    """How many times as fast, round by round."""
    return [rate / reference for rate, reference in zip(rates_of_it, rates_of_reference, strict=True)]


def spread(values: Sequence[float], form: str) -> str:
    """The median with the least and the greatest, each in the format `form`: `1.98 (1.95..2.04)`."""
    median, least, greatest = statistics.median(values), min(values), max(values)
    return f"{median:{form}} ({least:{form}}..{greatest:{form}})"


def markdown_table(rows: Sequence[Mapping[str, str]]) -> str:
    """The rows as a Markdown table; the keys of the first are its head."""
    head = list(rows[0])
    lines = [head, ["---"] * len(head), *([row[key] for key in head] for row in rows)]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def say(line: str) -> None:
    """Tell how far the contest is: stderr, since stdout is for the tables."""
    print(line, file=sys.stderr, flush=True)


# --- processes -------------------------------------------------------------------------------------------------------


def _start(contestant: Contestant, log: Path, stack: ExitStack) -> Worker | str:
    """The contestant's worker, ready; or why it is left out."""
    if not Path(contestant.command[0]).exists():
        return f"there is no Python at {contestant.command[0]}"
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
    """The next answer; None if the process ended instead."""
    assert process.stdout is not None
    line = process.stdout.readline()
    answer: Turn | None = json.loads(line) if line else None
    return answer


def _end(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    assert process.stdout is not None
    with suppress(BrokenPipeError):  # it has ended already
        process.stdin.close()
    try:
        process.wait(SECONDS_TO_END)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    process.stdout.close()


def _tail(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return "\n".join(lines[-30:]) or "it printed nothing"
