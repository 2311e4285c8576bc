"""Fingerprints: digests of the content of sources and files. Sources with equal fingerprints give the same pairs."""

import hashlib
import json
import os
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from mtx.config.settings import DataSettings
from mtx.config.sources import Source
from mtx.data.prepared.cache import cache_folder
from mtx.data.sources.base import UNRELATED_TO_CONTENT, Pair
from mtx.data.sources.read import reader
from mtx.files.atomic import replace_file

MIN_CACHED_BYTES = 1 << 20  # Size of a file above which its digest is cached

SETTLED_SECONDS = 2.0
"""Minimum age of a change for a digest to be cached: a later change within the clock's resolution has the same time."""

_FOLDER = "digests"


def content_key(source: Source, settings: DataSettings) -> list[str]:
    """The options of `source` and digests of its content: of its files, or else of the pairs themselves.

    Where a file is and when it was written do not count.
    """
    source_reader = reader(source)
    if paths := source_reader.content_files():
        return [type(source).__name__, source_reader.content_options(), *map(_digest_if_readable, paths)]
    pairs = source_reader.pairs(settings.src_lang, settings.tgt_lang)
    return [source.model_dump_json(exclude=UNRELATED_TO_CONTENT), _pairs_digest(pairs)]


def file_digest(path: Path) -> str:
    """sha256 of the file `path` in hex; from the cache unless it was changed, replaced or moved since.

    Raises:
        OSError: it can't be read.
    """
    with path.open("rb") as file:
        stat = os.fstat(file.fileno())
        note = _note_of(path) if stat.st_size >= MIN_CACHED_BYTES else None
        # The system sets ctime at every change; unlike mtime, no program can set it back.
        state = [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino, stat.st_dev]
        if note is not None and (known := _read_note(note, state)) is not None:
            return known
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        if note is not None and time.time() - stat.st_ctime > SETTLED_SECONDS:
            _write_note(note, state, digest)
        return digest


def _digest_if_readable(path: Path) -> str:
    try:
        return file_digest(path)
    except OSError:
        # Reading the pairs will say what is wrong, and where.
        return "unreadable"


def _pairs_digest(pairs: Iterable[Pair]) -> str:
    digest = hashlib.sha256()
    for src, tgt in pairs:
        digest.update(f"{len(src)} {len(tgt)} {src}{tgt}".encode())
    return digest.hexdigest()


def _note_of(path: Path) -> Path | None:
    cache = cache_folder()
    return None if cache is None else cache / _FOLDER / hashlib.sha256(os.fsencode(path.resolve())).hexdigest()


def _read_note(note: Path, state: list[int]) -> str | None:
    try:
        noted_state, digest = json.loads(note.read_text(encoding="utf-8"))
    except (OSError, ValueError, TypeError):
        return None
    return digest if noted_state == state and isinstance(digest, str) else None


def _write_note(note: Path, state: list[int], digest: str) -> None:
    with suppress(OSError):  # then the digest is computed again next time
        note.parent.mkdir(exist_ok=True)
        with replace_file(note) as file:
            file.write(json.dumps([state, digest]).encode())
