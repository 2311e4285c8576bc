"""Preparation: read, clean and encode the pairs of sources. The result is cached under a key of its content."""

import errno
import hashlib
import json
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from mtx.config.settings import CleanSettings, DataSettings
from mtx.config.sources import Source
from mtx.data.cleaning.clean import clean_chunk
from mtx.data.cleaning.duplicates import pair_hashes
from mtx.data.cleaning.held_out import HeldOutKeys, held_out_sources, read_held_out
from mtx.data.cleaning.rules import Cleaner, build_cleaner, nothing_kept
from mtx.data.prepared.cache import building, cache_folder
from mtx.data.prepared.corpus import Corpus
from mtx.data.prepared.fingerprint import content_key
from mtx.data.prepared.ids import Ids, Lines, Shard
from mtx.data.prepared.shards import EncodedChunk, shard_path, write_shards
from mtx.data.prepared.store import Metadata, load_metadata, open_arrays, save_metadata
from mtx.data.sources.chunks import Chunk, in_chunks
from mtx.data.sources.read import read_pairs, reader
from mtx.errors import machine_error
from mtx.files.atomic import replace_folder
from mtx.system.logs import LOGGER
from mtx.text.tokenizer import Tokenizer

CODE_VERSION = 3
"""Part of the key of prepared ids. Increase it when the same input gives other ids or other reasons to drop pairs."""

TOKENS_IN_MEMORY = 1 << 26
"""A corpus with at most this many tokens (128 MB) is read into memory, which makes access five times as fast."""

_METADATA = "corpus"


def prepare(sources: Sequence[Source], settings: DataSettings, clean: CleanSettings, tokenizer: Tokenizer) -> Corpus:
    """The pairs of `sources` as ids, from the cache if the same pairs have been prepared before.

    Raises:
        UserError: a source can't be read, or no pair is usable (DATA); no space for the ids, or a process that shared
            the work was killed (MACHINE).
    """
    contents = [content_key(source, settings) for source in sources]
    # The default is omitted, so that runs begun before this rule existed keep their key.
    keeps_held_out = clean.held_out == "keep"
    rules = clean.model_dump(exclude={"level", "held_out"} if keeps_held_out else {"level"})
    held_out = [] if keeps_held_out else [content_key(source, settings) for source in held_out_sources(settings)]
    languages = settings.src_lang, settings.tgt_lang
    key = _digest([CODE_VERSION, contents, *languages, settings.max_tokens, rules, tokenizer.digest, *held_out])
    tags = [source.tag for source in sources]
    prefixes = [[] if tag is None else [tokenizer.tag_id(tag)] for tag in tags]
    cleaner = build_cleaner(clean, *languages)

    def build_encoder() -> _Encoder:
        return _Encoder(settings, clean, cleaner, read_held_out(settings, clean, cleaner), tokenizer, tags, prefixes)

    corpus = _cached_corpus(key, sources, settings, build_encoder)
    labels = ", ".join(reader(source).label for source in sources)
    if len(corpus) == 0:
        raise nothing_kept(corpus.num_read, corpus.dropped, labels)
    if corpus.num_equal > len(corpus) / 2:
        counts = f"{corpus.num_equal:,}", f"{len(corpus):,}"
        LOGGER.warning("%s: in %s of %s pairs source and target are the same text", labels, *counts)
    digests = [[reader(source).label, _digest(content)] for source, content in zip(sources, contents, strict=True)]
    return replace(corpus, sources=digests)


def _cached_corpus(
    key: str,
    sources: Sequence[Source],
    settings: DataSettings,
    build_encoder: Callable[[], Callable[[Chunk], EncodedChunk]],
) -> Corpus:
    """The corpus from the cache, encoded if necessary; if the cache can't be written, from deleted temporary files."""

    def build(folder: Path) -> Corpus:
        with building(folder) as place:
            corpus = _load(folder, key)  # another process may have been faster
            if corpus is None:
                shards = write_shards(place, _chunks(sources, settings), len(sources), build_encoder())
                save_metadata(place / _METADATA, _summed(shards))
                replace_folder(folder, place)
                corpus = _load(folder, key)
        if corpus is None:
            raise OSError(errno.EIO, "data read back differs from data written", str(folder))
        return corpus

    if (cache := cache_folder()) is not None:
        if (corpus := _load(cache / key, key)) is not None:
            return corpus
        try:
            return build(cache / key)
        except OSError as error:
            LOGGER.info("prepared data is not cached: %s", error)
    try:
        with tempfile.TemporaryDirectory(prefix="mtx-") as folder:  # open files stay readable after deletion
            return build(Path(folder) / key)
    except OSError as error:
        raise machine_error(error, "cannot write prepared data", tempfile.gettempdir()) from error


def _summed(shards: Sequence[Metadata]) -> Metadata:
    """The metadata of a corpus, from that of its shards."""
    dropped: Counter[str] = Counter()
    for shard in shards:
        dropped.update(shard["dropped"])
    num_equal = sum(shard["num_equal"] for shard in shards)
    sizes = shards[-1]["sizes"]
    return {"dropped": dict(dropped), "num_equal": num_equal, "source_sizes": sizes, "num_shards": len(shards)}


def _load(folder: Path, key: str) -> Corpus | None:
    """The corpus in `folder`; None if missing or damaged."""
    metadata = load_metadata(folder / _METADATA)
    if metadata is None:
        return None
    opened = [open_arrays(shard_path(folder, number)) for number in range(metadata["num_shards"])]
    arrays = [shard[0] for shard in opened if shard is not None]
    if len(arrays) < len(opened):
        return None
    src, tgt = ([Shard(each[f"{side}_flat"], each[f"{side}_offsets"]) for each in arrays] for side in ("src", "tgt"))
    if sum(len(shard.flat) for shard in (*src, *tgt)) <= TOKENS_IN_MEMORY:
        src, tgt = ([shard.in_memory() for shard in side] for side in (src, tgt))
    lines = Lines([each["lines"] for each in arrays])
    sizes = tuple(metadata["source_sizes"])
    return Corpus(Ids(src), Ids(tgt), lines, metadata["dropped"], metadata["num_equal"], key, source_sizes=sizes)


def _digest(values: Sequence[object]) -> str:
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()


def _chunks(sources: Sequence[Source], settings: DataSettings) -> Iterator[Chunk]:
    for index, source in enumerate(sources):
        yield from in_chunks(read_pairs(source, settings.src_lang, settings.tgt_lang), index)


@dataclass(frozen=True, slots=True)
class _Encoder:
    """Cleans and encodes chunks, in any process."""

    settings: DataSettings
    clean: CleanSettings
    cleaner: Cleaner
    held_out: HeldOutKeys
    tokenizer: Tokenizer
    tags: Sequence[str | None]
    prefixes: Sequence[Sequence[int]]  # Ids before each source sentence, by source

    def __call__(self, chunk: Chunk) -> EncodedChunk:
        cleaned = clean_chunk(chunk.pairs, self.cleaner, self.held_out)
        pairs = [cleaned.pairs[index] for index in cleaned.kept]
        prefix = self.prefixes[chunk.source]
        src_ids = [[*prefix, *ids] if ids else [] for ids in self.tokenizer.encode_src([src for src, _ in pairs])]
        tgt_ids = self.tokenizer.encode_tgt([tgt for _, tgt in pairs])
        reasons = [self._length_reason(len(src), len(tgt)) for src, tgt in zip(src_ids, tgt_ids, strict=True)]
        rows = [row for row, reason in enumerate(reasons) if reason is None]
        kept = [pairs[row] for row in rows]
        return EncodedChunk(
            Shard.from_lists([src_ids[row] for row in rows]),
            Shard.from_lists([tgt_ids[row] for row in rows]),
            indices=np.array(cleaned.kept, np.int64)[rows],
            hashes=pair_hashes(kept, self.clean.duplicates, self.tags[chunk.source]),
            is_equal=np.array([src == tgt for src, tgt in kept], np.bool_),
            dropped=Counter(filter(None, [*cleaned.reasons, *reasons])),
        )

    def _length_reason(self, src_length: int, tgt_length: int) -> str | None:
        """The reason to drop a pair with these numbers of tokens, without EOS."""
        if min(src_length, tgt_length) == 0:
            return "empty"
        if max(src_length, tgt_length) + 1 > self.settings.max_tokens:
            return f"longer than {self.settings.max_tokens} tokens"
        return None
