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

_log = logging.getLogger("mtx")
_BUILDING = "tmp-"
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

    Who is done calls `finish`. After an error nothing is left; what a signal interrupts stays, for the next try.

    Raises:
        OSError: the place can't be written.
    """
    _remove_abandoned(folder.parent)
    place = folder.with_name(f"{_BUILDING}{folder.name}")
    lock = place.with_name(f"{place.name}.lock")
    with _lock_file(lock, folder):
        try:
            place.mkdir(exist_ok=True)
            yield place
            with suppress(OSError):  # finished, or there was nothing to do
                place.rmdir()
        except Exception:
            shutil.rmtree(place, ignore_errors=True)
            raise
        finally:
            lock.unlink(missing_ok=True)


def finish(place: Path, folder: Path) -> None:
    """Put what was built at `place` where it belongs, instead of an older one."""
    shutil.rmtree(folder, ignore_errors=True)
    place.rename(folder)


def _lock_file(path: Path, folder: Path) -> TextIO:
    """The open file at `path`, locked."""
    while True:
        file = path.open("a", encoding="utf-8")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _log.info("waiting for another process that prepares the same data (%s)", folder.name[:12])
            fcntl.flock(file, fcntl.LOCK_EX)
        with suppress(FileNotFoundError):  # who had the lock has taken the file away
            if os.path.samestat(os.stat(path), os.fstat(file.fileno())):
                return file
        file.close()


def _remove_abandoned(parent: Path) -> None:
    """Delete what killed processes have left half-built, once it is old."""
    for path in parent.glob(f"{_BUILDING}*"):
        newest = max((file.stat().st_mtime for file in [path, *path.glob("*")] if file.exists()), default=0.0)
        if time.time() - newest > _ABANDONED_SECONDS:
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
