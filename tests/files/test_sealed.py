"""Sealed folders: a folder is replaced completely or not at all, and any damage is noticed."""

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from mtx.checkpoint.tensors import load_tensors, save_tensors
from mtx.errors import DiskFullError, ExitCode, UserError
from mtx.files.sealed import FORMAT, DamagedError, _manifest_digest, open_sealed, sealed_folder
from tests.faults.calls import failing_call, recorded_calls

ABOUT = {"step": 7, "data": "ab12"}


def seal(folder: Path, value: float = 1.0) -> None:
    with sealed_folder(folder, ABOUT, unsealed=["README.md"]) as new:
        save_tensors(new / "weights.safetensors", {"w": torch.full((2, 3), value), "b": torch.zeros(1)})
        (new / "state.json").write_text(json.dumps({"step": 7}))
        (new / "README.md").write_text("A card.")


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def sealed(tmp_path: Path) -> Path:
    folder = tmp_path / "parent" / "step-000007"
    seal(folder)
    return folder


# --- whole ---


def test_a_sealed_folder_is_read_back(sealed: Path) -> None:
    assert open_sealed(sealed) == ABOUT
    assert load_tensors(sealed / "weights.safetensors")["w"].equal(torch.ones(2, 3))
    (sealed / "README.md").write_text("The card may be edited.")
    (sealed / "notes.txt").touch()
    assert open_sealed(sealed) == ABOUT


def test_the_same_tensors_give_the_same_bytes_in_any_order(tmp_path: Path) -> None:
    tensors = {"b": torch.ones(2), "a": torch.arange(6.0).reshape(2, 3).T}
    save_tensors(tmp_path / "one", tensors)
    save_tensors(tmp_path / "two", dict(reversed(tensors.items())))
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    assert load_tensors(tmp_path / "one")["a"].equal(tensors["a"])


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_modes_follow_the_umask(umask: int, tmp_path: Path) -> None:
    before = os.umask(umask)
    try:
        seal(tmp_path / "folder")
    finally:
        os.umask(before)
    assert (tmp_path / "folder").stat().st_mode & 0o777 == 0o777 & ~umask
    for path in (tmp_path / "folder").iterdir():
        assert path.stat().st_mode & 0o777 == 0o666 & ~umask, path


# --- damaged ---


def assert_unusable(folder: Path) -> None:
    with pytest.raises(DamagedError) as caught:
        open_sealed(folder)
    assert caught.value.code == ExitCode.MODEL
    assert str(folder) in str(caught.value)


def test_every_flipped_bit_is_noticed(sealed: Path) -> None:
    for name in ("weights.safetensors", "state.json", "manifest.json"):
        whole = (sealed / name).read_bytes()
        for position in range(len(whole)):
            flipped = bytearray(whole)
            flipped[position] ^= 1 << position % 8
            (sealed / name).write_bytes(flipped)
            assert_unusable(sealed)
        (sealed / name).write_bytes(whole)
    assert open_sealed(sealed) == ABOUT


@pytest.mark.parametrize("name", ["weights.safetensors", "state.json", "manifest.json"])
@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.unlink(),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(path.read_bytes()[:-2]),
        lambda path: path.write_bytes(path.read_bytes() + b"x"),
        lambda path: path.write_bytes(bytes(path.stat().st_size)),
        lambda path: (path.unlink(), path.mkdir()),
        lambda path: (path.rename(path.with_name("moved")), path.symlink_to("missing")),
    ],
)
def test_other_damage_is_noticed(sealed: Path, name: str, damage: Callable[[Path], Any]) -> None:
    damage(sealed / name)
    assert_unusable(sealed)


@pytest.mark.parametrize("name", ["state.json", "manifest.json"])
@pytest.mark.parametrize("number", [5, 13, 116])
def test_a_read_error_is_not_reported_as_damage(
    sealed: Path, monkeypatch: pytest.MonkeyPatch, name: str, number: int
) -> None:
    real_open = Path.open

    def bad_sector(self: Path, *args: Any, **kwargs: Any) -> Any:
        if self.name == name:
            raise OSError(number, os.strerror(number))
        return real_open(self, *args, **kwargs)

    monkeypatch.setattr(Path, "open", bad_sector)
    with pytest.raises(UserError, match=rf"cannot read: {os.strerror(number)} \(.*{name}\)") as caught:
        open_sealed(sealed)
    assert caught.value.code == ExitCode.MACHINE
    assert not isinstance(caught.value, DamagedError)


@pytest.mark.parametrize(
    "text", ["[]", "null", "{}", '{"mtx": 1, "format": 1, "about": {}, "files": 3}', "[" * 100_000, "\ud800", "x"]
)
def test_invalid_manifests_are_refused(sealed: Path, text: str) -> None:
    (sealed / "manifest.json").write_bytes(text.encode(errors="surrogatepass"))
    assert_unusable(sealed)


def test_a_newer_format_is_refused_by_name(sealed: Path) -> None:
    manifest = json.loads((sealed / "manifest.json").read_text())
    newer = {"format": FORMAT + 1, "mtx": "9.9", "about": ["new"], "sums": {}}
    newer["sha256"] = _manifest_digest(newer)
    (sealed / "manifest.json").write_text(json.dumps(newer))
    message = rf"mtx 9\.9 in format {FORMAT + 1}; this mtx .* reads format {FORMAT}"
    with pytest.raises(UserError, match=message) as caught:
        open_sealed(sealed)
    assert caught.value.code == ExitCode.MODEL
    assert not isinstance(caught.value, DamagedError)
    (sealed / "manifest.json").write_text(json.dumps(manifest | {"format": FORMAT + 2}))  # one bit flipped
    assert_unusable(sealed)


# --- interrupted ---


CHANGES = ("open", "write", "fsync", "mkdir", "rename")


@pytest.mark.parametrize(("error", "remedy"), [(28, "Free some space"), (5, "Check the disk")])
def test_a_disk_error_at_any_call_leaves_the_old_folder(sealed: Path, error: int, remedy: str) -> None:
    old = contents(sealed.parent)
    with recorded_calls() as calls:
        seal(sealed)
    assert {call.name for call in calls} == {*CHANGES, "unlink", "rmdir"}
    last = max(number for number, call in enumerate(calls) if call.name in CHANGES)
    for number in range(last + 1):
        message = re.escape(f"cannot write: {os.strerror(error)} ({sealed}). {remedy}")
        with failing_call(number, error), pytest.raises(UserError, match=message) as caught:
            seal(sealed, value=2.0)
        assert caught.value.code == ExitCode.MACHINE
        assert isinstance(caught.value, DiskFullError) == (error == 28)
        assert contents(sealed.parent) == old, calls[number]
        assert os.listdir(sealed.parent) == [sealed.name], calls[number]
    with failing_call(last + 1, error):
        seal(sealed, value=2.0)  # what makes room for it may fail
    assert load_tensors(sealed / "weights.safetensors")["w"].equal(torch.full((2, 3), 2.0))


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_an_exception_inside_leaves_no_files(sealed: Path, error: type[BaseException]) -> None:
    old = contents(sealed.parent)

    def fail() -> None:
        with sealed_folder(sealed, {}) as new:
            (new / "half").touch()
            raise error

    with pytest.raises(error):
        fail()
    assert contents(sealed.parent) == old
    assert os.listdir(sealed.parent) == [sealed.name]
