"""Sealed folders: whole or not there, and damage is noticed.

A folder is written beside its place, every file flushed to the disk, a manifest with sizes and sha256 last, and is
then renamed into place. Neither safetensors nor any other format of weights notices a flipped bit by itself.
"""

import errno
import hashlib
import json
import shutil
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mtx import __version__
from mtx.errors import ExitCode, UserError, machine_error
from mtx.files.atomic import make_folder, outgoing_name, sync, temporary_name
from mtx.files.manifest import Manifest
from mtx.files.untrusted import check_regular, read_small_file

FORMAT = 1
"""Version of the layout of folders; raised when an older mtx could not read a newer folder.

In every format the manifest has `mtx`, `format` and `sha256`, so that damage is told from another format.
"""

MANIFEST = "manifest.json"
MAX_MANIFEST_BYTES = 1 << 20


class DamagedError(UserError):
    """A folder is not as it was sealed: incomplete, or changed since."""

    def __init__(self, folder: Path, why: str) -> None:
        super().__init__(ExitCode.MODEL, f"unusable: {why}", where=str(folder), do="Copy or train it again.")
        self.why = why


@contextmanager
def sealed_folder(folder: Path, about: Mapping[str, Any], *, unsealed: Collection[str] = ()) -> Iterator[Path]:
    """A new folder to fill; it takes the place of `folder`, complete, when the block ends without an error.

    `about` goes into the manifest. Files named in `unsealed` may be edited later.

    Raises:
        UserError: the disk is full or the folder can't be written (MACHINE); an older `folder` is still there.
    """
    temporary = temporary_name(folder)
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        make_folder(folder.parent)
        temporary.mkdir()
        yield temporary
        _seal(temporary, about, unsealed)
        _replace_folder(folder, temporary)
    except OSError as error:
        shutil.rmtree(temporary, ignore_errors=True)
        raise machine_error(error, "cannot write", folder) from error
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def open_sealed(folder: Path, needed: Collection[str] = ()) -> dict[str, Any]:
    """The manifest's `about` of a folder whose every sealed file has been checked, those `needed` among them.

    Raises:
        DamagedError: the folder is missing, damaged or incomplete (MODEL).
        UserError: the machine can't read it (MACHINE); another mtx wrote it, in a format that this one can't (MODEL).
    """
    try:
        content = json.loads(read_small_file(folder / MANIFEST, MAX_MANIFEST_BYTES))
        made_by, layout = content["mtx"], content["format"]
        if content["sha256"] != _manifest_digest(content):
            raise DamagedError(folder, f"{MANIFEST}: wrong checksum")
        if layout != FORMAT:
            what = f"written by mtx {made_by} in format {layout}; this mtx {__version__} reads format {FORMAT}"
            raise UserError(ExitCode.MODEL, what[:200], where=str(folder), do="Use a matching mtx.")
        manifest = Manifest.model_validate(content)
    except FileNotFoundError:
        raise DamagedError(folder, f"no {MANIFEST}") from None
    except OSError as error:
        raise _unreadable(folder / MANIFEST, error) from error
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise DamagedError(folder, f"unreadable {MANIFEST}") from None
    for name in needed:
        if name not in manifest.files:
            raise DamagedError(folder, f"{name}: not in {MANIFEST}")
    for name, seal in manifest.files.items():
        path = folder / name
        try:
            check_regular(path)
            is_whole = path.stat().st_size == seal.size and _sha256(path) == seal.sha256
        except FileNotFoundError:
            raise DamagedError(folder, f"{name}: missing") from None
        except ValueError as error:
            raise DamagedError(folder, f"{name}: {error}") from None
        except OSError as error:
            raise _unreadable(path, error) from error
        if not is_whole:
            raise DamagedError(folder, f"{name}: wrong checksum")
    return manifest.about


def _seal(folder: Path, about: Mapping[str, Any], unsealed: Collection[str]) -> None:
    files = {}
    for path in sorted(folder.iterdir()):
        sync(path)
        if path.name not in unsealed:
            files[path.name] = {"size": path.stat().st_size, "sha256": _sha256(path)}
    manifest: dict[str, Any] = {"format": FORMAT, "mtx": __version__, "about": dict(about), "files": files}
    manifest["sha256"] = _manifest_digest(manifest)
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
    sync(folder / MANIFEST)
    sync(folder)


def _replace_folder(folder: Path, new: Path) -> None:
    """Rename `new` to `folder`; should that fail, an older `folder` stays what it was."""
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


def _manifest_digest(manifest: Mapping[str, Any]) -> str:
    """sha256 of what the manifest says, apart from this digest itself."""
    content = {key: value for key, value in manifest.items() if key != "sha256"}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _unreadable(path: Path, error: OSError) -> UserError:
    """What the user should read when the system could not read `path`, which may be whole."""
    if error.errno in (errno.EISDIR, errno.ENOTDIR, errno.ELOOP):  # no file, whoever reads it
        return DamagedError(path.parent, f"{path.name}: {error.strerror}")
    return machine_error(error, "cannot read", path)
