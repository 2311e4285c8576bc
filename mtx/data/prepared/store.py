"""Arrays on the disk: written atomically, verified when opened, and read piece by piece."""

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

from mtx.data.prepared.fingerprint import file_digest
from mtx.files.atomic import replace_file

_ALIGNMENT = 8  # Alignment of each array in bytes, the size of the largest type
Metadata = dict[str, Any]  # JSON values that are stored with arrays


class StoredArray:
    """Numbers in a file, read on demand.

    The file is not memory-mapped: the system maps a quarter of a megabyte around each access, so that the rows of a
    large batch, scattered over a corpus, would count as a gigabyte of resident memory.
    """

    def __init__(self, file: "_OpenFile", dtype: str, begin: int, length: int) -> None:
        self.dtype = np.dtype(dtype)
        self._file, self._begin, self._length = file, begin, length

    def __len__(self) -> int:
        return self._length

    @overload
    def __getitem__(self, index: int) -> np.integer[Any]: ...
    @overload
    def __getitem__(self, index: slice) -> NDArray[np.unsignedinteger[Any]]: ...
    def __getitem__(self, index: int | slice) -> np.integer[Any] | NDArray[np.unsignedinteger[Any]]:
        """One number, or a contiguous slice.

        Raises:
            IndexError: out of range, or a slice with steps.
            OSError: the file can't be read any more.
        """
        if not isinstance(index, slice):
            number: np.integer[Any] = self._read(range(self._length)[index], 1)[0]
            return number
        begin, end, step = index.indices(self._length)
        if step != 1:
            raise IndexError(f"slices must be contiguous, got step {step}")
        return self._read(begin, max(end - begin, 0))

    def _read(self, begin: int, length: int) -> NDArray[np.unsignedinteger[Any]]:
        size = self.dtype.itemsize
        return np.frombuffer(self._file.read(self._begin + begin * size, length * size), self.dtype)


class _OpenFile:
    """A file for reads at any position and from any thread, closed once no array refers to it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = os.open(path, os.O_RDONLY)
        weakref.finalize(self, os.close, self._descriptor)

    def read(self, begin: int, size: int) -> bytes:
        data = os.pread(self._descriptor, size, begin)
        if len(data) < size:  # also for more than 2 GB at once, but no shard is that large
            raise OSError(errno.EIO, "became shorter while open", str(self._path))
        return data


def save_arrays(path: Path, arrays: Mapping[str, NDArray[Any]], metadata: Metadata) -> None:
    """Write one-dimensional arrays and `metadata` as `path` with two suffixes, replacing older ones.

    Raises:
        OSError: the disk is full, or the folder can't be written.
    """
    digest, spans, end = hashlib.sha256(), {}, 0
    with replace_file(_arrays_file(path)) as file:
        for name, array in arrays.items():
            data = array.tobytes()
            data += bytes(-len(data) % _ALIGNMENT)
            file.write(data)
            digest.update(data)
            spans[name] = [array.dtype.name, end, len(array)]
            end += len(data)
    save_metadata(path, {"arrays": spans, "bytes": end, "sha256": digest.hexdigest(), "facts": metadata})


def open_arrays(path: Path) -> tuple[dict[str, StoredArray], Metadata] | None:
    """The arrays and the metadata that were saved as `path`; None if missing or damaged."""
    index = load_metadata(path)
    if index is None:
        return None
    try:
        if file_digest(_arrays_file(path)) != index["sha256"]:
            return None
        file = _OpenFile(_arrays_file(path))
        arrays = {name: StoredArray(file, *span) for name, span in index["arrays"].items()}
        return arrays, dict(index["facts"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def save_metadata(path: Path, metadata: Metadata) -> None:
    """Write JSON values and their digest as `path` with a suffix, replacing older ones.

    Raises:
        OSError: the disk is full, or the folder can't be written.
    """
    with replace_file(_metadata_file(path)) as file:
        file.write(json.dumps({"facts": metadata, "sha256": _digest(metadata)}).encode())


def load_metadata(path: Path) -> Metadata | None:
    """The values that were saved as `path`; None if missing or damaged."""
    try:
        saved = json.loads(_metadata_file(path).read_text(encoding="utf-8"))
        return dict(saved["facts"]) if _digest(saved["facts"]) == saved["sha256"] else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _arrays_file(path: Path) -> Path:
    return path.with_name(f"{path.name}.arrays")


def _metadata_file(path: Path) -> Path:
    return path.with_name(f"{path.name}.json")


def _digest(metadata: Metadata) -> str:
    return hashlib.sha256(json.dumps(metadata, sort_keys=True).encode()).hexdigest()
