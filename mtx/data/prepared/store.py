"""Arrays on the disk: there whole or not at all, verified when opened, read where they are asked."""

import errno
import hashlib
import json
import os
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from mtx.data.prepared.digests import file_digest

_ALIGNMENT = 8
"""Bytes that each array begins at a multiple of: the size of the largest of its numbers."""

Facts = dict[str, Any]
"""JSON values that are kept beside arrays."""


class StoredArray:
    """Numbers in a file, of which those that are asked for are read.

    Not mapped: around each place that is touched the system maps a quarter of a megabyte, so that the rows of a large
    batch, from all over a corpus, would count as a gigabyte of this process.
    """

    def __init__(self, file: "_OpenFile", dtype: str, begin: int, length: int) -> None:
        self.dtype = np.dtype(dtype)
        self._file, self._begin, self._length = file, begin, length

    def __len__(self) -> int:
        return self._length

    @overload
    def __getitem__(self, place: int) -> np.integer[Any]: ...
    @overload
    def __getitem__(self, place: slice) -> NDArray[np.unsignedinteger[Any]]: ...
    def __getitem__(self, place: int | slice) -> np.integer[Any] | NDArray[np.unsignedinteger[Any]]:
        """One of the numbers, or neighbouring ones.

        Raises:
            IndexError: there are fewer.
            OSError: they can't be read any more.
        """
        if not isinstance(place, slice):
            number: np.integer[Any] = self._read(range(self._length)[place], 1)[0]
            return number
        begin, end, step = place.indices(self._length)
        if step != 1:
            raise IndexError(f"neighbours can be read, not every number {step} places on")
        return self._read(begin, max(end - begin, 0))

    def _read(self, begin: int, length: int) -> NDArray[np.unsignedinteger[Any]]:
        size = self.dtype.itemsize
        return np.frombuffer(self._file.read(self._begin + begin * size, length * size), self.dtype)


class _OpenFile:
    """A file that is read at any place, by any thread; closed once nothing reads from it any more."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = os.open(path, os.O_RDONLY)
        weakref.finalize(self, os.close, self._descriptor)

    def read(self, begin: int, size: int) -> bytes:
        data = os.pread(self._descriptor, size, begin)
        if len(data) < size:  # of more than 2 GB at once, too, where there are no shards of that size
            raise OSError(errno.EIO, "is shorter than it was", str(self._path))
        return data


def save_arrays(path: Path, arrays: Mapping[str, NDArray[Any]], facts: Facts) -> None:
    """Write arrays of one dimension and `facts` as `path` with two suffixes, instead of older ones.

    Raises:
        OSError: the disk is full, or the place can't be written.
    """
    digest, places, end = hashlib.sha256(), {}, 0
    new = _arrays_file(path).with_name(f"{path.name}.new")
    with new.open("wb") as file:
        for name, array in arrays.items():
            data = array.tobytes()
            data += bytes(-len(data) % _ALIGNMENT)
            file.write(data)
            digest.update(data)
            places[name] = [array.dtype.name, end, len(array)]
            end += len(data)
    new.replace(_arrays_file(path))
    whole = {"arrays": places, "bytes": end, "sha256": digest.hexdigest(), "facts": facts}
    save_facts(path, whole)


def open_arrays(path: Path) -> tuple[dict[str, StoredArray], Facts] | None:
    """The arrays and the facts that were saved as `path`; None if they are not there, or damaged."""
    whole = load_facts(path)
    if whole is None:
        return None
    try:
        if file_digest(_arrays_file(path)) != whole["sha256"]:
            return None
        file = _OpenFile(_arrays_file(path))
        arrays = {name: StoredArray(file, *place) for name, place in whole["arrays"].items()}
        return arrays, dict(whole["facts"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def save_facts(path: Path, facts: Facts) -> None:
    """Write JSON values beside their digest, as `path` with a suffix, instead of older ones.

    Raises:
        OSError: the disk is full, or the place can't be written.
    """
    new = _facts_file(path).with_name(f"{path.name}.new")
    new.write_text(json.dumps({"facts": facts, "sha256": _digest(facts)}), encoding="utf-8")
    new.replace(_facts_file(path))


def load_facts(path: Path) -> Facts | None:
    """What was saved as `path`; None if it is not there, or damaged."""
    try:
        saved = json.loads(_facts_file(path).read_text(encoding="utf-8"))
        return dict(saved["facts"]) if _digest(saved["facts"]) == saved["sha256"] else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _arrays_file(path: Path) -> Path:
    return path.with_name(f"{path.name}.arrays")


def _facts_file(path: Path) -> Path:
    return path.with_name(f"{path.name}.json")


def _digest(facts: Facts) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
