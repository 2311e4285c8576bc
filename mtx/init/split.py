"""Dev and test sets split off a corpus: sampled uniformly, reproducible, and without sentences in common."""

from collections.abc import Iterator, Sequence
from itertools import islice

from mtx.data.cleaning.clean import HeldOutKeys
from mtx.data.cleaning.hashes import has_words, hash_of, text_keys
from mtx.data.sources.base import Pair
from mtx.data.sources.text import as_line

SET_SIZE, CORPUS_FRACTION = 2_000, 20  # Largest dev or test set: this many pairs, and one in this many of the corpus
SAMPLE_SIZE = 2 * 4 * SET_SIZE  # For two sets, four times what they need: pairs that share a sentence are left out
MAX_LETTERS = 2_000  # Longest side, in characters, of a pair in a dev or test set
NUM_HASHES = 1 << 64


class HashSample:
    """A uniform sample of the distinct pairs added, independent of their order and frequency.

    It keeps the pairs with the smallest hashes (a bottom-k sketch), so that the same corpus gives the same sample.
    """

    def __init__(self, size: int, seed: int = 0) -> None:
        self._size = size
        self._mask = hash_of("draw", str(seed))
        self._limit = NUM_HASHES
        self._kept: dict[int, Pair] = {}

    def add(self, src: str, tgt: str) -> None:
        """Add a pair."""
        number = text_keys(src, tgt)[2] ^ self._mask
        if number >= self._limit or number in self._kept:
            return
        self._kept[number] = (src, tgt)
        if len(self._kept) >= 2 * self._size:
            numbers = sorted(self._kept)
            self._limit = numbers[self._size]
            self._kept = {number: self._kept[number] for number in numbers[: self._size]}

    @property
    def num_distinct(self) -> int:
        """The number of distinct pairs added; an estimate once there are more than the sample holds."""
        return round(len(self._kept) * (NUM_HASHES / self._limit))

    def pairs(self) -> list[Pair]:
        """The sample, each text on a single line."""
        kept = sorted(self._kept.items())[: self._size]
        return [(as_line(src).strip(), as_line(tgt).strip()) for _, (src, tgt) in kept]


def set_size(num_pairs: int) -> int:
    """The number of pairs in a dev or test set split off `num_pairs`."""
    return min(SET_SIZE, num_pairs // CORPUS_FRACTION)


def split(sample: Sequence[Pair], sizes: Sequence[int], held_out: HeldOutKeys) -> list[list[Pair]]:
    """Make sets of these sizes. No sentence, on either side, occurs twice in them or in `held_out`.

    If there are too few such pairs, all sets shrink in proportion.
    """
    chosen = list(islice(_without_shared_sides(sample, held_out), sum(sizes)))
    sets, begin = [], 0
    for size in sizes:
        end = begin + size * len(chosen) // max(sum(sizes), 1)
        sets.append(chosen[begin:end])
        begin = end
    return sets


def _without_shared_sides(sample: Sequence[Pair], held_out: HeldOutKeys) -> Iterator[Pair]:
    seen: tuple[set[int], set[int]] = (set(), set())
    for src, tgt in sample:
        if max(len(src), len(tgt)) > MAX_LETTERS or not (has_words(src) and has_words(tgt)):
            continue
        src_key, tgt_key, _ = text_keys(src, tgt)
        if src_key in seen[0] or tgt_key in seen[1] or (src, tgt) in held_out:
            continue
        seen[0].add(src_key)
        seen[1].add(tgt_key)
        yield src, tgt
