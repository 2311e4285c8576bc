"""sha256 of files, computed once: what was read of a large file is remembered for as long as nobody writes in it."""

import hashlib
import json
import os
import time
from contextlib import suppress
from pathlib import Path

from mtx.data.prepared.cache import cache_folder

SMALLEST = 1 << 20
"""Bytes from which to remember pays."""

SETTLED_SECONDS = 2.0
"""A change may follow another one so soon that both have the same time: what was changed just now is not trusted."""

_FOLDER = "digests"


def file_digest(path: Path) -> str:
    """sha256 of the file `path`, in hex; from the cache unless it was changed, replaced or moved since.

    Raises:
        OSError: it can't be read.
    """
    with path.open("rb") as file:
        stat = os.fstat(file.fileno())
        note = _note_of(path) if stat.st_size >= SMALLEST else None
        # The system sets ctime itself at every change: unlike mtime, no program can set it back.
        state = [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino, stat.st_dev]
        if note is not None and (known := _read_note(note, state)) is not None:
            return known
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        if note is not None and time.time() - stat.st_ctime > SETTLED_SECONDS:
            _write_note(note, state, digest)
        return digest


def _note_of(path: Path) -> Path | None:
    cache = cache_folder()
    return None if cache is None else cache / _FOLDER / hashlib.sha256(os.fsencode(path.resolve())).hexdigest()


def _read_note(note: Path, state: list[int]) -> str | None:
    try:
        remembered, digest = json.loads(note.read_text(encoding="utf-8"))
    except (OSError, ValueError, TypeError):
        return None
    return digest if remembered == state and isinstance(digest, str) else None


def _write_note(note: Path, state: list[int], digest: str) -> None:
    with suppress(OSError):  # then it is computed once more
        note.parent.mkdir(exist_ok=True)
        new = note.with_name(f"tmp-{os.getpid()}-{note.name}")
        new.write_text(json.dumps([state, digest]), encoding="utf-8")
        new.replace(note)
