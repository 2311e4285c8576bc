"""Sealed folders: complete or absent, and damage is detected.

A folder is written under a temporary name, with a manifest of sizes and sha256 last, flushed to the disk and renamed.
Without the manifest nothing detects a flipped bit: formats of weights, such as safetensors, do not.
"""

import hashlib
import json
import shutil
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, Field, StringConstraints

from mtx import __version__
from mtx.errors import ExitCode, UserError, machine_error
from mtx.files.atomic import make_folder, replace_folder, sync, temporary_name
from mtx.files.untrusted import check_regular, read_small_file

FORMAT = 1  # Version of the layout, increased when an older mtx could not read a newer folder
MANIFEST = "manifest.json"
MAX_MANIFEST_BYTES = 1 << 20


class Seal(BaseModel, extra="forbid", frozen=True, strict=True):
    """Size and checksum of a sealed file."""

    size: int = Field(ge=0)
    sha256: str


class Manifest(BaseModel, extra="forbid", frozen=True, strict=True):
    """The content of `manifest.json`. A stranger may have written it, so everything is validated before use."""

    # Every format has `format`, `mtx` and `sha256`, so that another one is not mistaken for damage.
    format: int
    mtx: str
    about: dict[str, Any]
    files: dict[Annotated[str, StringConstraints(pattern="^[A-Za-z0-9][A-Za-z0-9._-]{0,254}$")], Seal]
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
        raise machine_error(error, "cannot write", folder) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def open_sealed(folder: Path, needed: Collection[str] = ()) -> dict[str, Any]:
    """Check all sealed files of a folder, which must include those `needed`, and return the `about` of its manifest.

    Raises:
        DamagedError: the folder is missing, damaged or incomplete (MODEL).
        UserError: the system can't read it (MACHINE), or it has the format of another version of mtx (MODEL).
    """
    with _explain_damage(folder / MANIFEST):
        manifest = _read_manifest(folder)
    for name in needed:
        if name not in manifest.files:
            raise DamagedError(folder, f"{name}: not in {MANIFEST}")
    for name, seal in manifest.files.items():
        path = folder / name
        with _explain_damage(path):
            check_regular(path)
            if path.stat().st_size != seal.size or _sha256(path) != seal.sha256:
                raise ValueError("wrong checksum")
    return manifest.about


def _read_manifest(folder: Path) -> Manifest:
    try:
        content = json.loads(read_small_file(folder / MANIFEST, MAX_MANIFEST_BYTES))
        made_by, layout = content["mtx"], content["format"]
        if content["sha256"] != _manifest_digest(content):
            raise DamagedError(folder, f"{MANIFEST}: wrong checksum")
        if layout != FORMAT:
            what = f"written by mtx {made_by} in format {layout}; this mtx {__version__} reads format {FORMAT}"
            raise UserError(ExitCode.MODEL, what[:200], where=str(folder), do="Use a matching mtx.")
        return Manifest.model_validate(content)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise ValueError("unreadable") from None


@contextmanager
def _explain_damage(path: Path) -> Iterator[None]:
    """Turn a ValueError about `path` or its absence into a DamagedError, other errors of the system into MACHINE."""
    try:
        yield
    except (FileNotFoundError, NotADirectoryError):
        raise DamagedError(path.parent, f"no {path.name}") from None
    except ValueError as error:
        raise DamagedError(path.parent, f"{path.name}: {error}") from None
    except OSError as error:  # the file may be undamaged
        raise machine_error(error, "cannot read", path) from error


def _seal(folder: Path, about: Mapping[str, Any], unsealed: Collection[str]) -> None:
    paths = sorted(folder.iterdir())
    for path in filter(Path.is_file, paths):
        sync(path)
    files = {p.name: {"size": p.stat().st_size, "sha256": _sha256(p)} for p in paths if p.name not in unsealed}
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
