"""A prepared corpus: clean pairs as token ids, in memory or in shards on the disk, with the lines they come from."""

import errno
import os
import weakref
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, chain
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from mtx.config.sources import Source
from mtx.data.cleaning.clean import format_kept
from mtx.data.sources.read import reader


class StoredArray:
    """Numbers in a file, read on demand.

    The file is not memory-mapped: the system maps a quarter of a megabyte around each access, so that the rows of a
    large batch, scattered over a corpus, would count as a gigabyte of resident memory.
    """

    def __init__(self, file: "OpenFile", dtype: str, begin: int, length: int) -> None:
        self.dtype = np.dtype(dtype)
        self._file, self._begin, self._length = file, begin, length

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int | slice) -> Any:
        """One number, or an array of neighbours.

        Raises:
            OSError: the file can't be read any more.
        """
        places = range(self._length)[index]
        first, count = (places.start, len(places)) if isinstance(places, range) else (places, 1)
        size = self.dtype.itemsize
        data = os.pread(self._file.descriptor, count * size, self._begin + first * size)
        if len(data) < count * size:  # also for more than 2 GB at once, but no shard is that large
            raise OSError(errno.EIO, "became shorter while open", str(self._file.path))
        numbers = np.frombuffer(data, self.dtype)
        return numbers if isinstance(places, range) else numbers[0]


class OpenFile:
    """A file for reads at any position and from any thread, closed once no array refers to it."""

    def __init__(self, path: Path) -> None:
        self.path, self.descriptor = path, os.open(path, os.O_RDONLY)
        weakref.finalize(self, os.close, self.descriptor)


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


class Ids:
    """The sentences of several shards, numbered through."""

    def __init__(self, shards: Sequence[Shard]) -> None:
        self._shards = tuple(shards)
        self._begins = [0, *accumulate(map(len, shards))]
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
    """The place of each pair in the input, counted from 0 over all sources; in the same shards as its ids."""

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


@dataclass(frozen=True, slots=True)
class Corpus:
    """Clean pairs as token ids, and counts of the others."""

    src: Ids
    tgt: Ids
    lines: Lines
    dropped: dict[str, int]  # Number of dropped pairs by reason
    num_equal: int  # Kept pairs whose two sides are the same text
    key: str  # sha256 of everything that decides the ids: text, tokenizer, options and the version of this code
    sources: Sequence[Sequence[str]] = ()  # Label and sha256 of each source
    sentences_per_source: tuple[int, ...] = ()  # Kept sources with 1 sentence, 2, …, 16 or more, in a sample
    source_sizes: tuple[int, ...] = ()  # Number of pairs of each source, including dropped ones
    notes: tuple[str, ...] = ()  # Variants of languages in the sources, one line each

    def __len__(self) -> int:
        return len(self.lines)

    @property
    def num_read(self) -> int:
        """Number of pairs before cleaning."""
        return len(self) + sum(self.dropped.values())

    def summary(self) -> str:
        """One line, such as `kept 28,988 of 29,000 pairs: dropped 9 empty, 3 longer than 256 tokens`."""
        return format_kept(self.num_read, self.dropped)


class SourceLines(NamedTuple):
    """Lines of one source, or rows of a data set."""

    source: Source
    lines: list[int]  # Counted from 1

    def __str__(self) -> str:
        lines = ", ".join(map(str, self.lines))
        return f"{reader(self.source).label} {'line' if len(self.lines) == 1 else 'lines'} {lines}"

    def to_json(self) -> dict[str, Any]:
        """The source as in a config, with absolute paths, and the lines."""
        return {"source": self.source.model_dump(mode="json", exclude_none=True), "lines": self.lines}


def source_lines(corpus: Corpus, sources: Sequence[Source], rows: Rows) -> Iterator[SourceLines]:
    """Yield the lines that the pairs `rows` of `corpus` were read from, source by source."""
    lines, start = corpus.lines[rows], 0
    for source, end in zip(sources, accumulate(corpus.source_sizes), strict=True):
        in_source = np.unique(lines[(start <= lines) & (lines < end)])
        if len(in_source):
            yield SourceLines(source, (in_source - start + 1).tolist())
        start = end


def as_small(numbers: NDArray[Any]) -> NDArray[np.unsignedinteger[Any]]:
    """Convert numbers of at least 0 to the smallest unsigned type that holds them all."""
    return numbers.astype(np.min_scalar_type(int(numbers.max(initial=0))))
