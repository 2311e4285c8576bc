"""What a source holds, as a digest: two that have the same give the same pairs."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

from mtx.config.settings import DataSettings
from mtx.config.sources import Source, TwoFiles
from mtx.data.prepared.digests import file_digest
from mtx.data.sources.read import Pair, read_pairs, source_encoding, source_files

_NO_CONTENT = {"weight", "streaming"}
"""Options that say how often pairs are read, or how, but not which."""


def content_key(source: Source, settings: DataSettings) -> list[str]:
    """The options of `source` and digests of its content: of its files, else of the pairs themselves.

    Where a file lies and when it was written do not count: neither says what is in it.
    """
    paths = source_files(source)
    if not paths:
        return [
            source.model_dump_json(exclude=_NO_CONTENT),
            _pairs_digest(read_pairs(source, settings.src_lang, settings.tgt_lang)),
        ]
    places = {"src", "tgt"} if isinstance(source, TwoFiles) else {"tsv", "jsonl", "tmx", "zip", "folder", "dataset"}
    # UTF-8 and no tag go unsaid: runs that began before there was anything else keep their key.
    unsaid = {"encoding"} if source_encoding(source) == "utf-8" else set()
    unsaid |= {"tag"} if source.tag is None else set()
    options = source.model_dump_json(exclude=places | unsaid | _NO_CONTENT)
    return [type(source).__name__, options, *map(_digest_if_readable, paths)]


def _digest_if_readable(path: Path) -> str:
    try:
        return file_digest(path)
    except OSError:
        # Reading the pairs says what is wrong, and where.
        return "unreadable"


def _pairs_digest(pairs: Iterable[Pair]) -> str:
    digest = hashlib.sha256()
    for src, tgt in pairs:
        digest.update(f"{len(src)} {len(tgt)} {src}{tgt}".encode())
    return digest.hexdigest()
