"""Arrays on the disk: there whole or not at all, verified when read, mapped instead of loaded."""

import hashlib
import json
import mmap
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtx.data.digests import file_digest

_ALIGNMENT = 8
"""Bytes that each array begins at a multiple of, as numpy wants it for the largest of its numbers."""

Facts = dict[str, Any]
"""JSON values that are kept beside arrays."""


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


def load_arrays(path: Path) -> tuple[dict[str, NDArray[Any]], Facts] | None:
    """The arrays, memory-mapped, and the facts that were saved as `path`; None if they are not there, or damaged."""
    whole = load_facts(path)
    if whole is None:
        return None
    try:
        if file_digest(_arrays_file(path)) != whole["sha256"]:
            return None
        pages = _pages(_arrays_file(path))
        arrays = {name: _mapped(pages, *place) for name, place in whole["arrays"].items()}
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


def _pages(path: Path) -> mmap.mmap | bytes:
    with path.open("rb") as file:
        if os.fstat(file.fileno()).st_size == 0:  # which can't be mapped
            return b""
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def _mapped(pages: mmap.mmap | bytes, dtype: str, begin: int, count: int) -> NDArray[Any]:
    if not count:
        return np.zeros(0, dtype)
    return np.frombuffer(pages, dtype, count, begin)


def _digest(facts: Facts) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
