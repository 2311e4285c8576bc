"""Atomic writes: a file or folder is written under a temporary name, flushed to the disk, then renamed."""

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
    """A file to write to; when the block ends without an error, the complete file replaces `path`.

    An existing file keeps its mode, and a link stays: the file that it points to is replaced. Pipes and devices are
    written to directly.

    Raises:
        UserError: the disk is full or the file can't be written (MACHINE).
    """
    try:
        with replace_file(path) as file:
            yield file
    except BrokenPipeError:
        raise
    except OSError as error:
        raise machine_error(error, "cannot write", path) from error


@contextmanager
def replace_file(path: Path) -> Iterator[BinaryIO]:
    """Do the same as `new_file`, but raise the system's own errors."""
    if path.exists() and not path.is_file():  # such as /dev/null, which must not be replaced
        with path.open("wb") as file:
            yield file
        return
    target = Path(os.path.realpath(path))
    temporary = temporary_name(target)
    try:
        temporary.unlink(missing_ok=True)
        with temporary.open("xb") as file:  # a new file, not through a link that somebody may have put there
            if target.exists():
                os.fchmod(file.fileno(), stat.S_IMODE(target.stat().st_mode))
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
        sync(target.parent)
    except BaseException:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


def replace_folder(folder: Path, new: Path) -> None:
    """Rename `new` to `folder`. If that fails with an OSError, an existing `folder` stays as it was."""
    old = outgoing_name(folder)
    if folder.exists():
        folder.rename(old)
    try:
        new.rename(folder)
        sync(folder.parent)
    except OSError:
        shutil.rmtree(folder, ignore_errors=True)
        if old.exists():
            old.rename(folder)
        raise
    shutil.rmtree(old, ignore_errors=True)


def write_file(path: Path, data: bytes) -> None:
    """Write a file so that readers see either the old content or the new; raises as `new_file` does."""
    with new_file(path) as file:
        file.write(data)


def make_folder(path: Path) -> None:
    """Create `path` and missing folders above it, and flush each, so that they survive a loss of power."""
    if not path.exists():
        make_folder(path.parent)
        path.mkdir(exist_ok=True)
        sync(path.parent)


def temporary_name(path: Path) -> Path:
    """The name under which this process writes what will become `path`."""
    return path.with_name(f"{path.name}.tmp-{os.getpid()}")


def outgoing_name(path: Path) -> Path:
    """The name to which this process renames the old `path` before deleting it."""
    return path.with_name(f"{path.name}.old-{os.getpid()}")


def remove_leftovers(parent: Path, names: Iterable[str]) -> list[str]:
    """Delete what a killed process left in `parent`; return its names. `names` are expressions of the final names."""
    leftover = re.compile(rf"(?:{'|'.join(names)})\.(?:tmp|old)-[0-9]+")
    found = [path for path in parent.iterdir() if leftover.fullmatch(path.name)] if parent.is_dir() else []
    for path in found:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink()
    return sorted(path.name for path in found)


def sync(path: Path) -> None:
    """Flush a file, or the list of names in a folder, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
