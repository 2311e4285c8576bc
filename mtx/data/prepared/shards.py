"""Pairs to ids, shard by shard: in parallel, in the order of the sources, to go on with where a process was killed."""

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mtx.data.cleaning.duplicates import Hashes, Seen
from mtx.data.prepared.ids import Shard, as_small
from mtx.data.prepared.store import Facts, open_arrays, save_arrays
from mtx.data.sources.chunks import Chunk
from mtx.system.logs import ProgressLog
from mtx.system.parallel import parallel_map

SHARD_PAIRS, SHARD_TOKENS = 1 << 18, 1 << 25
"""A shard is full once it has read so many pairs, or holds so many tokens."""

_log = logging.getLogger("mtx")


@dataclass(frozen=True, slots=True)
class Encoded:
    """What is kept of a group, and what became of the rest."""

    src: Shard
    tgt: Shard
    places: NDArray[np.int64]
    """Where each kept pair stood in its chunk."""
    hashes: Hashes | None
    """What stands for each of them; two with the same are duplicates. None where these are kept."""
    is_equal: NDArray[np.bool_]
    """Whether the two sides are the same text."""
    dropped: Counter[str]

    def of(self, is_wanted: NDArray[np.bool_], reason: str) -> "Encoded":
        """Only those that are wanted; the others are dropped for `reason`."""
        dropped = self.dropped + Counter({reason: int(np.count_nonzero(~is_wanted))})
        hashes = self.hashes[is_wanted] if self.hashes is not None else None
        src, tgt = self.src.of(is_wanted), self.tgt.of(is_wanted)
        return Encoded(src, tgt, self.places[is_wanted], hashes, self.is_equal[is_wanted], dropped)


@dataclass(slots=True)
class _Growing:
    """The shard that is being filled."""

    number: int
    begin: int
    """Groups that the shards before it have read."""
    sizes: list[int]
    """How many pairs of each source were read, from the beginning on."""
    parts: list[Encoded] = field(default_factory=list)
    lines: list[NDArray[np.int64]] = field(default_factory=list)
    num_chunks: int = 0
    num_pairs: int = 0

    def add(self, chunk: Chunk, encoded: Encoded) -> None:
        self.lines.append(encoded.places + sum(self.sizes))
        self.parts.append(encoded)
        self.num_chunks += 1
        self.num_pairs += len(chunk.pairs)
        self.sizes[chunk.source] += len(chunk.pairs)

    @property
    def is_full(self) -> bool:
        num_tokens = sum(len(part.src.flat) + len(part.tgt.flat) for part in self.parts)
        return self.num_pairs >= SHARD_PAIRS or num_tokens >= SHARD_TOKENS

    def save(self, folder: Path) -> Facts:
        """Write it; what is known of all shards up to it."""
        arrays = {}
        for side in ("src", "tgt"):
            flat, lengths = [], []
            for part in self.parts:
                shard: Shard = getattr(part, side)
                flat.append(shard.flat[:])
                lengths.append(shard.lengths)
            arrays[f"{side}_flat"] = as_small(_joined(flat))
            arrays[f"{side}_offsets"] = as_small(np.cumsum(np.concatenate([[0], *lengths])))
        arrays["lines"] = as_small(_joined(self.lines))
        hashes = [part.hashes for part in self.parts if part.hashes is not None]
        arrays["hashes"] = _joined(hashes).astype(np.uint64)
        dropped = sum((part.dropped for part in self.parts), Counter[str]())
        facts = {
            "num_groups": self.begin + self.num_chunks,
            "sizes": self.sizes,
            "dropped": dict(dropped),
            "num_equal": int(sum(np.count_nonzero(part.is_equal) for part in self.parts)),
        }
        save_arrays(shard_path(folder, self.number), arrays, facts)
        return facts


def shard_path(folder: Path, number: int) -> Path:
    """Where shard `number` of a corpus lies, without its suffixes."""
    return folder / f"shard-{number:05d}"


def write_shards(
    folder: Path, chunks: Iterable[Chunk], num_sources: int, encode: Callable[[Chunk], Encoded]
) -> list[Facts]:
    """Write what `encode` makes of `chunks` as shards in `folder`, save for those that are there; the facts of all.

    The result does not depend on how many processes encode, nor on where an earlier one was killed.

    Raises:
        OSError: they can't be written.
        UserError: a source can't be read, see `read_pairs`; a process that encodes was killed (MACHINE).
    """
    seen = Seen()
    facts = list(_finished(folder, seen))
    growing = _next(facts, num_sources)
    rest = islice(chunks, growing.begin, None)
    progress = ProgressLog("prepared", sum(growing.sizes))
    results = parallel_map(rest, encode)
    with closing(results):
        for chunk, encoded in results:
            if encoded.hashes is not None:
                encoded = encoded.of(seen.add(encoded.hashes), "duplicate")
            growing.add(chunk, encoded)
            if growing.is_full:
                facts.append(growing.save(folder))
                growing = _next(facts, num_sources)
            progress.update(sum(growing.sizes))
    if growing.num_chunks or not facts:
        facts.append(growing.save(folder))
    return facts


def _finished(folder: Path, seen: Seen) -> Iterator[Facts]:
    """The facts of the shards that are there, whole and one after the other."""
    number = 0
    while (found := open_arrays(shard_path(folder, number))) is not None:
        arrays, facts = found
        seen.add(arrays["hashes"][:])
        yield facts
        number += 1
    if number:
        _log.info("preparing data: going on after %s pairs", f"{sum(facts['sizes']):,}")


def _next(facts: Sequence[Facts], num_sources: int) -> _Growing:
    """The shard that follows."""
    if not facts:
        return _Growing(0, 0, [0] * num_sources)
    return _Growing(len(facts), facts[-1]["num_groups"], list(facts[-1]["sizes"]))


def _joined(parts: Sequence[NDArray[np.integer]]) -> NDArray[np.integer]:
    return np.concatenate([np.zeros(0, np.uint8), *parts])
