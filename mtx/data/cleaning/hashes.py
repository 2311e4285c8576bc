"""Hashes of texts, and sets of more hashes than Python's own sets could hold."""

import hashlib
import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]

NUM_PARTS = 16  # Parts into which hashes are divided: merging two arrays takes memory for one part only
GROWTH = 4  # An array is merged with those after it once they together exceed 1/GROWTH of its length

_WORDS = re.compile(r"\w+")


def hash_of(*texts: str) -> int:
    """A 64-bit hash of `texts`. Among 20 million texts, two share a hash in one of 90,000 corpora."""
    digest = hashlib.blake2b("\0".join(texts).encode(), digest_size=8)
    return int.from_bytes(digest.digest(), "little")


def pair_hashes(pairs: Sequence[tuple[str, str]], duplicates: str, tag: str | None = None) -> Hashes:
    """Hash of the part of each pair (`pair`, `src` or `tgt`) that must be unique; none if duplicates are kept.

    Pairs with different tags are never duplicates: a name may be the same in two languages.
    """
    if duplicates == "keep":
        return np.zeros(0, np.uint64)
    tags = [] if tag is None else [tag]
    sides = {"src": slice(1), "tgt": slice(1, 2), "pair": slice(2)}[duplicates]
    return np.array([hash_of(*tags, *map(str.strip, pair[sides])) for pair in pairs], np.uint64)


def text_keys(src: str, tgt: str) -> tuple[int, int, int]:
    """Hashes of the source, the target and both, without regard to case, spaces and punctuation."""
    src, tgt = (" ".join(words_of(text)) for text in (src, tgt))
    return hash_of(src), hash_of(tgt), hash_of(src, tgt)


def has_words(text: str) -> bool:
    """Whether `text` has more than spaces and punctuation."""
    return _WORDS.search(text) is not None


def words_of(text: str) -> list[str]:
    """The words of `text` without regard to case, or `text` itself if it has none."""
    return _WORDS.findall(text.casefold()) or [text]


class HashSet64:
    """A set of 64-bit hashes, 8 bytes each, in a few sorted arrays."""

    def __init__(self) -> None:
        self._parts: list[list[Hashes]] = [[] for _ in range(NUM_PARTS)]

    def add(self, hashes: Hashes) -> NDArray[np.bool_]:
        """Add `hashes`; return for each whether it is new. Of two equal ones the second is not."""
        order = np.argsort(hashes, kind="stable")
        ordered = hashes[order]
        is_new = np.ones(len(hashes), np.bool_)
        is_new[1:] = ordered[1:] != ordered[:-1]
        bounds = np.arange(1, NUM_PARTS, dtype=np.uint64) * np.uint64(2**64 // NUM_PARTS)
        starts = [0, *np.searchsorted(ordered, bounds).tolist(), len(ordered)]
        for arrays, start, end in zip(self._parts, starts, starts[1:], strict=False):
            part = slice(start, end)
            for array in arrays:
                indices = np.searchsorted(array, ordered[part])
                is_new[part] &= array[np.minimum(indices, len(array) - 1)] != ordered[part]
            _add_array(arrays, ordered[part][is_new[part]])
        result = np.empty_like(is_new)
        result[order] = is_new
        return result


def _add_array(arrays: list[Hashes], new: Hashes) -> None:
    """Add a sorted array, merging so that there are few: each is several times as long as all after it."""
    if not len(new):
        return
    while arrays and len(arrays[-1]) < GROWTH * len(new):
        new = np.concatenate([arrays.pop(), new])
        new.sort(kind="stable")  # which merges two sorted runs in linear time
    arrays.append(new)
