"""A config as people write it: what it is for at its head, and beside each key the reason for its value."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mtx.config.document import dump_line
from mtx.errors import escape_controls

WIDEST = 44
"""Columns before a comment; longer values push theirs to the right."""


@dataclass(frozen=True, slots=True)
class Line:
    """A key of a section, and what is said of it."""

    key: str
    value: Any
    comment: str = ""


def commented(header: Sequence[str], sections: Mapping[str, Sequence[Line]]) -> str:
    """A config in YAML with comments; no text in it, wherever that is from, can be anything but what it is here."""
    return "".join(f"{line}\n" for line in _lines(header, sections))


def _lines(header: Sequence[str], sections: Mapping[str, Sequence[Line]]) -> Iterator[str]:
    for text in header:
        yield f"# {escape_controls(text)}".rstrip()
    for name, lines in sections.items():
        if not lines:
            continue
        yield f"{name}:"
        texts = [f"  {line.key}: {dump_line(line.value)}" for line in lines]
        width = min(max(map(len, texts)), WIDEST)
        for text, line in zip(texts, lines, strict=True):
            yield f"{text:<{width}}  # {escape_controls(line.comment)}" if line.comment else text
