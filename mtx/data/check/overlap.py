"""Overlap: sentences of a dev or test set that occur in other pairs, whole or with most words in the same order."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice

import numpy as np
import regex
from numpy.typing import NDArray

from mtx.data.cleaning.hashes import words_of
from mtx.data.sources.base import Pair, as_read
from mtx.data.sources.read import in_chunks
from mtx.text.writing_systems import SPACELESS

NGRAM = 8  # Length of the n-grams that are compared, in words; in characters for scripts without spaces
NEAR = 0.5  # Share of its n-grams from which a sentence counts as nearly the same
MAX_HELD_OUT = 200_000  # Number of pairs of a dev or test set that are compared, from its beginning
MAX_EXAMPLES = 3  # Number of pairs shown for each finding
MAX_EXAMPLE_CHARS = 200  # Length to which the sentences of an example are cut

Keys = NDArray[np.int64]

_NO_SPACES = regex.compile("|".join(rf"\p{{Script={script}}}" for script in ("Hani", "Hira", "Kana", *SPACELESS)))


@dataclass(frozen=True, slots=True)
class Example:
    """A pair that a finding is about."""

    line: int  # Line in its source, counted from 1
    src: str
    tgt: str


def example_of(line: int, pair: Pair) -> Example:
    """`pair`, in `line`, as an example."""
    return Example(line, *(shortened(text, MAX_EXAMPLE_CHARS) for text in as_read(pair)))


def shortened(text: str, max_chars: int) -> str:
    """`text`, cut to `max_chars` characters, of which the last is then an ellipsis."""
    return text if len(text) <= max_chars else f"{text[: max_chars - 1]}…"


@dataclass(slots=True)
class Overlap:
    """Counts of the pairs of a dev or test set that occur among other pairs."""

    role: str  # dev or test
    within: str  # Pairs that the set is compared with: train or dev
    num_pairs: int = 0
    both: int = 0  # Pairs that occur whole, regardless of case, spaces and punctuation
    src: int = 0  # Pairs whose source occurs
    tgt: int = 0  # Pairs whose target occurs
    near: int = 0  # Pairs of which neither side occurs, but one side nearly does
    examples: list[Example] = field(default_factory=list)  # Pairs that occur whole or nearly, with lines in the set


class OverlapIndex:
    """An index of a dev or test set: 8 bytes for each of its sentences and n-grams, not the text."""

    def __init__(self, pairs: Iterable[Pair]) -> None:
        parts = [_keys([])]
        for chunk in in_chunks(islice(pairs, MAX_HELD_OUT)):
            parts.append([np.unique(keys) for keys in _keys(chunk.pairs)])
        self._known = [np.unique(np.concatenate(keys)) for keys in zip(*parts, strict=True)]
        self._is_found = [np.zeros(len(known), np.bool_) for known in self._known]

    def find(self, pairs: Sequence[Pair]) -> list[NDArray[np.int64]]:
        """Find the parts of the set that occur in `pairs`, for `mark`. Changes nothing, so any process may do it."""
        return [np.unique(_indices(known, keys)) for known, keys in zip(self._known, _keys(pairs), strict=True)]

    def mark(self, found: Sequence[NDArray[np.int64]]) -> None:
        """Mark what `find` found."""
        for is_found, indices in zip(self._is_found, found, strict=True):
            is_found[indices] = True

    def overlap(self, pairs: Iterable[Pair], role: str, within: str) -> Overlap:
        """Count what was marked of `pairs`, the set itself. The n-grams of a near sentence may come from several."""
        overlap = Overlap(role, within)
        for src, tgt in islice(pairs, MAX_HELD_OUT):
            overlap.num_pairs += 1
            marks = [
                is_found[_indices(known, keys)]
                for known, is_found, keys in zip(self._known, self._is_found, _keys([(src, tgt)]), strict=True)
            ]
            has_src, has_tgt, has_both = (bool(kind.all()) for kind in marks[:3])
            is_near = not has_src and not has_tgt and any(len(kind) and kind.mean() >= NEAR for kind in marks[3:])
            overlap.src += has_src
            overlap.tgt += has_tgt
            overlap.both += has_both
            overlap.near += is_near
            if (has_both or is_near) and len(overlap.examples) < MAX_EXAMPLES:
                overlap.examples.append(example_of(overlap.num_pairs, (src, tgt)))
        return overlap


def _keys(pairs: Sequence[Pair]) -> list[Keys]:
    """Hashes of the sources, targets and pairs, and of the n-grams of either side."""
    # Python's own hashes are salted in each run, so that nobody can construct texts with equal ones.
    found: list[list[int]] = [[] for _ in range(5)]
    for pair in pairs:
        words = [words_of(text) for text in pair]
        src, tgt = map(" ".join, words)
        for hashes, text in zip(found, (src, tgt, (src, tgt)), strict=False):
            hashes.append(hash(text))
        for hashes, text, its_words in zip(found[3:], pair, words, strict=True):
            parts = counted_words(text, its_words)
            hashes.extend(map(hash, zip(*(parts[start:] for start in range(NGRAM)), strict=False)))
    return [np.array(hashes, np.int64) for hashes in found]


def counted_words(text: str, words: Sequence[str]) -> Sequence[str]:
    """`words` of `text`, or their characters if it is in a script without spaces."""
    return words if text.isascii() or not _NO_SPACES.search(text) else "".join(words)


def _indices(known: Keys, keys: Keys) -> NDArray[np.int64]:
    """Indices in `known` of those `keys` that are in it."""
    indices = np.searchsorted(known, keys)
    is_inside = indices < len(known)
    indices = indices[is_inside]
    is_known: NDArray[np.bool_] = known[indices] == keys[is_inside]
    return indices[is_known]
