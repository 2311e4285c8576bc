"""What a source holds, as a digest: two that have the same give the same pairs."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

from mtx.config.settings import DataSettings
from mtx.config.sources import Source
from mtx.data.prepared.digests import file_digest
from mtx.data.sources.base import UNRELATED_TO_CONTENT, Pair
from mtx.data.sources.read import reader


def content_key(source: Source, settings: DataSettings) -> list[str]:
    """The options of `source` and digests of its content: of its files, or else of the pairs themselves.

    Where a file is and when it was written do not count.
    """
    source_reader = reader(source)
    if paths := source_reader.content_files():
        return [type(source).__name__, source_reader.content_options(), *map(_digest_if_readable, paths)]
    pairs = source_reader.pairs(settings.src_lang, settings.tgt_lang)
    return [source.model_dump_json(exclude=UNRELATED_TO_CONTENT), _pairs_digest(pairs)]


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
