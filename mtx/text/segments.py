"""Long input: cut at sentence ends, else at spaces, never dropped."""

import re
from collections.abc import Callable

from mtx.text.languages import base_language

# A sentence ends at . ! ? … and their kin, with closing quotes or brackets, before white space; the full-width
# signs of Chinese and Japanese, of which several may follow each other, need none.
_SENTENCE_END = re.compile(r"(?<=[.!?…])[\"'”’»)\]]*\s+|(?<=[。！？])(?![。！？])[」』”’）]*")

NO_SPACES = ("zh", "ja", "th", "lo", "my", "km", "lzh", "yue")
"""Languages whose sentences follow each other without a space."""


def split_long(text: str, count_tokens: Callable[[str], int], limit: int) -> list[str]:
    """`text` itself if it has at most `limit` tokens, else its sentences, those too long cut further.

    All of the text but white space is in exactly one part, in order.
    """
    if count_tokens(text) <= limit:
        return [text]
    sentences = _cut_after(text, [match.end() for match in _SENTENCE_END.finditer(text)])
    return [part for sentence in sentences for part in _split_at_spaces(sentence, count_tokens, limit)]


def join_parts(parts: list[str], language: str) -> str:
    """The translation of a text from the translations of its parts."""
    separator = "" if base_language(language) in NO_SPACES else " "
    return separator.join(part for part in parts if part)


def _split_at_spaces(text: str, count_tokens: Callable[[str], int], limit: int) -> list[str]:
    """Halve `text` at the space nearest to its middle, else in its middle, until no part has over `limit` tokens."""
    if count_tokens(text) <= limit or len(text) < 2:
        return [text]
    middle = len(text) // 2
    spaces = [match.start() for match in re.finditer(r"\s", text[1:-1])]
    cut = 1 + min(spaces, key=lambda place: abs(place + 1 - middle)) if spaces else middle
    halves = [half for half in (text[:cut].strip(), text[cut:].strip()) if half]
    return [part for half in halves for part in _split_at_spaces(half, count_tokens, limit)]


def _cut_after(text: str, places: list[int]) -> list[str]:
    starts, stops = [0, *places], [*places, len(text)]
    parts = [text[start:stop].strip() for start, stop in zip(starts, stops, strict=True)]
    return [part for part in parts if part]
