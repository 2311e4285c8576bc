"""From sources to ids: read, clean, encode. What was dropped is counted; the result is cached by its content."""

import errno
import hashlib
import json
import logging
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from mtx.config.settings import DataSettings, Source, TwoFiles
from mtx.data.cache import ArrayWriter, cache_folder, load_arrays, new_arrays
from mtx.data.corpus import Pair, read_pairs, source_encoding, source_files, source_name
from mtx.errors import ExitCode, UserError, machine_error
from mtx.tokenizer import Tokenizer

CODE_VERSION = 1
"""Part of the key of prepared ids: raise it when the same input gives other ids, or is dropped for other reasons."""
MAX_SENTENCE_BYTES = 1_000_000
PAIRS_AT_ONCE = 10_000

_log = logging.getLogger("mtx")


@dataclass(frozen=True, slots=True)
class Ids:
    """Token ids of many sentences, without bos and eos, one after the other in a flat array."""

    flat: NDArray[np.int32]
    offsets: NDArray[np.int64]
    """Where each sentence begins, and where the last one ends."""

    @classmethod
    def from_lists(cls, sentences: Sequence[Sequence[int]]) -> Self:
        offsets = np.zeros(len(sentences) + 1, np.int64)
        np.cumsum([len(sentence) for sentence in sentences], out=offsets[1:])
        return cls(np.fromiter(chain.from_iterable(sentences), np.int32, int(offsets[-1])), offsets)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, row: int) -> NDArray[np.int32]:
        return self.flat[self.offsets[row] : self.offsets[row + 1]]

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens of each sentence."""
        return np.diff(self.offsets)

    def lengths_of(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Tokens of the sentences `rows` alone."""
        return np.asarray(self.offsets[rows + 1] - self.offsets[rows])


@dataclass(frozen=True, slots=True)
class Corpus:
    """Clean pairs as ids, and what became of the others."""

    src: Ids
    tgt: Ids
    lines: NDArray[np.int64]
    """Where each pair stood in the input, counted from 0 over all sources."""
    dropped: dict[str, int]
    """How many pairs were dropped, by reason."""
    num_equal: int
    """Kept pairs whose two sides are the same text."""
    key: str
    """sha256 of all that decides the ids: text, tokenizer, options and this code's version."""
    sources: Sequence[Sequence[str]] = ()
    """Name and sha256 of each source."""
    source_sizes: tuple[int, ...] = ()
    """How many pairs each source has, dropped ones too."""

    def __len__(self) -> int:
        return len(self.lines)

    @property
    def num_read(self) -> int:
        return len(self) + sum(self.dropped.values())

    def summary(self) -> str:
        """One line, such as `kept 28,988 of 29,000 pairs: dropped 9 empty, 3 longer than 256 tokens`."""
        return f"kept {len(self):,} of {self.num_read:,} pairs{_dropped_in_words(self.dropped)}"


def prepare(sources: Sequence[Source], settings: DataSettings, tokenizer: Tokenizer) -> Corpus:
    """The pairs of `sources` as ids, from the cache where the very same have been prepared before.

    Raises:
        UserError: a source that cannot be read, or no pair that can be used (DATA); no room for the ids (MACHINE).
    """
    contents = [_content_key(source, settings) for source in sources]
    key = _digest([CODE_VERSION, contents, settings.src_lang, settings.tgt_lang, settings.max_tokens, tokenizer.digest])
    corpus = _corpus_by_key(key, sources, settings, tokenizer)
    names = ", ".join(source_name(source) for source in sources)
    if len(corpus) == 0:
        what = f"no pair of sentences to use among {corpus.num_read:,}{_dropped_in_words(corpus.dropped)}"
        raise UserError(ExitCode.DATA, what, where=names, do="Give pairs with text on both sides.")
    if corpus.num_equal > len(corpus) / 2:
        _log.warning(
            "%s: in %s of %s pairs source and target are the same text",
            names,
            f"{corpus.num_equal:,}",
            f"{len(corpus):,}",
        )
    digests = [[source_name(source), _digest(content)] for source, content in zip(sources, contents, strict=True)]
    return replace(corpus, sources=digests)


def _corpus_by_key(key: str, sources: Sequence[Source], settings: DataSettings, tokenizer: Tokenizer) -> Corpus:
    """The corpus from the cache, or encoded into it; where the cache can't be written, into files without a name."""
    if (cache := cache_folder()) is not None:
        if (corpus := _cached_corpus(cache / key, key)) is not None:
            return corpus
        try:
            return _encode_into(cache / key, key, sources, settings, tokenizer)
        except OSError as error:
            _log.info("prepared data is not cached: %s", error)
    try:
        with tempfile.TemporaryDirectory(prefix="mtx-") as folder:  # what is mapped stays, though the files are gone
            return _encode_into(Path(folder) / key, key, sources, settings, tokenizer)
    except OSError as error:
        raise machine_error(error, "cannot write prepared data", tempfile.gettempdir()) from error


def _dropped_in_words(dropped: dict[str, int]) -> str:
    return ": dropped " + ", ".join(f"{count:,} {reason}" for reason, count in dropped.items()) if dropped else ""


# --- the key ---------------------------------------------------------------------------------------------------------


def _digest(whole: Sequence[object]) -> str:
    return hashlib.sha256(json.dumps(whole).encode()).hexdigest()


def _content_key(source: Source, settings: DataSettings) -> list[str]:
    """The options of `source` and digests of its content: of its files, else of the pairs themselves.

    Where a file lies and when it was written do not count: neither says what is in it.
    """
    paths = source_files(source)
    if not paths:
        return [source.model_dump_json(), _pairs_digest(read_pairs(source, settings.src_lang, settings.tgt_lang))]
    places = {"src", "tgt"} if isinstance(source, TwoFiles) else {"tsv", "jsonl"}
    # UTF-8 goes unsaid: runs that began before there was another encoding keep their key.
    unsaid = {"encoding"} if source_encoding(source) == "utf-8" else set()
    options = source.model_dump_json(exclude=places | unsaid)
    return [type(source).__name__, options, *(_file_digest(path) for path in paths)]


def _file_digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        # Reading the pairs says what is wrong, and where.
        return "unreadable"


def _pairs_digest(pairs: Iterable[Pair]) -> str:
    digest = hashlib.sha256()
    for src, tgt in pairs:
        digest.update(f"{len(src)} {len(tgt)} {src}{tgt}".encode())
    return digest.hexdigest()


# --- clean and encode ------------------------------------------------------------------------------------------------


def _encode_into(
    folder: Path, key: str, sources: Sequence[Source], settings: DataSettings, tokenizer: Tokenizer
) -> Corpus:
    """Encode into files as it reads, so that memory does not grow with the corpus; they are mapped then.

    Raises:
        OSError: they can't be written.
    """
    with new_arrays(folder) as arrays:
        arrays.facts |= _encode(sources, settings, tokenizer, arrays)
    corpus = _cached_corpus(folder, key)
    if corpus is None:
        raise OSError(errno.EIO, "what was written is not what is read", str(folder))
    return corpus


def _encode(
    sources: Sequence[Source], settings: DataSettings, tokenizer: Tokenizer, arrays: ArrayWriter
) -> dict[str, Any]:
    """Append ids and lines of all pairs that can be used to `arrays`; what became of the others."""
    dropped: Counter[str] = Counter()
    num_equal = num_read = src_end = tgt_end = 0
    source_sizes = [0] * len(sources)
    no_ids, begin = np.zeros(0, np.int32), np.zeros(1, np.int64)
    arrays.append(src_flat=no_ids, src_offsets=begin, tgt_flat=no_ids, tgt_offsets=begin, lines=np.zeros(0, np.int64))
    for number, group in _groups(sources, settings):
        texts = [
            (line, pair) for line, pair in enumerate(group, start=num_read) if not _count(dropped, _text_fault(pair))
        ]
        num_read += len(group)
        source_sizes[number] += len(group)
        src_ids = tokenizer.encode_src([src for _, (src, _) in texts])
        tgt_ids = tokenizer.encode_tgt([tgt for _, (_, tgt) in texts])
        kept = [
            row
            for row in range(len(texts))
            if not _count(dropped, _ids_fault(len(src_ids[row]), len(tgt_ids[row]), settings.max_tokens))
        ]
        src, tgt = Ids.from_lists([src_ids[row] for row in kept]), Ids.from_lists([tgt_ids[row] for row in kept])
        arrays.append(
            src_flat=src.flat,
            src_offsets=src.offsets[1:] + src_end,
            tgt_flat=tgt.flat,
            tgt_offsets=tgt.offsets[1:] + tgt_end,
            lines=np.array([texts[row][0] for row in kept], np.int64),
        )
        src_end, tgt_end = src_end + len(src.flat), tgt_end + len(tgt.flat)
        num_equal += sum(texts[row][1][0] == texts[row][1][1] for row in kept)
    return {"dropped": dict(dropped), "num_equal": num_equal, "source_sizes": source_sizes}


def _groups(sources: Sequence[Source], settings: DataSettings) -> Iterator[tuple[int, list[Pair]]]:
    """Pairs of one source at a time, and its number."""
    for number, source in enumerate(sources):
        pairs = read_pairs(source, settings.src_lang, settings.tgt_lang)
        while group := list(islice(pairs, PAIRS_AT_ONCE)):
            yield number, group


def _count(dropped: Counter[str], fault: str | None) -> bool:
    """Whether there is a fault; it is counted."""
    if fault is not None:
        dropped[fault] += 1
    return fault is not None


def _text_fault(pair: Pair) -> str | None:
    """Why a pair is dropped before it is encoded."""
    for text in pair:
        if len(text) > MAX_SENTENCE_BYTES // 4 and len(text.encode()) > MAX_SENTENCE_BYTES:
            return "over 1 MB"
    return None if all(text.strip() for text in pair) else "empty"


def _ids_fault(src_length: int, tgt_length: int, max_tokens: int) -> str | None:
    """Why a pair is dropped once its numbers of tokens are known, to which EOS will be added."""
    if min(src_length, tgt_length) == 0:
        return "empty"
    if max(src_length, tgt_length) + 1 > max_tokens:
        return f"longer than {max_tokens} tokens"
    return None


# --- cache -----------------------------------------------------------------------------------------------------------


def _cached_corpus(folder: Path, key: str) -> Corpus | None:
    found = load_arrays(folder)
    if found is None or "source_sizes" not in found[1]:  # as an older mtx wrote it
        return None
    arrays, facts = found
    src, tgt = (Ids(arrays[f"{side}_flat"], arrays[f"{side}_offsets"]) for side in ("src", "tgt"))
    return Corpus(
        src, tgt, arrays["lines"], facts["dropped"], facts["num_equal"], key, source_sizes=tuple(facts["source_sizes"])
    )
