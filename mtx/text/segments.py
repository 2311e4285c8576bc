"""Split long input at sentence ends or else at spaces; nothing is dropped."""

import re
from collections.abc import Callable
from itertools import pairwise

from mtx.text.languages import base_language

# A sentence ends at . ! ? or …, with any closing quotes or brackets, before white space. The full-width marks of
# Chinese and Japanese, of which several may follow each other, need no white space.
_SENTENCE_END = re.compile(r"(?<=[.!?…])[\"'”’»)\]]*\s+|(?<=[。！？])(?![。！？])[」』”’）]*")

NO_SPACES = ("zh", "ja", "th", "lo", "my", "km", "lzh", "yue")  # Languages that write no space between sentences


def split_long(text: str, count_tokens: Callable[[str], int], limit: int) -> list[str]:
    """Return `[text]` if it has at most `limit` tokens, else its sentences; split those that are too long again.

    Each character except white space is in exactly one part, and the order is kept.
    """
    if count_tokens(text) <= limit:
        return [text]
    ends = [0, *(match.end() for match in _SENTENCE_END.finditer(text)), len(text)]
    sentences = [text[start:end].strip() for start, end in pairwise(ends)]
    return [part for sentence in sentences if sentence for part in _split_at_spaces(sentence, count_tokens, limit)]


def join_parts(parts: list[str], language: str) -> str:
    """Join the translations of a text's parts."""
    separator = "" if base_language(language) in NO_SPACES else " "
    return separator.join(part for part in parts if part)


def _split_at_spaces(text: str, count_tokens: Callable[[str], int], limit: int) -> list[str]:
    """Halve `text` at the space nearest its middle (or in its middle) until each part has at most `limit` tokens."""
    if count_tokens(text) <= limit or len(text) < 2:
        return [text]
    middle = len(text) // 2
    spaces = [match.start() for match in re.finditer(r"\s", text[1:-1])]
    cut = 1 + min(spaces, key=lambda index: abs(index + 1 - middle)) if spaces else middle
    halves = [half for half in (text[:cut].strip(), text[cut:].strip()) if half]
    return [part for half in halves for part in _split_at_spaces(half, count_tokens, limit)]
