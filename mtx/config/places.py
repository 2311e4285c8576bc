"""Where settings were written, what is wrong with them, and how both are said on one line."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mtx.errors import ExitCode, UserError, printable

Key = tuple[str | int, ...]
"""A key path: ("data", "train", 0, "src") is printed as data.train[0].src."""

MAX_SHOWN = 20
"""Problems that are printed at once."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a value was written, and the folder that relative paths in it count from."""

    name: str
    folder: Path
    line: int | None = None

    def __str__(self) -> str:
        return printable(self.name) + ("" if self.line is None else f" line {self.line}")

    def at(self, line: int) -> "Place":
        """The place `line` of the same text; the command line has no lines."""
        return self if self == COMMAND_LINE else replace(self, line=line)


COMMAND_LINE = Place("command line", Path())


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that the user has to mend."""

    place: Place
    what: str
    do: str

    def error(self) -> UserError:
        return UserError(ExitCode.USAGE, self.what, where=str(self.place), do=self.do)


def all_at_once(problems: Iterable[Problem]) -> UserError:
    """One error with a line for each of `problems`, in the order of the text, the command line last."""
    ordered = sorted(problems, key=lambda problem: (problem.place == COMMAND_LINE, problem.place.line or 0))
    errors = [problem.error() for problem in ordered[:MAX_SHOWN]]
    if hidden := ordered[MAX_SHOWN:]:
        errors.append(
            Problem(hidden[0].place, f"{len(hidden)} more problems from here on", "Mend those above.").error()
        )
    return UserError.several(errors)


def shortened(text: str) -> str:
    """`text`, or its beginning where it is too long for a message."""
    return text if len(text) <= 60 else f"{text[:57]}..."


def key_text(key: Key) -> str:
    """`key` as it is printed: data.train[0].src."""
    parts = (f"[{part}]" if isinstance(part, int) else f".{printable(shortened(part))}" for part in key)
    return "".join(parts).removeprefix(".") or "the config"


def value_text(value: Any) -> str:
    """`value` as a message shows it."""
    match value:
        case None:
            return "nothing"
        case bool():
            return str(value).lower()
        case dict():
            return "a mapping"
        case list():
            return "a list"
    return shortened(repr(value))
