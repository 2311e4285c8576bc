"""What pydantic finds wrong with a config, in plain words and with the place where it was written."""

from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from mtx.config.keys import SECTIONS, SOURCE_KEYS, Located, choices, locate, nearest, nearest_key, range_text, type_text
from mtx.config.places import Problem, key_text, value_text
from mtx.config.yaml_lines import Document, is_number

RANGE_ERRORS = ("greater_than", "greater_than_equal", "less_than", "less_than_equal")
A_SOURCE = (
    "{src: FILE, tgt: FILE}, {tsv: FILE}, {jsonl: FILE}, {tmx: FILE}, {zip: FILE}, {folder: FOLDER}, {dataset: ID} "
    "or {demo: SPLIT}"
)


def explain(error: ValidationError, document: Document) -> list[Problem]:
    """The problems of `error`, except those that follow from what `document` refuses."""
    problems = []
    for details in error.errors(include_url=False):
        located = locate(details["loc"])
        if any(located.key[: len(key)] == key for key in document.unread) or _said_already(details):
            continue
        what, do = _in_words(details, located)
        problems.append(Problem(document.place_of(located.key), what, do))
    return problems


def _said_already(details: ErrorDetails) -> bool:
    """Whether another error of the same validation says it.

    To pydantic a list is too short when each of its items is wrong, and what is no source lacks both src and tgt.
    """
    kind, location, given = details["type"], details["loc"], details["input"]
    return bool(kind == "too_short" and given) or (kind == "missing" and location[-1] == "tgt" and "src" not in given)


def _in_words(details: ErrorDetails, located: Located) -> tuple[str, str]:
    """What is wrong, and what to do."""
    key, field, given = key_text(located.key), located.field, details["input"]
    doc = _doc_key(located)
    see = f"See mtx config show --doc {doc}." if doc else "See mtx config show."
    match details["type"]:
        case "extra_forbidden":
            near = nearest_key(located)
            return f"unknown key {key}", f"Did you mean {near}? {see}" if near else see
        case "missing" if located.key[-1] == "src" and "tgt" not in given:
            return f"{key_text(located.key[:-1])} is no source", f"Write {A_SOURCE}."
        case "missing" if len(located.key) <= 2:
            return f"{key} is missing", "Add data: {train: [{src: FILE, tgt: FILE}]}, or another source."
        case "missing":
            return f"{key} is missing", f"Add it. {see}"
        case "too_short":
            return f"{key} is empty", f"Add {A_SOURCE}."
        case "value_error":
            return str(details["ctx"]["error"]), "Choose values that agree."
        case "string_too_short":
            return f"{key} is empty", see
        case "string_pattern_mismatch" if located.key[-1] == "tag":
            return f"{key} must be a tag, got {value_text(given)}", "Write up to 32 letters and digits, such as 2de."
        case "string_pattern_mismatch":
            return f"{key} must be a language code, got {value_text(given)}", "Write a code such as en or pt_BR."
    if field is None:
        return f"{key} must be a source, got {value_text(given)}", f"Write {A_SOURCE}."
    if details["type"] in RANGE_ERRORS:
        return f"{key} must be {range_text(field)}, got {value_text(given)}", see
    return f"{key} must be {type_text(field)}, got {value_text(given)}", _remedy(located, given) or see


def _remedy(located: Located, given: Any) -> str | None:
    """What makes a value of another type, or none of the choices, right; None where nothing simple does."""
    field = located.field
    assert field is not None
    wanted = type_text(field)
    if near := isinstance(given, str) and nearest(given, choices(field)):
        return f"Did you mean {near}?"
    if given is None:
        return "Give it a value, or remove the key."
    if "number" in wanted and isinstance(given, str) and is_number(given):
        return "Remove the quotes."
    if wanted == "a whole number" and isinstance(given, float) and given.is_integer():
        return f"Write {given:.0f}."
    if wanted in ("text", "a path") and isinstance(given, bool | int | float):
        return "Put it in quotes."
    if wanted == "a list of sources" and isinstance(given, dict):
        return "Put it into a list: [{...}]."
    return None


def _doc_key(located: Located) -> str:
    """What to ask `mtx config show --doc` about `located`: the key, or the section that lacks it."""
    key = located.key
    if key[:2] in SOURCE_KEYS or (located.field is not None and len(key) == 2):
        return key_text(key[:2])
    return key_text(key[:1]) if key[0] in SECTIONS else ""
