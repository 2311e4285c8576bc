"""Arrays kept in a folder between runs: written whole or not at all, verified when read, never needed."""

import hashlib
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

_log = logging.getLogger("mtx")
_MANIFEST = "manifest.json"


def cache_folder() -> Path | None:
    """`$MTX_CACHE`, else `mtx` in `$XDG_CACHE_HOME` or `~/.cache`; None where it cannot be written."""
    try:
        folder = Path(
            os.environ.get("MTX_CACHE") or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mtx"
        )
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError) as error:  # RuntimeError: no home
        _log.info("prepared data is not cached: %s", error)
        return None
    return folder


def save_arrays(folder: Path, arrays: Mapping[str, NDArray[Any]], facts: Mapping[str, Any]) -> None:
    """Write `arrays` and the JSON values `facts` as `folder`, replacing it; a full disk is noted and leaves nothing."""
    try:
        building = Path(tempfile.mkdtemp(prefix="tmp-", dir=folder.parent))
    except OSError as error:
        _log.info("prepared data is not cached: %s", error)
        return
    try:
        for name, array in arrays.items():
            np.save(building / f"{name}.npy", array, allow_pickle=False)
        digests = {name: _file_digest(building / f"{name}.npy") for name in arrays}
        manifest = {"sha256": digests, "facts": facts, "facts_sha256": _facts_digest(facts)}
        (building / _MANIFEST).write_text(json.dumps(manifest), encoding="utf-8")
        shutil.rmtree(folder, ignore_errors=True)
        building.rename(folder)
    except OSError as error:
        _log.info("prepared data is not cached: %s", error)
    finally:
        shutil.rmtree(building, ignore_errors=True)


def load_arrays(folder: Path) -> tuple[dict[str, NDArray[Any]], dict[str, Any]] | None:
    """The arrays, memory-mapped, and facts that were saved as `folder`; None if they are not there, or damaged."""
    try:
        manifest = json.loads((folder / _MANIFEST).read_text(encoding="utf-8"))
        if _facts_digest(manifest["facts"]) != manifest["facts_sha256"]:
            return None
        arrays = {}
        for name, digest in manifest["sha256"].items():
            path = folder / f"{name}.npy"
            if _file_digest(path) != digest:
                return None
            # As plain arrays: slicing is slow on np.memmap itself.
            arrays[name] = np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return arrays, manifest["facts"]


def _file_digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _facts_digest(facts: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
