"""Manifests are not trusted: names must stay in the folder, sizes must be numbers, and extra entries are refused."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mtx.errors import ExitCode, UserError
from mtx.files.sealed import MAX_MANIFEST_BYTES, _manifest_digest, open_sealed, sealed_folder


@pytest.fixture
def sealed(tmp_path: Path) -> Path:
    """A folder with one sealed file; a secret lies beside it."""
    (tmp_path / "secret").write_text("secret")
    with sealed_folder(tmp_path / "folder", {"step": 7}) as new:
        (new / "file").write_text("text")
    return tmp_path / "folder"


def refusal(folder: Path, needed: tuple[str, ...] = ()) -> str:
    with pytest.raises(UserError) as caught:
        open_sealed(folder, needed)
    assert caught.value.code == ExitCode.MODEL
    assert str(folder) in str(caught.value)
    return str(caught.value)


def reseal(folder: Path, **changes: Any) -> None:
    """Change the manifest and its checksum, as anyone can who owns the folder."""
    manifest = json.loads((folder / "manifest.json").read_text()) | changes
    manifest["sha256"] = _manifest_digest(manifest)
    (folder / "manifest.json").write_text(json.dumps(manifest))


SECRET = {"size": 6, "sha256": "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b"}


def test_the_secret_file_would_pass_inside_the_folder(sealed: Path) -> None:
    (sealed / "secret").write_text("secret")
    reseal(sealed, files={"secret": SECRET})
    assert open_sealed(sealed, ["secret"]) == {"step": 7}


@pytest.mark.parametrize(
    "changes",
    [
        *[
            {"files": {name: SECRET}}
            for name in ("../secret", "/etc/hostname", "..", ".", "", "sub/file", "a\0", "a\n", "n" * 300)
        ],
        {"files": {"file": SECRET | {"size": float("inf")}}},
        {"files": {"file": SECRET | {"size": -1}}},
        {"files": {"file": SECRET | {"size": "6"}}},
        {"files": {"file": SECRET | {"sha256": ["x"]}}},
        {"files": {"file": SECRET | {"class": "os.system"}}},
        {"files": ["file"]},
        {"about": []},
        {"mtx": {"deep": 1}},
        {"class": "os.system"},
    ],
)
def test_a_manifest_that_mtx_would_not_write_is_refused(sealed: Path, changes: dict[str, Any]) -> None:
    reseal(sealed, **changes)
    assert "manifest.json: unreadable" in refusal(sealed)


@pytest.mark.parametrize(
    "make",
    [
        os.mkfifo,
        lambda path: path.symlink_to("/dev/zero"),
        lambda path: path.write_bytes(b" " * (MAX_MANIFEST_BYTES + 1)),
        lambda path: path.write_bytes(b'{"a":' * 100_000),
        lambda path: path.write_bytes(b"9" * 10_000),
    ],
    ids=["pipe", "endless", "large", "deep", "long number"],
)
def test_reading_a_manifest_neither_hangs_nor_fills_memory(sealed: Path, make: Callable[[Path], Any]) -> None:
    (sealed / "manifest.json").unlink()
    make(sealed / "manifest.json")
    assert "manifest.json: unreadable" in refusal(sealed)


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("../secret")], ids=["pipe", "link"])
def test_a_sealed_file_must_be_a_regular_file(sealed: Path, make: Callable[[Path], Any]) -> None:
    make(sealed / "secret")
    reseal(sealed, files={"secret": SECRET})
    assert "secret: not a regular file" in refusal(sealed)


def test_needed_files_must_be_sealed(sealed: Path) -> None:
    (sealed / "weights").write_text("not in the manifest")
    assert open_sealed(sealed, ["file"]) == open_sealed(sealed) == {"step": 7}
    assert "weights: not in manifest.json" in refusal(sealed, needed=("file", "weights"))
