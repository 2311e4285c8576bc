"""The folder of prepared data: where it is, and how its entries are built."""

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from mtx.errors import ExitCode
from mtx.files.atomic import remove_leftovers
from mtx.files.lock import locked
from mtx.system.logs import LOGGER

_BUILDING, _LOCK = "tmp-", ".lock"
_ABANDONED_SECONDS = 24 * 3600  # Age from which an unfinished entry is deleted, if no process holds its lock


def cache_folder() -> Path | None:
    """`$MTX_CACHE`, else `mtx` in `$XDG_CACHE_HOME` or `~/.cache`; None if it can't be created."""
    try:
        user_cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        folder = Path(os.environ.get("MTX_CACHE") or Path(user_cache, "mtx"))
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError) as error:  # RuntimeError: no home
        LOGGER.info("prepared data is not cached: %s", error)
        return None
    return folder


@contextmanager
def building(folder: Path) -> Iterator[Path]:
    """A place in which to build the entry `folder`, locked, with all that a killed process has finished of it.

    When the entry is complete, rename the place to `folder`. An error deletes the place; a signal or lack of memory
    leaves it for the next try.

    Raises:
        OSError: the place can't be written.
    """
    _remove_abandoned(folder.parent)
    place = folder.with_name(f"{_BUILDING}{folder.name}")
    lock = Path(f"{place}{_LOCK}")
    waiting = "waiting for another process that prepares the same data (%s)"
    with locked(lock, lambda: LOGGER.info(waiting, folder.name[:12])):
        try:
            place.mkdir(exist_ok=True)
            remove_leftovers(place, [".*"])
            yield place
            with suppress(OSError):  # complete and renamed, or not needed
                place.rmdir()
        except Exception as error:
            # A worker is mostly killed for lack of memory.
            lacks_memory = isinstance(error, MemoryError) or getattr(error, "code", None) is ExitCode.MACHINE
            if not lacks_memory:
                shutil.rmtree(place, ignore_errors=True)
            raise
        finally:
            lock.unlink(missing_ok=True)


def _remove_abandoned(parent: Path) -> None:
    """Delete old unfinished entries of killed processes, never one that a process is building."""
    for place in {Path(str(path).removesuffix(_LOCK)) for path in parent.glob(f"{_BUILDING}*")}:
        lock, last_change = Path(f"{place}{_LOCK}"), 0.0
        for path in (place, lock, *place.glob("*")):
            with suppress(FileNotFoundError):  # it was temporary and has been renamed
                last_change = max(last_change, path.stat().st_mtime)
        if time.time() - last_change > _ABANDONED_SECONDS:
            with suppress(Timeout), FileLock(lock).acquire(timeout=0):
                shutil.rmtree(place, ignore_errors=True)
                lock.unlink(missing_ok=True)
