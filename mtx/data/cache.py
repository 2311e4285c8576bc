"""Arrays on the disk: written part by part, there whole or not at all, verified when read, mapped instead of loaded."""

import hashlib
import json
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

_log = logging.getLogger("mtx")
_MANIFEST = "manifest.json"
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


class ArrayWriter:
    """Arrays of one dimension that grow on the disk, so that none has to fit into memory."""

    def __init__(self, folder: Path) -> None:
        self.facts: dict[str, Any] = {}
        """JSON values to keep beside the arrays."""
        self._folder = folder
        self._files: dict[str, BinaryIO] = {}
        self._digests: dict[str, Any] = {}
        self._types: dict[str, str] = {}

    def append(self, **parts: NDArray[Any]) -> None:
        """Add to the end of each array named."""
        for name, part in parts.items():
            if name not in self._files:
                self._files[name] = (self._folder / name).open("xb")
                self._digests[name] = hashlib.sha256()
                self._types[name] = part.dtype.name
            data = part.tobytes()
            self._files[name].write(data)
            self._digests[name].update(data)

    def close(self) -> None:
        """Close what is open."""
        for file in self._files.values():
            file.close()

    def finish(self) -> None:
        """Write what is still to be written, and the manifest last."""
        self.close()
        arrays = {name: [self._types[name], digest.hexdigest()] for name, digest in self._digests.items()}
        manifest = {"arrays": arrays, "facts": self.facts, "facts_sha256": _facts_digest(self.facts)}
        (self._folder / _MANIFEST).write_text(json.dumps(manifest), encoding="utf-8")


@contextmanager
def new_arrays(folder: Path) -> Iterator[ArrayWriter]:
    """A writer for the arrays of `folder`, which takes the place of an older one when the block ends without an error.

    Raises:
        OSError: the disk is full, or the place can't be written; nothing is left of what was begun.
    """
    _remove_abandoned(folder.parent)
    building = Path(tempfile.mkdtemp(prefix=_BUILDING, dir=folder.parent))
    writer = ArrayWriter(building)
    try:
        yield writer
        writer.finish()
        shutil.rmtree(folder, ignore_errors=True)
        building.rename(folder)
    finally:
        with suppress(OSError):  # what a full disk can't take is removed all the same
            writer.close()
        shutil.rmtree(building, ignore_errors=True)


def load_arrays(folder: Path) -> tuple[dict[str, NDArray[Any]], dict[str, Any]] | None:
    """The arrays, memory-mapped, and facts that were written as `folder`; None if they are not there, or damaged."""
    try:
        manifest = json.loads((folder / _MANIFEST).read_text(encoding="utf-8"))
        if _facts_digest(manifest["facts"]) != manifest["facts_sha256"]:
            return None
        arrays = {}
        for name, (dtype, digest) in manifest["arrays"].items():
            if _file_digest(folder / name) != digest:
                return None
            arrays[name] = _mapped(folder / name, np.dtype(dtype))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return arrays, manifest["facts"]


def _mapped(path: Path, dtype: np.dtype[Any]) -> NDArray[Any]:
    if path.stat().st_size == 0:  # which can't be mapped
        return np.zeros(0, dtype)
    # As a plain array: slicing is slow on np.memmap itself.
    return np.asarray(np.memmap(path, dtype, mode="r"))


def _remove_abandoned(parent: Path) -> None:
    """Delete what killed processes have left half-written."""
    for path in parent.glob(f"{_BUILDING}*"):
        newest = max((file.stat().st_mtime for file in [path, *path.glob("*")] if file.exists()), default=0.0)
        if time.time() - newest > _ABANDONED_SECONDS:
            shutil.rmtree(path, ignore_errors=True)


def _file_digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _facts_digest(facts: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
