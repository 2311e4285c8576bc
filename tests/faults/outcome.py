"""Table of faults: one row per fault, one column per verdict."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path


class Verdict(StrEnum):
    """Result of one try; each value is a column of the table."""

    SURVIVED = "survived"
    """The result is bit-equal, or mtx refused with the documented exit code and one line."""
    LOST = "lost"
    """Work is lost, the run can't continue, or the exit code is wrong."""
    SILENT = "silent"
    """The result differs, without an error."""
    TRACEBACK = "tracebacks"
    """The user saw a traceback, or an error that reports a bug in mtx."""


@dataclass
class Outcome:
    """Row of the table: the fault, the number of tries, and the number with each verdict."""

    fault: str
    tries: int = 0
    survived: int = 0
    lost: int = 0
    silent: int = 0
    tracebacks: int = 0
    failures: list[str] = field(default_factory=list)
    """For each try that was not survived: what happened, and how to repeat it."""

    def count(self, verdict: Verdict, what: str = "") -> None:
        """Add one try."""
        self.tries += 1
        setattr(self, verdict, getattr(self, verdict) + 1)
        if verdict is not Verdict.SURVIVED:
            self.failures.append(f"{verdict}: {what}")

    @property
    def is_clean(self) -> bool:
        """Whether every try was survived."""
        return self.survived == self.tries


class SkippedError(Exception):
    """A fault that cannot be made on this machine, and why."""


Fault = Callable[[Path, int, int], list[Outcome]]
"""Makes a fault in a folder of its own, so many times, drawn from a seed."""


def merged(outcomes: Iterable[Outcome]) -> list[Outcome]:
    """Rows of the same fault added up, in the order in which they first occur."""
    rows: dict[str, Outcome] = {}
    for outcome in outcomes:
        row = rows.setdefault(outcome.fault, Outcome(outcome.fault))
        row.tries += outcome.tries
        for verdict in Verdict:
            setattr(row, verdict, getattr(row, verdict) + getattr(outcome, verdict))
        row.failures += outcome.failures
    return list(rows.values())


def table(outcomes: Sequence[Outcome]) -> str:
    """All rows and their sum as a Markdown table."""
    columns = ["tries", *Verdict]
    rows = [[o.fault, *(getattr(o, column) for column in columns)] for o in outcomes]
    total = ["all", *(sum(getattr(o, column) for o in outcomes) for column in columns)]
    lines = [["fault", *columns], ["---"] * (len(columns) + 1), *rows, total]
    return "\n".join("| " + " | ".join(map(str, cells)) + " |" for cells in lines)
