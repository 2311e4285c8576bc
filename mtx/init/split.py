"""Dev and test sets drawn from a corpus: evenly, always the same ones, and with no sentence in both."""

from collections.abc import Iterator, Sequence
from itertools import islice

from mtx.data.cleaning.duplicates import hash_of
from mtx.data.cleaning.held_out import HeldOutTexts
from mtx.data.cleaning.text_keys import has_words, text_keys
from mtx.data.sources.read import Pair
from mtx.data.sources.text import as_line

SET_SIZE, LARGEST_SHARE = 2_000, 20
"""Pairs of a set, and at most one of so many of the corpus."""

SPARE = 4
"""So many times as many pairs are drawn as are wanted: some share a sentence with one before."""

MAX_LETTERS = 2_000
"""A pair with a longer side is not drawn."""

NUM_HASHES = 1 << 64


class Draw:
    """An even sample of the different pairs that are added, in an order that has nothing to do with theirs.

    Every pair has a number, which depends on its words alone: those with the smallest are the sample. So a pair that
    occurs a thousand times is drawn no sooner than another, and of the same pairs the same are drawn.
    """

    def __init__(self, size: int, seed: int = 0) -> None:
        self._size = size
        self._mask = hash_of("draw", str(seed))
        self._limit = NUM_HASHES
        self._kept: dict[int, Pair] = {}

    def add(self, src: str, tgt: str) -> None:
        """Let a pair take part."""
        number = text_keys(src, tgt)[2] ^ self._mask
        if number >= self._limit or number in self._kept:
            return
        self._kept[number] = (src, tgt)
        if len(self._kept) >= 2 * self._size:
            numbers = sorted(self._kept)
            self._limit = numbers[self._size]
            self._kept = {number: self._kept[number] for number in numbers[: self._size]}

    @property
    def num_different(self) -> int:
        """How many different pairs were added; where they are more than the sample, about."""
        return round(len(self._kept) * (NUM_HASHES / self._limit))

    def pairs(self) -> list[Pair]:
        """The sample, each as one line of a file could hold it."""
        return [
            (as_line(src).strip(), as_line(tgt).strip()) for _, (src, tgt) in sorted(self._kept.items())[: self._size]
        ]


def set_size(num_pairs: int) -> int:
    """How many pairs a dev or test set may have that is split off so many."""
    return min(SET_SIZE, num_pairs // LARGEST_SHARE)


def split(drawn: Sequence[Pair], sizes: Sequence[int], given: HeldOutTexts) -> list[list[Pair]]:
    """Sets of these sizes, no sentence of which occurs twice, on either side, in them or in what is `given`.

    Where there are too few such pairs, each set gets its share of them.
    """
    chosen = list(islice(_without_common_sides(drawn, given), sum(sizes)))
    sets, begin = [], 0
    for size in sizes:
        end = begin + size * len(chosen) // max(sum(sizes), 1)
        sets.append(chosen[begin:end])
        begin = end
    return sets


def _without_common_sides(drawn: Sequence[Pair], given: HeldOutTexts) -> Iterator[Pair]:
    taken: tuple[set[int], set[int]] = (set(), set())
    for src, tgt in drawn:
        if max(len(src), len(tgt)) > MAX_LETTERS or not (has_words(src) and has_words(tgt)):
            continue
        src_key, tgt_key, _ = text_keys(src, tgt)
        if src_key in taken[0] or tgt_key in taken[1] or given.fault((src, tgt)) is not None:
            continue
        taken[0].add(src_key)
        taken[1].add(tgt_key)
        yield src, tgt
