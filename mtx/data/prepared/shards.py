"""Shards of a prepared corpus, written in parallel one by one, so that work continues after the process was killed."""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass, field
from itertools import count, islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtx.data.cleaning.hashes import Hashes, HashSet64
from mtx.data.prepared.corpus import OpenFile, Shard, StoredArray, as_small
from mtx.data.prepared.fingerprint import file_digest
from mtx.data.sources.read import Chunk
from mtx.files.atomic import replace_file
from mtx.system.logs import LOGGER, ProgressLog
from mtx.system.parallel import parallel_map
from mtx.text.sentences import MAX_COUNTED_SENTENCES

SHARD_PAIRS, SHARD_TOKENS = 1 << 18, 1 << 25  # A shard is full when this many pairs are read or tokens kept


@dataclass(slots=True)
class EncodedChunk:
    """The pairs of a chunk that are kept, as ids, and counts of the others."""

    src: Shard
    tgt: Shard
    lines: NDArray[np.int64]  # Place of each kept pair in the chunk, from 0; when it is saved, in the input
    hashes: Hashes  # Hash of each kept pair, equal for duplicates; none if duplicates are kept
    is_equal: NDArray[np.bool_]  # Whether the two sides are the same text
    num_sentences: NDArray[np.int64]  # Sentences of each source, at most MAX_COUNTED_SENTENCES; 0 if not counted
    dropped: Counter[str]


@dataclass(slots=True)
class Counts:
    """Counts from the beginning of a corpus to the end of one of its shards."""

    source_sizes: list[int]  # Pairs read of each source
    dropped: dict[str, int] = field(default_factory=dict)
    num_equal: int = 0
    num_chunks: int = 0
    sentences: list[int] = field(default_factory=lambda: [0] * MAX_COUNTED_SENTENCES)
    """Kept sources by number of sentences."""
    is_complete: bool = False  # Whether the shard is the last of the corpus
    notes: list[str] = field(default_factory=list)  # Lines for the user about the sources, in the last shard


def open_shards(folder: Path) -> Iterator[tuple[dict[str, StoredArray], Counts]]:
    """The shards in `folder`, up to the first that is missing or damaged."""
    for number in count():
        if (opened := open_arrays(_path(folder, number))) is None:
            return
        yield opened[0], Counts(**opened[1])


def write_shards(
    folder: Path, chunks: Iterable[Chunk], num_sources: int, encode: Callable[[Chunk], EncodedChunk], notes: list[str]
) -> None:
    """Encode `chunks` and write them as shards in `folder`, after those already there. The last gets `notes`.

    The result does not depend on the number of processes, nor on where an earlier process was killed.

    Raises:
        OSError: the shards can't be written.
        UserError: a source can't be read (DATA); a process that encodes was killed (MACHINE).
    """
    seen, number, counts = HashSet64(), 0, Counts([0] * num_sources)
    for arrays, found in open_shards(folder):
        seen.add(arrays["hashes"][:])
        number, counts = number + 1, found
    if counts.is_complete:
        return
    num_read = num_saved = sum(counts.source_sizes)
    if number:
        LOGGER.info("preparing data: continuing after %s pairs", f"{num_read:,}")
    progress = ProgressLog("prepared", num_read)
    parts: list[EncodedChunk] = []
    with closing(parallel_map(islice(chunks, counts.num_chunks, None), encode)) as results:
        for chunk, encoded in results:
            num_tokens = sum(len(part.src.flat) + len(part.tgt.flat) for part in parts)
            if num_read - num_saved >= SHARD_PAIRS or num_tokens >= SHARD_TOKENS:
                _save(_path(folder, number), parts, counts, seen)
                parts, number, num_saved = [], number + 1, num_read
            encoded.lines += num_read
            parts.append(encoded)
            counts.source_sizes[chunk.source] += len(chunk.pairs)
            counts.num_chunks += 1
            num_read += len(chunk.pairs)
            progress.update(num_read)
    counts.is_complete, counts.notes = True, notes
    _save(_path(folder, number), parts, counts, seen)


def _path(folder: Path, number: int) -> Path:
    return folder / f"shard-{number:05d}"


def _save(path: Path, parts: list[EncodedChunk], counts: Counts, seen: HashSet64) -> None:
    """Write the pairs of `parts`, without those that are in `seen`, to which the others are added."""
    lines, hashes, is_equal, num_sentences = (
        _concatenate([getattr(part, name) for part in parts])
        for name in ("lines", "hashes", "is_equal", "num_sentences")
    )
    is_new = seen.add(hashes) if len(hashes) else np.ones(len(lines), np.bool_)
    arrays = {"lines": as_small(lines[is_new]), "hashes": hashes[is_new[: len(hashes)]]}
    for side in ("src", "tgt"):
        shards: list[Shard] = [getattr(part, side) for part in parts]
        lengths = _concatenate([shard.lengths for shard in shards])
        flat = _concatenate([shard.flat[:] for shard in shards])[np.repeat(is_new, lengths)]
        offsets = np.cumsum(np.concatenate([[0], lengths[is_new]]))
        arrays |= {f"{side}_flat": as_small(flat), f"{side}_offsets": as_small(offsets)}
    dropped = sum((part.dropped for part in parts), Counter(counts.dropped))
    counts.dropped = dict(dropped + Counter(duplicate=int(np.count_nonzero(~is_new))))
    counts.num_equal += int(np.count_nonzero(is_equal[is_new]))
    histogram = np.bincount(num_sentences[is_new], minlength=MAX_COUNTED_SENTENCES + 1)[1:]
    counts.sentences = (np.array(counts.sentences) + histogram).tolist()
    save_arrays(path, arrays, asdict(counts))


def _concatenate(parts: list[NDArray[Any]]) -> NDArray[Any]:
    return np.concatenate([np.zeros(0, np.uint8), *parts])


def save_arrays(path: Path, arrays: Mapping[str, NDArray[Any]], facts: dict[str, Any]) -> None:
    """Write one-dimensional arrays and `facts` as `path` with two suffixes, replacing older ones.

    Raises:
        OSError: the disk is full, or the folder can't be written.
    """
    digest, spans, end = hashlib.sha256(), {}, 0
    with replace_file(path.with_suffix(".arrays")) as file:
        for name, array in arrays.items():
            data = array.tobytes()
            file.write(data)
            digest.update(data)
            spans[name] = [array.dtype.name, end, len(array)]
            end += len(data)
    index = {"arrays": spans, "sha256": digest.hexdigest(), "facts": facts}
    with replace_file(path.with_suffix(".json")) as file:
        file.write(json.dumps([index, _digest(index)]).encode())


def open_arrays(path: Path) -> tuple[dict[str, StoredArray], dict[str, Any]] | None:
    """The arrays and the facts that were saved as `path`; None if missing or damaged."""
    try:
        index, digest = json.loads(path.with_suffix(".json").read_bytes())
        if digest != _digest(index) or index["sha256"] != file_digest(path.with_suffix(".arrays")):
            return None
        file = OpenFile(path.with_suffix(".arrays"))
    except (OSError, ValueError, TypeError):
        return None
    return {name: StoredArray(file, *span) for name, span in index["arrays"].items()}, index["facts"]


def _digest(index: object) -> str:
    return hashlib.sha256(json.dumps(index, sort_keys=True).encode()).hexdigest()
