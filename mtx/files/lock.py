"""Locks between processes, by `flock` on a file: a lock ends with its process and the workers forked from it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

RETRY_SECONDS = 0.1  # Before a lock counts as taken: a process that just released it may be deleting the file


@contextmanager
def locked(path: Path, when_taken: Callable[[], None]) -> Iterator[None]:
    """Hold the lock at `path` inside the block; if it is taken, call `when_taken`, and wait unless that raises.

    Raises:
        OSError: the file can't be created.
    """
    path.open("ab").close()  # where this fails, filelock may try again for ever
    lock = FileLock(path, thread_local=False)
    try:
        lock.acquire(timeout=RETRY_SECONDS, poll_interval=RETRY_SECONDS / 10)
    except Timeout:
        when_taken()
        lock.acquire(poll_interval=RETRY_SECONDS)
    try:
        yield
    finally:
        lock.release()
