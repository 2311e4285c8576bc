"""Digests of large files are remembered, and never those of a file that was changed."""

import hashlib
import os
import time
from pathlib import Path

import pytest

from mtx.data.prepared import fingerprint
from mtx.data.prepared.fingerprint import MIN_CACHED_BYTES, SETTLED_SECONDS, file_digest


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MTX_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """All files were changed long ago."""
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + 2 * SETTLED_SECONDS)


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def forbid_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hashlib, "file_digest", lambda *_: pytest.fail("read again"))


@pytest.mark.usefixtures("settled")
def test_a_large_file_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "large"
    path.write_bytes(bytes(MIN_CACHED_BYTES))
    assert file_digest(path) == sha256(path)
    expected = sha256(path)
    forbid_reading(monkeypatch)
    assert file_digest(path) == expected
    monkeypatch.chdir(tmp_path)
    assert file_digest(Path("large")) == expected


@pytest.mark.usefixtures("settled")
def test_a_change_is_noticed_although_size_and_time_are_the_same(tmp_path: Path) -> None:
    path = tmp_path / "large"
    path.write_bytes(bytes(MIN_CACHED_BYTES))
    before, first = path.stat(), file_digest(path)
    other = b"x" + bytes(MIN_CACHED_BYTES - 1)
    path.write_bytes(other)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert file_digest(path) == hashlib.sha256(other).hexdigest() != first
    new = tmp_path / "new"
    new.write_bytes(bytes(MIN_CACHED_BYTES))
    os.utime(new, ns=(before.st_atime_ns, before.st_mtime_ns))
    new.replace(path)
    assert file_digest(path) == first


def test_what_was_changed_just_now_is_not_remembered(tmp_path: Path, cache: Path) -> None:
    path = tmp_path / "large"
    path.write_bytes(bytes(MIN_CACHED_BYTES))
    assert file_digest(path) == sha256(path)
    assert not list(cache.rglob("*.json"))


@pytest.mark.usefixtures("settled")
def test_small_files_leave_no_note(tmp_path: Path, cache: Path) -> None:
    (tmp_path / "small").write_bytes(b"text")
    assert file_digest(tmp_path / "small") == sha256(tmp_path / "small")
    assert not (cache / "digests").exists()


@pytest.mark.usefixtures("settled")
def test_a_damaged_note_is_not_believed(tmp_path: Path, cache: Path) -> None:
    path = tmp_path / "large"
    path.write_bytes(bytes(MIN_CACHED_BYTES))
    file_digest(path)
    (note,) = (cache / "digests").iterdir()
    for damage in (b"", b"[]", b'[[1], "x"]', note.read_bytes()[:-3], b"\xff"):
        note.write_bytes(damage)
        assert file_digest(path) == sha256(path)


@pytest.mark.usefixtures("settled")
def test_it_works_without_a_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "large"
    path.write_bytes(bytes(MIN_CACHED_BYTES))
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("MTX_CACHE", str(tmp_path / "file" / "cache"))
    assert file_digest(path) == sha256(path)
    monkeypatch.setattr(fingerprint, "cache_folder", lambda: Path("/proc"))
    assert file_digest(path) == sha256(path)


@pytest.mark.parametrize("name", ["data/sources/tsv.py", "data/cleaning/rules.py", "text/tokenizer.py"])
def test_each_edit_of_the_code_that_prepares_data_is_noticed(name: str, tmp_path: Path) -> None:
    for folder in fingerprint.PREPARING:
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / name).write_text("LIMIT = 3\n")
    before = fingerprint.code_digest(tmp_path)
    (tmp_path / name).write_text("LIMIT = 4\n")
    assert fingerprint.code_digest(tmp_path) != before
    (tmp_path / name).write_text("LIMIT = 3\n")
    (tmp_path / "data" / "batching.py").write_text("")
    assert fingerprint.code_digest(tmp_path) == before
    assert fingerprint.code_digest() == fingerprint.code_digest() != before
