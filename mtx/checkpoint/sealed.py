"""Sealed folders: whole or not there, and damage is noticed.

A folder is written beside its place, every file flushed to the disk, a manifest with sizes and sha256 last, and is
then renamed into place. Neither safetensors nor any other format of weights notices a flipped bit by itself.
"""

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
from torch import Tensor

from mtx import __version__
from mtx.errors import ExitCode, UserError

FORMAT = 1
"""Version of the layout of folders; raised when an older mtx could not read a newer folder."""

MANIFEST = "manifest.json"


@contextmanager
def sealed_folder(
    folder: Path, about: Mapping[str, Any], *, unsealed: Collection[str] = (), replace: bool = False
) -> Iterator[Path]:
    """A new folder to fill; it appears as `folder`, complete, when the block ends without an error.

    `about` goes into the manifest. Files named in `unsealed` may be edited later. With `replace`, an older folder of
    that name makes room at the end.

    Raises:
        UserError: the disk is full or the folder can't be written (MACHINE).
    """
    temporary = folder.with_name(f"{folder.name}.tmp-{os.getpid()}")
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        yield temporary
        _seal(temporary, about, unsealed)
        if replace and folder.exists():
            old = folder.with_name(f"{folder.name}.old-{os.getpid()}")
            folder.rename(old)
            temporary.rename(folder)
            shutil.rmtree(old)
        else:
            temporary.rename(folder)
        _sync(folder.parent)
    except OSError as error:
        shutil.rmtree(temporary, ignore_errors=True)
        raise _disk_error(error, folder) from error
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def open_sealed(folder: Path) -> dict[str, Any]:
    """The manifest's `about` of a folder whose every sealed file has been checked.

    Raises:
        UserError: the folder is missing, damaged, incomplete or of a newer mtx (MODEL).
    """
    try:
        manifest = json.loads((folder / MANIFEST).read_bytes())
        made_by, layout, about = manifest["mtx"], manifest["format"], manifest["about"]
        files = {str(name): (int(f["size"]), str(f["sha256"])) for name, f in manifest["files"].items()}
    except FileNotFoundError:
        raise _unusable(folder, f"no {MANIFEST}") from None
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise _unusable(folder, f"unreadable {MANIFEST}") from None
    if layout != FORMAT:
        what = f"written by mtx {made_by} in format {layout}; this mtx {__version__} reads format {FORMAT}"
        raise UserError(ExitCode.MODEL, what, where=str(folder), do="Use a matching mtx.")
    for name, (size, digest) in files.items():
        path = folder / name
        if Path(name).name != name or path.is_symlink() or not path.is_file():
            raise _unusable(folder, f"{name}: missing")
        if path.stat().st_size != size or _sha256(path) != digest:
            raise _unusable(folder, f"{name}: wrong checksum")
    if not isinstance(about, dict):
        raise _unusable(folder, f"unreadable {MANIFEST}")
    return about


def remove_leftovers(parent: Path) -> None:
    """Delete what a killed process left half-written in `parent`."""
    for path in [*parent.glob("*.tmp-*"), *parent.glob("*.old-*")]:
        shutil.rmtree(path, ignore_errors=True)


def write_file(path: Path, data: bytes) -> None:
    """Write one file so that readers see the old content or the new, never a part.

    Raises:
        UserError: the disk is full or the file can't be written (MACHINE).
    """
    temporary = path.with_name(f"{path.name}.tmp-{os.getpid()}")
    try:
        temporary.write_bytes(data)
        _sync(temporary)
        temporary.replace(path)
        _sync(path.parent)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise _disk_error(error, path) from error


def save_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write named tensors as safetensors; the same tensors make the same bytes."""
    contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in sorted(tensors.items())}
    # Not save_file, which makes a file that only its owner may read and hides the system's error number.
    path.write_bytes(safetensors.torch.save(contiguous, metadata={"format": "pt"}))


def load_tensors(path: Path) -> dict[str, Tensor]:
    """Named tensors of a safetensors file.

    Raises:
        UserError: it isn't one (MODEL).
    """
    try:
        tensors: dict[str, Tensor] = safetensors.torch.load_file(path)
    except (OSError, safetensors.SafetensorError, ValueError, KeyError) as error:
        raise _unusable(path.parent, f"{path.name}: {error}") from error
    return tensors


def _seal(folder: Path, about: Mapping[str, Any], unsealed: Collection[str]) -> None:
    files = {}
    for path in sorted(folder.iterdir()):
        _sync(path)
        if path.name not in unsealed:
            files[path.name] = {"size": path.stat().st_size, "sha256": _sha256(path)}
    manifest = {"format": FORMAT, "mtx": __version__, "about": dict(about), "files": files}
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
    _sync(folder / MANIFEST)
    _sync(folder)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _unusable(folder: Path, why: str) -> UserError:
    return UserError(ExitCode.MODEL, f"unusable: {why}", where=str(folder), do="Copy or train it again.")


def _disk_error(error: OSError, path: Path) -> UserError:
    is_full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    remedy = "Free some space and run the same command again." if is_full else "Check the folder and its permissions."
    return UserError(ExitCode.MACHINE, f"cannot write: {error.strerror}", where=str(path), do=remedy)
