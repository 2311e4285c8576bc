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
from mtx.data.cleaning.clean import Cleaner, nothing_kept, read_cleaners
from mtx.data.cleaning.hashes import pair_hashes
from mtx.data.prepared.cache import building, cache_folder
from mtx.data.prepared.corpus import Corpus, Ids, Lines, Shard
from mtx.data.prepared.fingerprint import code_digest, content_key
from mtx.data.prepared.shards import EncodedChunk, open_shards, write_shards
from mtx.data.sources.read import Chunk, in_chunks, read_pairs, reader
from mtx.data.sources.variants import Variants
from mtx.errors import machine_error
from mtx.files.atomic import replace_folder
from mtx.system.logs import LOGGER
from mtx.text.sentences import MAX_COUNTED_SENTENCES, split_sentences
from mtx.text.tokenizer import Tokenizer

# Part of the key of prepared ids. Increase it when the same input gives other ids or other reasons to drop pairs.
CODE_VERSION = 4
# Rules that are always part of the key. Others are omitted at their default, so that runs from before them keep it.
ALWAYS_IN_KEY = {"duplicates", "max_ratio", "damage", "copies", "script", "markup", "numbers", "language", "repair"}
# Pairs of each chunk of 10,000 whose sentences are counted, at 4 µs a pair: all would make preparation a fifth slower.
SAMPLED_PAIRS = 500
TOKENS_IN_MEMORY = 1 << 26  # Tokens of a corpus (128 MB) up to which it is read into memory: access is 5 times as fast


def prepare(sources: Sequence[Source], settings: DataSettings, clean: CleanSettings, tokenizer: Tokenizer) -> Corpus:
    """The pairs of `sources` as ids, from the cache if the same pairs have been prepared before.

    Raises:
        UserError: a source can't be read, or no pair is usable (DATA); no space for the ids, or a process that shared
            the work was killed (MACHINE).
    """
    key, languages = data_key(sources, settings, clean, tokenizer), (settings.src_lang, settings.tgt_lang)

    def chunks(notes: list[str]) -> Iterator[Chunk]:
        """Read all sources; after each, its variants of languages are added to `notes`."""
        for index, source in enumerate(sources):
            variants = Variants()
            yield from in_chunks(read_pairs(source, *languages, settings.on_bad_row, variants), index)
            notes += [f"{reader(source).label}: {note}" for note in variants.notes()]

    def write(folder: Path) -> None:
        cleaners = read_cleaners(settings, clean, sources)
        encoder = _Encoder(sources, settings, clean.duplicates, cleaners, tokenizer)
        notes: list[str] = []
        write_shards(folder, chunks(notes), len(sources), encoder, notes)

    corpus = _cached_corpus(key, write)
    labels = ", ".join(reader(source).label for source in sources)
    if len(corpus) == 0:
        raise nothing_kept(corpus.num_read, corpus.dropped, labels)
    if corpus.num_equal > len(corpus) / 2:
        counts = f"{corpus.num_equal:,}", f"{len(corpus):,}"
        LOGGER.warning("%s: in %s of %s pairs source and target are the same text", labels, *counts)
    for note in corpus.notes:
        LOGGER.warning("%s", note)
    digests = [[reader(source).label, _digest(content_key(source, settings))] for source in sources]
    return replace(corpus, sources=digests)


def data_key(
    sources: Sequence[Source],
    settings: DataSettings,
    clean: CleanSettings,
    tokenizer: Tokenizer,
    version: int | None = None,
) -> str:
    """sha256 of all that decides the ids of `sources`, in hex; `version` is that of the code, by default this."""
    if version is None:  # 4 differs from 3 in the rule for damaged text alone
        version = CODE_VERSION if clean.damage == "drop" else CODE_VERSION - 1
    contents = [content_key(source, settings) for source in sources]
    held_out = [content_key(source, settings) for source in settings.held_out if clean.held_out != "keep"]
    policy = [] if settings.on_bad_row == "skip" else ["stop"]  # the default is omitted: older runs keep their key
    rules = [settings.max_tokens, _key_rules(clean), tokenizer.digest, *held_out, *policy]
    return _digest([version, contents, settings.src_lang, settings.tgt_lang, *rules])


def _key_rules(clean: CleanSettings) -> dict[str, object]:
    rules = clean.model_dump(exclude={"level"})
    defaults = {name: field.default for name, field in type(clean).model_fields.items()}
    return {name: value for name, value in rules.items() if name in ALWAYS_IN_KEY or value != defaults[name]}


def _cached_corpus(key: str, write: Callable[[Path], None]) -> Corpus:
    """The corpus from the cache, to which `write` adds it; if that fails, from temporary files, which are deleted."""

    def build(folder: Path) -> Corpus:
        with building(folder) as place:
            corpus = _load(folder, key)  # another process may have been faster
            if corpus is None:
                write(place)
                replace_folder(folder, place)
                corpus = _load(folder, key)
        if corpus is None:
            raise OSError(errno.EIO, "data read back differs from data written", str(folder))
        return corpus

    name = f"{key}-{code_digest()[:16]}"  # after an edit of the code, runs in progress keep their key
    if (cache := cache_folder()) is not None:
        try:
            corpus = _load(cache / name, key)
            return build(cache / name) if corpus is None else corpus
        except OSError as error:
            LOGGER.info("prepared data is not cached: %s", error)
    try:
        with tempfile.TemporaryDirectory(prefix="mtx-") as folder:  # open files stay readable after deletion
            return build(Path(folder) / name)
    except OSError as error:
        raise machine_error(error, "cannot write prepared data", tempfile.gettempdir()) from error


def _load(folder: Path, key: str) -> Corpus | None:
    """The corpus in `folder`; None if missing, incomplete or damaged."""
    shards = list(open_shards(folder))
    if not shards or not shards[-1][1].is_complete:
        return None
    counts, arrays = shards[-1][1], [arrays for arrays, _ in shards]
    src, tgt = ([Shard(each[f"{side}_flat"], each[f"{side}_offsets"]) for each in arrays] for side in ("src", "tgt"))
    if sum(len(shard.flat) for shard in (*src, *tgt)) <= TOKENS_IN_MEMORY:
        src, tgt = ([Shard(shard.flat[:], shard.offsets[:]) for shard in side] for side in (src, tgt))
    lines, sizes = Lines([each["lines"] for each in arrays]), tuple(counts.source_sizes)
    corpus = Corpus(Ids(src), Ids(tgt), lines, counts.dropped, counts.num_equal, key)
    return replace(corpus, source_sizes=sizes, sentences_per_source=tuple(counts.sentences), notes=tuple(counts.notes))


def _digest(values: Sequence[object]) -> str:
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class _Encoder:
    """Cleans and encodes chunks, in any process."""

    sources: Sequence[Source]
    settings: DataSettings
    duplicates: str
    cleaners: Sequence[Cleaner]  # Cleaner of each source
    tokenizer: Tokenizer

    def __call__(self, chunk: Chunk) -> EncodedChunk:
        cleaned, faults = self.cleaners[chunk.source].clean(chunk.pairs)
        usable = [index for index, fault in enumerate(faults) if fault is None]
        pairs = [cleaned[index] for index in usable]
        source = self.sources[chunk.source]
        tag, language = source.tag, self.settings.languages_of(source)[0]
        prefix = [] if tag is None else [self.tokenizer.tag_id(tag)]
        src_ids = [[*prefix, *ids] if ids else [] for ids in self.tokenizer.encode_src([src for src, _ in pairs])]
        tgt_ids = self.tokenizer.encode_tgt([tgt for _, tgt in pairs])
        lengths = [(len(src), len(tgt)) for src, tgt in zip(src_ids, tgt_ids, strict=True)]  # Without EOS
        max_tokens = self.settings.max_tokens
        too_long = f"longer than {max_tokens} tokens"
        reasons = ["empty" if not min(pair) else too_long if max(pair) >= max_tokens else None for pair in lengths]
        rows = [row for row, reason in enumerate(reasons) if reason is None]
        kept = [pairs[row] for row in rows]
        num_sentences = np.zeros(len(kept), np.int64)
        num_sentences[:SAMPLED_PAIRS] = [len(split_sentences(src, language)) for src, _ in kept[:SAMPLED_PAIRS]]
        return EncodedChunk(
            Shard.from_lists([src_ids[row] for row in rows]),
            Shard.from_lists([tgt_ids[row] for row in rows]),
            lines=np.array(usable, np.int64)[rows],
            hashes=pair_hashes(kept, self.duplicates, tag),
            is_equal=np.array([src == tgt for src, tgt in kept], np.bool_),
            num_sentences=np.minimum(num_sentences, MAX_COUNTED_SENTENCES),
            dropped=Counter(filter(None, [*faults, *reasons])),
        )
