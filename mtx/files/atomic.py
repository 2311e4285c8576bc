"""Files that are there whole or not at all: written beside their place, flushed to the disk, renamed into it."""

import os
import re
import shutil
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from mtx.errors import machine_error


@contextmanager
def new_file(path: Path) -> Iterator[BinaryIO]:
    """A file to write into; it takes the place of `path`, complete, when the block ends without an error.

    An older file keeps its mode, and a link stays: what it points to is replaced. A pipe or a device is written into.

    Raises:
        UserError: the disk is full or the file can't be written (MACHINE).
    """
    temporary = None
    try:
        if path.exists() and not path.is_file():  # such as /dev/null, which must not be replaced
            with path.open("wb") as file:
                yield file
            return
        target = Path(os.path.realpath(path))
        temporary = temporary_name(target)
        temporary.unlink(missing_ok=True)
        with temporary.open("xb") as file:  # made anew, through no link that somebody may have put there
            _take_mode(file, target)
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
        sync(target.parent)
    except BaseException as error:
        if temporary is not None:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and not isinstance(error, BrokenPipeError):
            raise machine_error(error, "cannot write", path) from error
        raise


def write_file(path: Path, data: bytes) -> None:
    """Write one file so that readers see the old content or the new, never a part; see `new_file`.

    Raises:
        UserError: the disk is full or the file can't be written (MACHINE).
    """
    with new_file(path) as file:
        file.write(data)


def make_folder(path: Path) -> None:
    """Make `path` and the folders above it, as far as they are missing, so that a loss of power leaves them there."""
    if not path.exists():
        make_folder(path.parent)
        path.mkdir(exist_ok=True)
        sync(path.parent)


def temporary_name(path: Path) -> Path:
    """Where this process writes what shall become `path`."""
    return path.with_name(f"{path.name}.tmp-{os.getpid()}")


def outgoing_name(path: Path) -> Path:
    """Where this process puts what was `path` before it is deleted."""
    return path.with_name(f"{path.name}.old-{os.getpid()}")


def remove_leftovers(parent: Path, names: Iterable[str]) -> list[str]:
    """Delete what a killed process left in `parent` of the files and folders called `names`; returns what that was.

    Each of `names` is a regular expression.
    """
    leftover = re.compile(rf"(?:{'|'.join(names)})\.(?:tmp|old)-[0-9]+")
    found = [path for path in parent.iterdir() if leftover.fullmatch(path.name)] if parent.is_dir() else []
    for path in found:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink()
    return sorted(path.name for path in found)


def sync(path: Path) -> None:
    """Have the system write a file, or the names in a folder, to the disk now."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _take_mode(file: BinaryIO, target: Path) -> None:
    """Give a new file the mode of the one that it will replace."""
    if target.exists():
        mode = stat.S_IMODE(target.stat().st_mode)
        if mode != stat.S_IMODE(os.fstat(file.fileno()).st_mode):
            os.fchmod(file.fileno(), mode)
