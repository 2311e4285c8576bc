"""Fingerprints: digests of the content of sources and files. Sources with equal fingerprints give the same pairs."""

import hashlib
import json
import os
import time
from contextlib import suppress
from pathlib import Path

from mtx.config.settings import DataSettings
from mtx.config.sources import Source
from mtx.data.prepared.cache import cache_folder
from mtx.data.sources.base import UNRELATED_TO_CONTENT
from mtx.data.sources.read import reader
from mtx.files.atomic import replace_file

MIN_CACHED_BYTES = 1 << 20  # Size of a file from which its digest is cached
PREPARING = "data/sources", "data/cleaning", "data/prepared", "text"  # Packages whose code decides the prepared ids
SETTLED_SECONDS = 2.0  # Age of a change for a digest to be cached: a later one in the clock's resolution looks the same


def content_key(source: Source, settings: DataSettings) -> list[str]:
    """The options of `source` and digests of its content: of its files, or else of the pairs themselves.

    Where a file is and when it was written do not count.
    """
    source_reader = reader(source)
    if paths := source_reader.content_files():
        return [type(source).__name__, source_reader.content_options(), *map(_digest_if_readable, paths)]
    digest = hashlib.sha256()
    for src, tgt in source_reader.pairs(*settings.languages_of(source)):
        digest.update(f"{len(src)} {len(tgt)} {src}{tgt}".encode())
    unset = {name for name in ("src_lang", "tgt_lang") if getattr(source, name) is None}
    return [source.model_dump_json(exclude=UNRELATED_TO_CONTENT | unset), digest.hexdigest()]


def code_digest(root: Path = Path(__file__).parents[2]) -> str:
    """sha256 in hex of the source code in the package at `root` that prepares data."""
    paths = sorted(path for package in PREPARING for path in (root / package).glob("*.py"))
    return hashlib.sha256(b"".join(path.read_bytes() for path in paths)).hexdigest()


def file_digest(path: Path) -> str:
    """sha256 of the file `path` in hex; from the cache unless it was changed, replaced or moved since.

    Raises:
        OSError: it can't be read.
    """
    with path.open("rb") as file:
        stat = os.fstat(file.fileno())
        # The system sets ctime at every change; unlike mtime, no program can set it back.
        state = [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino, stat.st_dev]
        cache = cache_folder() if stat.st_size >= MIN_CACHED_BYTES else None
        if cache is None:
            return hashlib.file_digest(file, "sha256").hexdigest()
        note = cache / "digests" / hashlib.sha256(os.fsencode(path.resolve())).hexdigest()
        with suppress(OSError, ValueError, TypeError):
            noted_state, digest = json.loads(note.read_bytes())
            if noted_state == state and isinstance(digest, str):
                return digest
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        if time.time() - stat.st_ctime > SETTLED_SECONDS:
            with suppress(OSError):  # then it is computed again next time
                note.parent.mkdir(exist_ok=True)
                with replace_file(note) as new:
                    new.write(json.dumps([state, digest]).encode())
        return digest


def _digest_if_readable(path: Path) -> str:
    try:
        return file_digest(path)
    except OSError:
        return "unreadable"  # reading the pairs will say what is wrong, and where
