"""Disturbances of sentences as they occur in what people type. Each depends on a seed and the number of the line."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from itertools import pairwise
from random import Random

import regex

from mtx.text.languages import base_language
from mtx.text.writing_systems import writes_spaces

TYPO_RATE = 0.03  # Share of letters with a typing error: one in about every seventh word of English
SPACE_RATE = 0.2  # Share of spaces that are disturbed, and of lines with a space before them or after them
DOTTED = ("tr", "az")  # Languages whose i keeps its dot as a capital letter
NO_BREAK_SPACE = "\u00a0"

_FIRST_LETTER = regex.compile(r"(?<!\S)(?:[^\w\s]*)\K\w")
_FINAL_MARKS = regex.compile(r"""[\p{STerm}…]+(?=[\p{Pe}\p{Pf}\p{Pi}"'\s]*$)""")
_ONE_SPACE = regex.compile(r"(?<=\S) (?=\S)")
_NEIGHBOURS: dict[str, str] = defaultdict(str)  # Letters beside each letter on a keyboard
for _row in ("qwertyuiop", "asdfghjkl", "zxcvbnm"):
    for _left, _right in pairwise(_row):
        _NEIGHBOURS[_left] += _right
        _NEIGHBOURS[_right] += _left


def _caps(text: str, language: str, draw: Random) -> str:
    return (text.replace("i", "İ") if base_language(language) in DOTTED else text).upper()


def _title(text: str, language: str, draw: Random) -> str:
    return str(_FIRST_LETTER.sub(lambda match: _caps(match[0], language, draw), text))


def _lower(text: str, language: str, draw: Random) -> str:
    if base_language(language) in DOTTED:
        text = text.replace("I", "ı").replace("İ", "i")
    return text.lower()


def _typos(text: str, language: str, draw: Random) -> str:
    """Swap, drop, double or replace letters."""
    letters, number = list(text), 0
    while number < len(letters):
        letter = letters[number]
        if letter.isalpha() and draw.random() < TYPO_RATE:
            error = draw.choice(("swap", "drop", "double", "neighbour"))
            if error == "swap" and number + 1 < len(letters) and letters[number + 1].isalpha():
                letters[number : number + 2] = letters[number + 1], letter
                number += 1
            elif error == "neighbour" and (near := _NEIGHBOURS.get(letter.lower())):
                other = draw.choice(near)
                letters[number] = other if letter.islower() else other.upper()
            else:
                letters[number] = "" if error == "drop" else 2 * letter
        number += 1
    return "".join(letters)


def _punct(text: str, language: str, draw: Random) -> str:
    """Drop or double the final punctuation."""
    times = draw.choice((0, 2))
    return str(_FINAL_MARKS.sub(lambda match: times * match[0], text))


def _spaces(text: str, language: str, draw: Random) -> str:
    """Double spaces, make them no-break spaces, or put some around the line."""

    def disturbed(space: str) -> str:
        return draw.choice(("  ", NO_BREAK_SPACE)) if draw.random() < SPACE_RATE else space

    inside = _ONE_SPACE.sub(lambda match: disturbed(match[0]), text)
    before, after = (" " if draw.random() < SPACE_RATE else "" for _ in range(2))
    return f"{before}{inside}{after}" if text.strip() else text


DISTURBANCES: dict[str, Callable[[str, str, Random], str]] = {
    "caps": _caps,
    "title": _title,
    "lower": _lower,
    "typos": _typos,
    "punct": _punct,
    "spaces": _spaces,
}
KINDS = (*DISTURBANCES, "joined")


def disturb(kind: str, lines: Sequence[str], language: str, seed: int) -> list[str]:
    """Disturb each of `lines` in this language; all `KINDS` but joined keep their number."""
    if kind == "joined":
        return join_neighbours(lines, language)
    change = DISTURBANCES[kind]
    return [change(line, language, Random(f"{seed} {kind} {number}")) for number, line in enumerate(lines)]


def join_neighbours(lines: Sequence[str], language: str) -> list[str]:
    """Join each line with an odd number and the next one, with a space between them if the language has spaces."""
    space = " " if writes_spaces(language) else ""
    return [space.join(filter(str.strip, lines[start : start + 2])) for start in range(0, len(lines), 2)]
