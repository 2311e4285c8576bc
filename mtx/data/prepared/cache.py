"""The folder of prepared data: where it lies, and how what takes long to build gets into it."""

import fcntl
import logging
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

from mtx.errors import ExitCode, UserError

_log = logging.getLogger("mtx")
_BUILDING, _LOCK = "tmp-", ".lock"
_ABANDONED_SECONDS = 24 * 3600
"""After so long without a change, what is being built is taken for left by a killed process."""


def cache_folder() -> Path | None:
    """`$MTX_CACHE`, else `mtx` in `$XDG_CACHE_HOME` or `~/.cache`; None where it cannot be made."""
    try:
        folder = Path(
            os.environ.get("MTX_CACHE") or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mtx"
        )
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError) as error:  # RuntimeError: no home
        _log.info("prepared data is not cached: %s", error)
        return None
    return folder


@contextmanager
def building(folder: Path) -> Iterator[Path]:
    """Where to build what shall be `folder`: inside, nobody else does, and what a killed process has built is there.

    Who is done calls `finish`. After an error nothing is left; what a signal or a lack of memory interrupts stays, for
    the next try.

    Raises:
        OSError: the place can't be written.
    """
    _remove_abandoned(folder.parent)
    place = folder.with_name(f"{_BUILDING}{folder.name}")
    lock = _lock_of(place)
    with _lock_file(lock, folder):
        try:
            place.mkdir(exist_ok=True)
            yield place
            with suppress(OSError):  # finished, or there was nothing to do
                place.rmdir()
        except Exception as error:
            if not _is_for_want_of_memory(error):
                shutil.rmtree(place, ignore_errors=True)
            raise
        finally:
            lock.unlink(missing_ok=True)


def finish(place: Path, folder: Path) -> None:
    """Put what was built at `place` where it belongs, instead of an older one."""
    shutil.rmtree(folder, ignore_errors=True)
    place.rename(folder)


def _is_for_want_of_memory(error: Exception) -> bool:
    """Whether the same may well succeed at the next try: there was no memory, or a worker was killed, mostly for it."""
    return isinstance(error, MemoryError) or (isinstance(error, UserError) and error.code is ExitCode.MACHINE)


def _lock_of(place: Path) -> Path:
    return place.with_name(f"{place.name}{_LOCK}")


def _lock_file(path: Path, folder: Path) -> TextIO:
    """The open file at `path`, locked."""
    while True:
        file = path.open("a", encoding="utf-8")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _log.info("waiting for another process that prepares the same data (%s)", folder.name[:12])
            fcntl.flock(file, fcntl.LOCK_EX)
        if _is_at(path, file):
            return file
        file.close()


def _is_at(path: Path, file: TextIO) -> bool:
    """Whether `file` is still the one at `path`: who had the lock has taken it away."""
    with suppress(FileNotFoundError):
        return os.path.samestat(os.stat(path), os.fstat(file.fileno()))
    return False


def _remove_abandoned(parent: Path) -> None:
    """Delete what killed processes have left half-built, once it is old; never what a process is at work on."""
    for place in {path.with_name(path.name.removesuffix(_LOCK)) for path in parent.glob(f"{_BUILDING}*")}:
        if time.time() - _last_change(place) <= _ABANDONED_SECONDS:
            continue
        lock = _lock_of(place)
        with suppress(BlockingIOError), lock.open("a", encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_at(lock, file):
                shutil.rmtree(place, ignore_errors=True)
                lock.unlink(missing_ok=True)


def _last_change(place: Path) -> float:
    """When something was last written at `place`."""
    times = [0.0]
    for path in (place, _lock_of(place), *place.glob("*")):
        with suppress(FileNotFoundError):  # written under another name, then renamed
            times.append(path.stat().st_mtime)
    return max(times)
