"""Hashes of texts that ignore case, spaces and punctuation."""

import re
from collections.abc import Sequence

from mtx.data.cleaning.duplicates import hash_of

_WORDS = re.compile(r"\w+")


def has_words(text: str) -> bool:
    """Whether `text` has more than spaces and punctuation."""
    return _WORDS.search(text) is not None


def text_keys(src: str, tgt: str) -> tuple[int, int, int]:
    """Hashes of the source, the target and both, the same in every process."""
    src, tgt = (plain(text, words_of(text)) for text in (src, tgt))
    return hash_of(src), hash_of(tgt), hash_of(src, tgt)


def words_of(text: str) -> list[str]:
    """The words of `text` without regard to case."""
    words: list[str] = _WORDS.findall(text.casefold())
    return words


def plain(text: str, words: Sequence[str]) -> str:
    """The `words` of `text`, or `text` itself if it has none."""
    return " ".join(words) or text
