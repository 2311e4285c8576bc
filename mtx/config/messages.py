"""Error messages about a config: the location, the key, the fault in plain words, and the nearest valid spelling."""

import math
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, cast, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from mtx.config.settings import HELD_OUT_ROLES, Config, LogTarget
from mtx.config.sources import SOURCE_KINDS, Source
from mtx.errors import ExitCode, UserError, escape_controls

Key = tuple[str | int, ...]  # Path of a key: ("data", "train", 0, "src") is printed as data.train[0].src
MAX_PROBLEMS = 20  # Problems printed at once

SECTIONS = {name: cast(type[BaseModel], field.annotation) for name, field in Config.model_fields.items()}
SINGLE_OR_LIST = tuple(("data", role) for role in HELD_OUT_ROLES)  # Keys whose values are a source or a list of them
SOURCE_KEYS = (("data", "train"), *SINGLE_OR_LIST)
TYPE_NAMES = {
    int: "a whole number", float: "a number", bool: "true or false", str: "text", Path: "a path",
    tuple[Source, ...]: "a list of sources", tuple[LogTarget, ...]: "a list of names",
}  # fmt: skip


# --- locations and problems ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Location:
    """Where a value was written: a file or the command line, the folder its relative paths count from, a line."""

    name: str
    folder: Path
    line: int | None = None

    def __str__(self) -> str:
        return escape_controls(self.name) + ("" if self.line is None else f" line {self.line}")

    def at(self, line: int) -> "Location":
        """Return this location with another line; the command line has no lines."""
        return self if self == COMMAND_LINE else replace(self, line=line)


COMMAND_LINE = Location("command line", Path())


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that the user has to correct."""

    location: Location
    what: str
    do: str

    def error(self) -> UserError:
        """Return the problem as an error (USAGE)."""
        return UserError(ExitCode.USAGE, self.what, where=str(self.location), do=self.do)


def join_problems(problems: Iterable[Problem]) -> UserError:
    """Return one error with a line for each of `problems`, in the order of the text, the command line last."""
    ordered = sorted(problems, key=lambda problem: (problem.location == COMMAND_LINE, problem.location.line or 0))
    errors = [problem.error() for problem in ordered[:MAX_PROBLEMS]]
    if hidden := ordered[MAX_PROBLEMS:]:
        what = f"{len(hidden)} more problems from here on"
        errors.append(Problem(hidden[0].location, what, "Correct those above first.").error())
    return UserError.several(errors)


def shorten(text: str) -> str:
    """Cut `text` to what fits into a message."""
    return text if len(text) <= 60 else f"{text[:57]}..."


def key_text(key: Key) -> str:
    """Format `key` for a message: data.train[0].src."""
    parts = (f"[{part}]" if isinstance(part, int) else f".{escape_controls(shorten(part))}" for part in key)
    return "".join(parts).removeprefix(".") or "the config"


def value_text(value: Any) -> str:
    """Format `value` for a message."""
    match value:
        case None:
            return "nothing"
        case bool():
            return str(value).lower()
        case dict():
            return "a mapping"
        case list():
            return "a list"
    return shorten(repr(value))


# --- keys ------------------------------------------------------------------------------------------------------------


def choices(field: FieldInfo) -> tuple[str, ...]:
    """List the values that `field` may have; empty unless it is a choice."""
    annotation = _bare(field.annotation)
    return get_args(annotation) if get_origin(annotation) is Literal else ()


def type_text(field: FieldInfo) -> str:
    """Name the type of `field`: "a whole number", "pre or post"."""
    if listed := choices(field):
        return _one_of(listed)
    annotation = _bare(field.annotation)
    if annotation == tuple[Source, ...] and not field.is_required():
        return "a source or a list of sources"
    return TYPE_NAMES.get(annotation, "a mapping of keys")


def range_text(field: FieldInfo) -> str:
    """Describe the range of a number, "at least 0 and below 1"; empty if it has none."""
    words = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}
    limits = ((word, getattr(bound, name, None)) for name, word in words.items() for bound in field.metadata)
    return " and ".join(f"{word} {limit}" for word, limit in limits if limit is not None)


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Return the known word that `word` may be a misspelling of."""
    return next(iter(get_close_matches(shorten(word).lower(), known, n=1)), None)


def _bare(annotation: Any) -> Any:
    """Return X for X | None and for Annotated[X, ...], anything else as it is."""
    if type(None) in (args := get_args(annotation)):
        annotation = args[0]
    return get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation


def _one_of(words: Sequence[str]) -> str:
    *first, last = words
    return f"{', '.join(first)} or {last}" if first else last


A_SOURCE = _one_of([kind.example for kind in SOURCE_KINDS.values()])


# --- pydantic's errors in plain words --------------------------------------------------------------------------------


def problems_of(
    error: ValidationError, location_of: Callable[[Key], Location], as_written: Callable[[Key], Key]
) -> list[Problem]:
    """Translate the errors of a validation; each has the location of its key and the key `as_written`."""
    problems = []
    for details in error.errors(include_url=False):
        if not _is_repeated(details):
            key, field, owner = _find_setting(details["loc"])
            problems.append(Problem(location_of(key), *_in_words(details, as_written(key), field, owner)))
    return problems


def _is_repeated(details: ErrorDetails) -> bool:
    """Whether another error of the same validation says the same.

    A list whose items are all wrong is also too short to pydantic, and a value that is not a source lacks src and tgt.
    """
    kind, location, given = details["type"], details["loc"], details["input"]
    return bool(kind == "too_short" and given) or (kind == "missing" and location[-1] == "tgt" and "src" not in given)


def _find_setting(location: Key) -> tuple[Key, FieldInfo | None, type[BaseModel]]:
    """Find the key at a location of pydantic's, its field, and the settings that hold it.

    The location of a key in a source also holds the kind of the source. An unknown key and a source as a whole have no
    field.
    """
    if location[:2] not in SOURCE_KEYS or len(location) == 2:
        owner = Config if len(location) == 1 else SECTIONS[str(location[0])]
        return location, owner.model_fields.get(str(location[:2][-1])), owner
    owner, inner = SOURCE_KINDS[str(location[3])], location[4:]
    return location[:3] + inner, owner.model_fields.get(str(inner[0])) if inner else None, owner


def _in_words(details: ErrorDetails, path: Key, field: FieldInfo | None, owner: type[BaseModel]) -> tuple[str, str]:
    """Return the problem and the remedy."""
    key, given, got = key_text(path), details["input"], value_text(details["input"])
    # Look up the key, or the section that lacks it.
    known = path[: 2 if field is not None or path[:2] in SOURCE_KEYS else 1]
    see = f"See mtx config show --doc {key_text(known)}." if path[0] in SECTIONS else "See mtx config show."
    match details["type"]:
        case "extra_forbidden":
            near = _nearest_key(str(path[-1]), owner)
            return f"unknown key {key}", f"Did you mean {near}? {see}" if near else see
        case "missing" if path[-1] == "src" and "tgt" not in given:
            return f"{key_text(path[:-1])} is not a source", f"Write {A_SOURCE}."
        case "missing" if len(path) <= 2:
            return f"{key} is missing", "Add data: {train: [{src: FILE, tgt: FILE}]}, or another source."
        case "missing":
            return f"{key} is missing", f"Add it. {see}"
        case "too_short":
            return f"{key} is empty", f"Add {A_SOURCE}."
        case "value_error":
            return str(details["ctx"]["error"]), "Change one of them."
        case "string_too_short":
            return f"{key} is empty", see
        case "string_pattern_mismatch" if path[-1] == "tag":
            return f"{key} must be a tag, got {got}", "Write up to 32 letters and digits, such as 2de."
        case "string_pattern_mismatch":
            return f"{key} must be a language code, got {got}", "Write a code such as en or pt_BR."
    if field is None:
        return f"{key} must be a source, got {got}", f"Write {A_SOURCE}."
    if details["type"] in ("greater_than", "greater_than_equal", "less_than", "less_than_equal"):
        return f"{key} must be {range_text(field)}, got {got}", see
    return f"{key} must be {type_text(field)}, got {got}", _remedy(field, given) or see


def _nearest_key(name: str, owner: type[BaseModel]) -> str | None:
    """Return the key that an unknown one may stand for: the same one in another section, or one beside it."""
    if owner in SOURCE_KINDS.values():
        return nearest(name, [*owner.model_fields, *(kind for kind in SOURCE_KINDS if kind != "files")])
    elsewhere = (key_text((section, name)) for section, model in SECTIONS.items() if name in model.model_fields)
    return next(elsewhere, None) or nearest(name, owner.model_fields)


def _remedy(field: FieldInfo, given: Any) -> str | None:
    """Return how to correct a value of the wrong type, or one that is not among the choices, where that is simple."""
    wanted = type_text(field)
    if near := isinstance(given, str) and nearest(given, choices(field)):
        return f"Did you mean {near}?"
    if given is None:
        return "Give it a value, or remove the key."
    if "number" in wanted and isinstance(given, str) and _is_number(given):
        return "Remove the quotes."
    if wanted == "a whole number" and isinstance(given, float) and given.is_integer():
        return f"Write {given:.0f}."
    if wanted in ("text", "a path") and isinstance(given, bool | int | float):
        return "Put it in quotes."
    if wanted == "a list of sources" and isinstance(given, dict):
        return "Put it into a list: [{...}]."
    if wanted == "a list of names" and isinstance(given, str):
        names = get_args(get_args(_bare(field.annotation))[0])
        return f"Write [{nearest(given, names) or ', '.join(names)}]."
    return None


def _is_number(text: str) -> bool:
    with suppress(ValueError):
        return math.isfinite(float(text))
    return False
