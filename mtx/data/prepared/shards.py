"""Writing of a prepared corpus shard by shard, in parallel, so that work continues after the process was killed."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mtx.data.cleaning.duplicates import Hashes, HashSet64
from mtx.data.prepared.ids import Shard, as_small
from mtx.data.prepared.store import Metadata, open_arrays, save_arrays
from mtx.data.sources.chunks import Chunk
from mtx.system.logs import LOGGER, ProgressLog
from mtx.system.parallel import parallel_map

SHARD_PAIRS, SHARD_TOKENS = 1 << 18, 1 << 25
"""A shard is full once it has read this many pairs or holds this many tokens."""


@dataclass(frozen=True, slots=True)
class EncodedChunk:
    """The pairs of a chunk that are kept, as ids, and counts of the others."""

    src: Shard
    tgt: Shard
    indices: NDArray[np.int64]  # Index of each kept pair in its chunk
    hashes: Hashes | None  # Hash of each kept pair, equal for duplicates; None if duplicates are kept
    is_equal: NDArray[np.bool_]  # Whether the two sides are the same text
    dropped: Counter[str]

    def without_duplicates(self, seen: HashSet64) -> "EncodedChunk":
        """The pairs that are not in `seen`, to which they are added."""
        if self.hashes is None:
            return self
        is_new = seen.add(self.hashes)
        dropped = self.dropped + Counter(duplicate=int(np.count_nonzero(~is_new)))
        src, tgt, hashes = self.src.select(is_new), self.tgt.select(is_new), self.hashes[is_new]
        return EncodedChunk(src, tgt, self.indices[is_new], hashes, self.is_equal[is_new], dropped)


class _OpenShard:
    """The shard that is being filled."""

    def __init__(self, finished: Sequence[Metadata], num_sources: int) -> None:
        self.number = len(finished)
        self.num_chunks: int = finished[-1]["num_groups"] if finished else 0
        """Chunks read since the beginning of the corpus."""
        self.source_sizes: list[int] = list(finished[-1]["sizes"]) if finished else [0] * num_sources
        """Pairs read of each source since the beginning of the corpus."""
        self.parts: list[EncodedChunk] = []
        self.lines: list[NDArray[np.int64]] = []
        self.num_pairs = self.num_tokens = 0

    def add(self, chunk: Chunk, encoded: EncodedChunk) -> None:
        self.lines.append(encoded.indices + sum(self.source_sizes))
        self.parts.append(encoded)
        self.num_chunks += 1
        self.num_pairs += len(chunk.pairs)
        self.num_tokens += len(encoded.src.flat) + len(encoded.tgt.flat)
        self.source_sizes[chunk.source] += len(chunk.pairs)

    @property
    def is_full(self) -> bool:
        return self.num_pairs >= SHARD_PAIRS or self.num_tokens >= SHARD_TOKENS

    def save(self, folder: Path) -> Metadata:
        """Write the shard, and return its metadata."""
        arrays = {}
        for side in ("src", "tgt"):
            shards: list[Shard] = [getattr(part, side) for part in self.parts]
            arrays[f"{side}_flat"] = as_small(_concatenate([shard.flat[:] for shard in shards]))
            lengths = [shard.lengths for shard in shards]
            arrays[f"{side}_offsets"] = as_small(np.cumsum(np.concatenate([[0], *lengths])))
        arrays["lines"] = as_small(_concatenate(self.lines))
        hashes = [part.hashes for part in self.parts if part.hashes is not None]
        arrays["hashes"] = _concatenate(hashes).astype(np.uint64)
        metadata = {
            "num_groups": self.num_chunks,
            "sizes": self.source_sizes,
            "dropped": dict(sum((part.dropped for part in self.parts), Counter[str]())),
            "num_equal": int(sum(np.count_nonzero(part.is_equal) for part in self.parts)),
        }
        save_arrays(shard_path(folder, self.number), arrays, metadata)
        return metadata


def shard_path(folder: Path, number: int) -> Path:
    """The path of shard `number` of a corpus, without suffixes."""
    return folder / f"shard-{number:05d}"


def write_shards(
    folder: Path, chunks: Iterable[Chunk], num_sources: int, encode: Callable[[Chunk], EncodedChunk]
) -> list[Metadata]:
    """Encode `chunks` and write them as shards in `folder`, after those already there; return the metadata of all.

    The result does not depend on the number of processes, nor on where an earlier process was killed.

    Raises:
        OSError: the shards can't be written.
        UserError: a source can't be read (DATA); a process that encodes was killed (MACHINE).
    """
    seen = HashSet64()
    finished = list(_finished_shards(folder, seen))
    shard = _OpenShard(finished, num_sources)
    progress = ProgressLog("prepared", sum(shard.source_sizes))
    with closing(parallel_map(islice(chunks, shard.num_chunks, None), encode)) as results:
        for chunk, encoded in results:
            shard.add(chunk, encoded.without_duplicates(seen))
            if shard.is_full:
                finished.append(shard.save(folder))
                shard = _OpenShard(finished, num_sources)
            progress.update(sum(shard.source_sizes))
    if shard.parts or not finished:
        finished.append(shard.save(folder))
    return finished


def _finished_shards(folder: Path, seen: HashSet64) -> Iterator[Metadata]:
    """The metadata of the shards in `folder`, up to the first that is missing or damaged."""
    number = 0
    while (opened := open_arrays(shard_path(folder, number))) is not None:
        arrays, metadata = opened
        seen.add(arrays["hashes"][:])
        yield metadata
        number += 1
    if number:
        LOGGER.info("preparing data: continuing after %s pairs", f"{sum(metadata['sizes']):,}")


def _concatenate(parts: Sequence[NDArray[np.integer]]) -> NDArray[np.integer]:
    return np.concatenate([np.zeros(0, np.uint8), *parts])
