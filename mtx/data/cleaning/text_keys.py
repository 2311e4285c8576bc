"""Keys of texts, the same whatever their case, spaces and punctuation."""

import re
from collections.abc import Sequence

from mtx.data.cleaning.duplicates import hash_of

_WORDS = re.compile(r"\w+")


def has_words(text: str) -> bool:
    """Whether there is more in `text` than spaces and punctuation."""
    return _WORDS.search(text) is not None


def text_keys(src: str, tgt: str) -> tuple[int, int, int]:
    """What stands for the source, the target and both, whatever their case, spaces and punctuation; always the same."""
    plain_texts = [plain(text, words_of(text)) for text in (src, tgt)]
    return hash_of(plain_texts[0]), hash_of(plain_texts[1]), hash_of(*plain_texts)


def words_of(text: str) -> list[str]:
    words: list[str] = _WORDS.findall(text.casefold())
    return words


def plain(text: str, words: Sequence[str]) -> str:
    return " ".join(words) or text
