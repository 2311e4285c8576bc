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

from mtx import __version__
from mtx.checkpoint.manifest import Manifest
from mtx.errors import ExitCode, UserError
from mtx.foreign_files import check_regular, read_small_file

FORMAT = 1
"""Version of the layout of folders; raised when an older mtx could not read a newer folder."""

MANIFEST = "manifest.json"
MAX_MANIFEST_BYTES = 1 << 20


@contextmanager
def sealed_folder(folder: Path, about: Mapping[str, Any], *, unsealed: Collection[str] = ()) -> Iterator[Path]:
    """A new folder to fill; it takes the place of `folder`, complete, when the block ends without an error.

    `about` goes into the manifest. Files named in `unsealed` may be edited later.

    Raises:
        UserError: the disk is full or the folder can't be written (MACHINE); an older `folder` is still there.
    """
    temporary = folder.with_name(f"{folder.name}.tmp-{os.getpid()}")
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        yield temporary
        _seal(temporary, about, unsealed)
        _replace_folder(folder, temporary)
    except OSError as error:
        shutil.rmtree(temporary, ignore_errors=True)
        raise disk_error(error, folder) from error
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def open_sealed(folder: Path, needed: Collection[str] = ()) -> dict[str, Any]:
    """The manifest's `about` of a folder whose every sealed file has been checked, those `needed` among them.

    Raises:
        UserError: the folder is missing, damaged, incomplete or of a newer mtx (MODEL).
    """
    try:
        content = json.loads(read_small_file(folder / MANIFEST, MAX_MANIFEST_BYTES))
        made_by, layout = content["mtx"], content["format"]
        if content["sha256"] != _manifest_digest(content):
            raise _unusable(folder, f"{MANIFEST}: wrong checksum")
        if layout != FORMAT:
            what = f"written by mtx {made_by} in format {layout}; this mtx {__version__} reads format {FORMAT}"
            raise UserError(ExitCode.MODEL, what[:200], where=str(folder), do="Use a matching mtx.")
        manifest = Manifest.model_validate(content)
    except FileNotFoundError:
        raise _unusable(folder, f"no {MANIFEST}") from None
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise _unusable(folder, f"unreadable {MANIFEST}") from None
    for name in needed:
        if name not in manifest.files:
            raise _unusable(folder, f"{name}: not in {MANIFEST}")
    for name, seal in manifest.files.items():
        path = folder / name
        try:
            check_regular(path)
            is_whole = path.stat().st_size == seal.size and _sha256(path) == seal.sha256
        except FileNotFoundError:
            raise _unusable(folder, f"{name}: missing") from None
        except ValueError as error:
            raise _unusable(folder, f"{name}: {error}") from None
        except OSError as error:
            raise _unusable(folder, f"{name}: {error.strerror}") from error
        if not is_whole:
            raise _unusable(folder, f"{name}: wrong checksum")
    return manifest.about


def remove_leftovers(parent: Path) -> None:
    """Delete what a killed process left half-written in `parent`."""
    for path in [*parent.glob("*.tmp-*"), *parent.glob("*.old-*")]:
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink()


def write_file(path: Path, data: bytes) -> None:
    """Write one file so that readers see the old content or the new, never a part.

    Raises:
        UserError: the disk is full or the file can't be written (MACHINE).
    """
    temporary = path.with_name(f"{path.name}.tmp-{os.getpid()}")
    try:
        if path.exists() and not path.is_file():  # a pipe or a device, such as /dev/null, must not be replaced
            path.write_bytes(data)
            return
        temporary.write_bytes(data)
        _sync(temporary)
        temporary.replace(path)
        _sync(path.parent)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise disk_error(error, path) from error


def disk_error(error: OSError, path: Path) -> UserError:
    """What the user should read when the system could not write `path`."""
    is_full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    remedy = "Free some space and run the same command again." if is_full else "Check the folder and its permissions."
    return UserError(ExitCode.MACHINE, f"cannot write: {error.strerror}", where=str(path), do=remedy)


def _seal(folder: Path, about: Mapping[str, Any], unsealed: Collection[str]) -> None:
    files = {}
    for path in sorted(folder.iterdir()):
        _sync(path)
        if path.name not in unsealed:
            files[path.name] = {"size": path.stat().st_size, "sha256": _sha256(path)}
    manifest: dict[str, Any] = {"format": FORMAT, "mtx": __version__, "about": dict(about), "files": files}
    manifest["sha256"] = _manifest_digest(manifest)
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
    _sync(folder / MANIFEST)
    _sync(folder)


def _replace_folder(folder: Path, new: Path) -> None:
    """Rename `new` to `folder`; should that fail, an older `folder` stays what it was."""
    old = folder.with_name(f"{folder.name}.old-{os.getpid()}")
    if folder.exists():
        folder.rename(old)
    try:
        new.rename(folder)
        _sync(folder.parent)
    except OSError:
        shutil.rmtree(folder, ignore_errors=True)
        if old.exists():
            old.rename(folder)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _manifest_digest(manifest: Mapping[str, Any]) -> str:
    """sha256 of what the manifest says, apart from this digest itself."""
    content = {key: value for key, value in manifest.items() if key != "sha256"}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


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
