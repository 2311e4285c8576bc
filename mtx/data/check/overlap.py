"""Sentences of a dev or test set that other pairs hold, too: whole, or most of their words in the same order."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from mtx.data.check.examples import MAX_EXAMPLES, Example, example_of
from mtx.data.cleaning.text_keys import plain, words_of
from mtx.data.sources.base import Pair
from mtx.data.sources.chunks import in_chunks

NGRAM = 8
"""Words, or characters where a script has no spaces between words, that are looked for as one."""

NEAR = 0.5
"""The share of its n-grams from which on a sentence counts as nearly the same."""

MAX_HELD_OUT = 200_000
"""Pairs of a dev or test set that are compared: the first ones."""

Keys = NDArray[np.int64]

_NO_SPACES = re.compile("[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff]")


@dataclass(slots=True)
class Overlap:
    """What a set of pairs has in common with the pairs that were compared to it."""

    num_pairs: int = 0
    both: int = 0
    """Pairs that occur whole, whatever their case, spaces and punctuation."""
    src: int = 0
    """Pairs whose source occurs."""
    tgt: int = 0
    """Pairs whose target occurs."""
    near: int = 0
    """Pairs of which neither side occurs, but one does nearly."""
    examples: list[Example] = field(default_factory=list)
    """Some of those that occur whole or nearly, with their lines in the set."""


class HeldOut:
    """A dev or test set, to be compared with other pairs.

    It holds 8 bytes for each of its sentences and n-grams, not the text.
    """

    def __init__(self, pairs: Iterable[Pair]) -> None:
        parts: list[list[Keys]] = [[np.zeros(0, np.int64)] for _ in _KINDS]
        for group in in_chunks(islice(pairs, MAX_HELD_OUT)):
            for part, keys in zip(parts, _keys(group.pairs), strict=True):
                part.append(np.unique(keys))
        self._known = [np.unique(np.concatenate(part)) for part in parts]
        self._is_found = [np.zeros(len(known), np.bool_) for known in self._known]

    def find(self, pairs: Sequence[Pair]) -> list[NDArray[np.int64]]:
        """What of the set occurs in `pairs`, for `note`. Changes nothing: other processes may do it."""
        return [np.unique(_places(known, keys)) for known, keys in zip(self._known, _keys(pairs), strict=True)]

    def note(self, found: Sequence[NDArray[np.int64]]) -> None:
        """Remember what was found."""
        for is_found, places in zip(self._is_found, found, strict=True):
            is_found[places] = True

    def overlap(self, pairs: Iterable[Pair]) -> Overlap:
        """What was found of `pairs`, which are the set itself.

        The n-grams of a sentence that occurs nearly may lie in several sentences.
        """
        overlap = Overlap()
        for src, tgt in islice(pairs, MAX_HELD_OUT):
            overlap.num_pairs += 1
            found = [
                is_found[_places(known, keys)]
                for known, is_found, keys in zip(self._known, self._is_found, _keys([(src, tgt)]), strict=True)
            ]
            has_src, has_tgt, has_both = (bool(kind.all()) for kind in found[:3])
            is_near = not has_src and not has_tgt and any(len(kind) and kind.mean() >= NEAR for kind in found[3:])
            overlap.src += has_src
            overlap.tgt += has_tgt
            overlap.both += has_both
            overlap.near += is_near
            if (has_both or is_near) and len(overlap.examples) < MAX_EXAMPLES:
                overlap.examples.append(example_of(overlap.num_pairs, (src, tgt)))
        return overlap


_KINDS = ("src", "tgt", "both", "n-grams of src", "n-grams of tgt")


def _keys(pairs: Sequence[Pair]) -> list[Keys]:
    """What stands for the sources, targets and pairs, and for the n-grams of either side.

    Python's own hashes, salted in each process: nobody can make texts that share one.
    """
    whole: tuple[list[int], ...] = ([], [], [])
    ngrams: tuple[list[int], ...] = ([], [])
    for pair in pairs:
        plain_texts = []
        for side, grams, text in zip(whole, ngrams, pair, strict=False):
            words = words_of(text)
            plain_texts.append(plain(text, words))
            side.append(hash(plain_texts[-1]))
            grams.extend(_ngrams(text, words))
        whole[2].append(hash(tuple(plain_texts)))
    return [np.array(hashes, np.int64) for hashes in (*whole, *ngrams)]


def _ngrams(text: str, words: Sequence[str]) -> Iterator[int]:
    if not text.isascii() and _NO_SPACES.search(text):
        words = "".join(words)
    return map(hash, zip(*(words[start:] for start in range(NGRAM)), strict=False))


def _places(known: Keys, keys: Keys) -> NDArray[np.int64]:
    """Where those of `keys` that are known stand in `known`."""
    places = np.searchsorted(known, keys)
    inside = places < len(known)
    places = places[inside]
    is_known: NDArray[np.bool_] = known[places] == keys[inside]
    return places[is_known]
