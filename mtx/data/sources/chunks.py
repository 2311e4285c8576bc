"""Chunks of neighbouring pairs, the unit of work of one process."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from mtx.data.sources.base import Pair

MAX_CHUNK_PAIRS, MAX_CHUNK_CHARS = 10_000, 1 << 24
"""A chunk ends when it has reached one of these; its last line alone may have four times as many characters."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """Neighbouring pairs of one source."""

    source: int  # Index of the source
    pairs: list[Pair]


def in_chunks(pairs: Iterable[Pair], source: int = 0) -> Iterator[Chunk]:
    """All `pairs` of the source with this index, in order.

    Chunk borders depend on the pairs alone: preparation that continues after a kill counts chunks.
    """
    chunk: list[Pair] = []
    num_chars = 0
    for pair in pairs:
        chunk.append(pair)
        num_chars += len(pair[0]) + len(pair[1])
        if len(chunk) >= MAX_CHUNK_PAIRS or num_chars >= MAX_CHUNK_CHARS:
            yield Chunk(source, chunk)
            chunk, num_chars = [], 0
    if chunk:
        yield Chunk(source, chunk)
