"""Token ids and line numbers of many sentences, in memory or in shards on the disk."""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from mtx.data.prepared.store import StoredArray

Numbers = NDArray[np.unsignedinteger[Any]] | StoredArray  # Numbers of the smallest unsigned type that holds them all
Rows = NDArray[np.integer[Any]]  # Indices of sentences or pairs


@dataclass(frozen=True, slots=True)
class Shard:
    """Sentences without BOS and EOS, concatenated in a flat array."""

    flat: Numbers
    offsets: Numbers  # Index in `flat` at which each sentence begins, then the length of `flat`

    @classmethod
    def from_lists(cls, sentences: Sequence[Sequence[int]]) -> Self:
        ends = np.cumsum([0, *map(len, sentences)])
        flat = np.fromiter(chain.from_iterable(sentences), np.uint32, int(ends[-1]))
        return cls(as_small(flat), as_small(ends))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> NDArray[np.int32]:
        """Number of tokens of each sentence."""
        return np.diff(self.offsets[:]).astype(np.int32)

    def in_memory(self) -> Self:
        """The same shard, read from the disk."""
        return type(self)(self.flat[:], self.offsets[:])

    def select(self, is_selected: NDArray[np.bool_]) -> Self:
        """A shard of the selected sentences."""
        ends = np.cumsum([0, *self.lengths[is_selected]])
        return type(self)(self.flat[:][np.repeat(is_selected, self.lengths)], as_small(ends))


class Ids:
    """The sentences of several shards, numbered through."""

    def __init__(self, shards: Sequence[Shard]) -> None:
        self._shards = tuple(shards)
        self._begins = [0]
        for shard in shards:
            self._begins.append(self._begins[-1] + len(shard))
        lengths = [as_small(shard.lengths) for shard in shards]  # for a hundred million pairs each byte counts
        self.lengths: NDArray[np.unsignedinteger[Any]] = np.concatenate(lengths)  # Number of tokens of each sentence

    @classmethod
    def from_lists(cls, sentences: Sequence[Sequence[int]]) -> Self:
        return cls([Shard.from_lists(sentences)])

    def __len__(self) -> int:
        return self._begins[-1]

    def __getitem__(self, row: int) -> NDArray[np.unsignedinteger[Any]]:
        number = bisect_right(self._begins, row) - 1
        shard, index = self._shards[number], row - self._begins[number]
        begin, end = shard.offsets[index : index + 2].tolist()
        return shard.flat[begin:end]

    def lengths_of(self, rows: Rows) -> NDArray[np.int64]:
        """Number of tokens of the sentences `rows`."""
        return self.lengths[rows].astype(np.int64)


class Lines:
    """Where each pair of a corpus was in the input, counted from 0 over all sources; in the same shards as its ids."""

    def __init__(self, shards: Sequence[Numbers]) -> None:
        self._shards = tuple(shards)
        self._begins = np.cumsum([0, *map(len, shards)])

    def __len__(self) -> int:
        return int(self._begins[-1])

    def __getitem__(self, rows: Rows) -> NDArray[np.int64]:
        numbers = np.searchsorted(self._begins, rows, side="right") - 1
        indices = rows - self._begins[numbers]
        lines = (self._shards[number][index] for number, index in zip(numbers, indices, strict=True))
        return np.fromiter(lines, np.int64, len(rows))

    def num_before(self, line: int) -> int:
        """Number of pairs that were before `line`."""
        return sum(bisect_left(shard, line) for shard in self._shards)


def as_small(numbers: NDArray[Any]) -> NDArray[np.unsignedinteger[Any]]:
    """Convert numbers of at least 0 to the smallest unsigned type that holds them all."""
    return numbers.astype(np.min_scalar_type(int(numbers.max(initial=0))))
