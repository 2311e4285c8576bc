"""From sources to ids: read, clean, encode. What was dropped is counted; the result is cached by its content."""

import errno
import hashlib
import json
import logging
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from mtx.config.settings import CleanSettings, DataSettings
from mtx.config.sources import Source
from mtx.data.cleaning.duplicates import pair_hashes
from mtx.data.cleaning.held_out import HeldOutTexts, held_out_sources, pair_fault, read_held_out
from mtx.data.cleaning.rules import Cleaner, build_cleaner, nothing_kept
from mtx.data.prepared.cache import building, cache_folder, finish
from mtx.data.prepared.corpus import Corpus
from mtx.data.prepared.fingerprint import content_key
from mtx.data.prepared.ids import Ids, Lines, Shard
from mtx.data.prepared.shards import Encoded, shard_path, write_shards
from mtx.data.prepared.store import Facts, load_facts, open_arrays, save_facts
from mtx.data.sources.chunks import Chunk, in_chunks
from mtx.data.sources.read import read_pairs, reader
from mtx.errors import machine_error
from mtx.text.tokenizer import Tokenizer

CODE_VERSION = 2
"""Part of the key of prepared ids: raise it when the same input gives other ids, or is dropped for other reasons."""

TOKENS_IN_MEMORY = 1 << 26
"""The ids of a corpus with so few are read at once, 128 MB: a row of it is found in a fifth of the time."""

_FACTS = "corpus"
_log = logging.getLogger("mtx")


def prepare(sources: Sequence[Source], settings: DataSettings, clean: CleanSettings, tokenizer: Tokenizer) -> Corpus:
    """The pairs of `sources` as ids, from the cache where the very same have been prepared before.

    Raises:
        UserError: a source that cannot be read, or no pair that can be used (DATA); no room for the ids, or a process
            that shared the work was killed (MACHINE).
    """
    contents = [content_key(source, settings) for source in sources]
    # What is kept goes unsaid: runs that began before there was such a rule keep their key.
    is_any_kept = clean.held_out == "keep"
    rules = clean.model_dump(exclude={"level", "held_out"} if is_any_kept else {"level"})
    held_out = [] if is_any_kept else [content_key(source, settings) for source in held_out_sources(settings)]
    languages = settings.src_lang, settings.tgt_lang
    key = _digest([CODE_VERSION, contents, *languages, settings.max_tokens, rules, tokenizer.digest, *held_out])
    tags = [source.tag for source in sources]
    prefixes = [[] if tag is None else [tokenizer.tag_id(tag)] for tag in tags]
    cleaner = build_cleaner(clean, *languages)

    def encoder() -> _Encoder:
        return _Encoder(settings, clean, cleaner, read_held_out(settings, clean, cleaner), tokenizer, tags, prefixes)

    corpus = _corpus_by_key(key, sources, settings, encoder)
    names = ", ".join(reader(source).label for source in sources)
    if len(corpus) == 0:
        raise nothing_kept(corpus.num_read, corpus.dropped, names)
    if corpus.num_equal > len(corpus) / 2:
        _log.warning(
            "%s: in %s of %s pairs source and target are the same text",
            names,
            f"{corpus.num_equal:,}",
            f"{len(corpus):,}",
        )
    digests = [[reader(source).label, _digest(content)] for source, content in zip(sources, contents, strict=True)]
    return replace(corpus, sources=digests)


def _corpus_by_key(
    key: str, sources: Sequence[Source], settings: DataSettings, encoder: Callable[[], Callable[[Chunk], Encoded]]
) -> Corpus:
    """The corpus from the cache, or encoded into it; where the cache can't be written, into files without a name.

    Only where it has to be encoded is `encoder` asked for what does it.
    """

    def build(folder: Path) -> Corpus:
        with building(folder) as place:
            corpus = _load(folder, key)  # another process may have been faster
            if corpus is None:
                shards = write_shards(place, _groups(sources, settings), len(sources), encoder())
                save_facts(place / _FACTS, _facts(shards))
                finish(place, folder)
                corpus = _load(folder, key)
        if corpus is None:
            raise OSError(errno.EIO, "what was written is not what is read", str(folder))
        return corpus

    if (cache := cache_folder()) is not None:
        if (corpus := _load(cache / key, key)) is not None:
            return corpus
        try:
            return build(cache / key)
        except OSError as error:
            _log.info("prepared data is not cached: %s", error)
    try:
        with tempfile.TemporaryDirectory(prefix="mtx-") as folder:  # what is open stays, though its name is gone
            return build(Path(folder) / key)
    except OSError as error:
        raise machine_error(error, "cannot write prepared data", tempfile.gettempdir()) from error


def _facts(shards: Sequence[Facts]) -> Facts:
    """What is kept of a corpus beside its shards."""
    dropped: Counter[str] = Counter()
    for shard in shards:
        dropped.update(shard["dropped"])
    num_equal = sum(shard["num_equal"] for shard in shards)
    return {
        "dropped": dict(dropped), "num_equal": num_equal, "source_sizes": shards[-1]["sizes"],
        "num_shards": len(shards),
    }  # fmt: skip


def _load(folder: Path, key: str) -> Corpus | None:
    """The corpus that lies in `folder`; None if it is not there, or damaged."""
    facts = load_facts(folder / _FACTS)
    if facts is None:
        return None
    shards = [open_arrays(shard_path(folder, number)) for number in range(facts["num_shards"])]
    arrays = [shard[0] for shard in shards if shard is not None]
    if len(arrays) < len(shards):
        return None
    src, tgt = ([Shard(each[f"{side}_flat"], each[f"{side}_offsets"]) for each in arrays] for side in ("src", "tgt"))
    if sum(len(shard.flat) for shard in (*src, *tgt)) <= TOKENS_IN_MEMORY:
        src, tgt = ([shard.in_memory() for shard in side] for side in (src, tgt))
    lines = Lines([each["lines"] for each in arrays])
    sizes = tuple(facts["source_sizes"])
    return Corpus(Ids(src), Ids(tgt), lines, facts["dropped"], facts["num_equal"], key, source_sizes=sizes)


def _digest(whole: Sequence[object]) -> str:
    return hashlib.sha256(json.dumps(whole).encode()).hexdigest()


# --- clean and encode ------------------------------------------------------------------------------------------------


def _groups(sources: Sequence[Source], settings: DataSettings) -> Iterator[Chunk]:
    for number, source in enumerate(sources):
        yield from in_chunks(read_pairs(source, settings.src_lang, settings.tgt_lang), number)


@dataclass(frozen=True, slots=True)
class _Encoder:
    """What makes ids of a group."""

    settings: DataSettings
    clean: CleanSettings
    cleaner: Cleaner
    held_out: HeldOutTexts
    tokenizer: Tokenizer
    tags: Sequence[str | None]
    """Of each source."""
    prefixes: Sequence[Sequence[int]]
    """Of each source: the ids that its sources begin with."""

    def __call__(self, group: Chunk) -> Encoded:
        """Ids of all pairs of a group that can be used."""
        dropped: Counter[str] = Counter()
        pairs = [self.cleaner.repaired(pair) for pair in group.pairs]
        texts = [
            place
            for place, pair in enumerate(pairs)
            if not _count(dropped, pair_fault(pair, self.held_out, self.cleaner))
        ]
        src_ids = self.tokenizer.encode_src([pairs[place][0] for place in texts])
        tgt_ids = self.tokenizer.encode_tgt([pairs[place][1] for place in texts])
        prefix = self.prefixes[group.source]
        kept = [
            row
            for row, (src, tgt) in enumerate(zip(src_ids, tgt_ids, strict=True))
            if not _count(dropped, self._ids_fault(len(src), len(tgt), len(prefix)))
        ]
        places = [texts[row] for row in kept]
        return Encoded(
            Shard.from_lists([[*prefix, *src_ids[row]] for row in kept]),
            Shard.from_lists([tgt_ids[row] for row in kept]),
            places=np.array(places, np.int64),
            hashes=pair_hashes([pairs[place] for place in places], self.clean.duplicates, self.tags[group.source]),
            is_equal=np.array([pairs[place][0] == pairs[place][1] for place in places], np.bool_),
            dropped=dropped,
        )

    def _ids_fault(self, src_length: int, tgt_length: int, prefix_length: int) -> str | None:
        """Why a pair is dropped once its numbers of tokens are known, to which EOS will be added."""
        if min(src_length, tgt_length) == 0:
            return "empty"
        if max(prefix_length + src_length, tgt_length) + 1 > self.settings.max_tokens:
            return f"longer than {self.settings.max_tokens} tokens"
        return None


def _count(dropped: Counter[str], fault: str | None) -> bool:
    """Whether there is a fault; it is counted."""
    if fault is not None:
        dropped[fault] += 1
    return fault is not None
