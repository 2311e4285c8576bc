"""Sealed folders: complete or absent, and damage is detected.

A folder is written under a temporary name, with a manifest of sizes and sha256 last, flushed to the disk and renamed.
The manifest is needed because safetensors and other formats of weights do not detect a flipped bit.
"""

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, Field

from mtx import __version__
from mtx.errors import ExitCode, UserError, machine_error
from mtx.files.atomic import make_folder, replace_folder, sync, temporary_name
from mtx.files.untrusted import check_regular, read_small_file

FORMAT = 1
"""Version of the layout of folders, increased when an older mtx could not read a newer folder.

Every version has `mtx`, `format` and `sha256` in its manifest, so that another format is not mistaken for damage.
"""

MANIFEST = "manifest.json"
MAX_MANIFEST_BYTES = 1 << 20


def _file_name(name: str) -> str:
    if name in ("", ".", "..") or "/" in name or "\0" in name or len(os.fsencode(name)) > 255:
        raise ValueError("not the name of a file")
    return name


class Seal(BaseModel, extra="forbid", frozen=True, strict=True):
    """Size and checksum of a sealed file."""

    size: int = Field(ge=0)
    sha256: str


class Manifest(BaseModel, extra="forbid", frozen=True, strict=True):
    """The content of `manifest.json`. A stranger may have written it, so everything is validated before use."""

    format: int
    mtx: str
    about: dict[str, Any]
    files: dict[Annotated[str, AfterValidator(_file_name)], Seal]
    sha256: str  # Digest of all other keys


class DamagedError(UserError):
    """A folder is incomplete, or was changed after it was sealed."""

    def __init__(self, folder: Path, why: str) -> None:
        super().__init__(ExitCode.MODEL, f"unusable: {why}", where=str(folder), do="Copy or train it again.")
        self.why = why


@contextmanager
def sealed_folder(folder: Path, about: Mapping[str, Any], *, unsealed: Collection[str] = ()) -> Iterator[Path]:
    """A new folder to fill; when the block ends without an error, the complete folder replaces `folder`.

    `about` is stored in the manifest. Files named in `unsealed` have no checksum, so they may be edited later.

    Raises:
        UserError: the disk is full or the folder can't be written (MACHINE); an existing `folder` stays.
    """
    temporary = temporary_name(folder)
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        make_folder(folder.parent)
        temporary.mkdir()
        yield temporary
        _seal(temporary, about, unsealed)
        replace_folder(folder, temporary)
    except OSError as error:
        shutil.rmtree(temporary, ignore_errors=True)
        raise machine_error(error, "cannot write", folder) from error
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def open_sealed(folder: Path, needed: Collection[str] = ()) -> dict[str, Any]:
    """Check all sealed files of a folder, which must include those `needed`, and return the `about` of its manifest.

    Raises:
        DamagedError: the folder is missing, damaged or incomplete (MODEL).
        UserError: the system can't read it (MACHINE), or it has the format of another version of mtx (MODEL).
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


def _manifest_digest(manifest: Mapping[str, Any]) -> str:
    """sha256 of the manifest without this digest itself."""
    content = {key: value for key, value in manifest.items() if key != "sha256"}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _unreadable(path: Path, error: OSError) -> UserError:
    """The error to report when the system could not read `path`, which may be undamaged."""
    if error.errno in (errno.EISDIR, errno.ENOTDIR, errno.ELOOP):  # no file, whoever reads it
        return DamagedError(path.parent, f"{path.name}: {error.strerror}")
    return machine_error(error, "cannot read", path)
