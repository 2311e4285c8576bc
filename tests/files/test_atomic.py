"""Atomic writes: readers see the old or the new file, whatever fails; other files are never touched."""

import os
import stat
from pathlib import Path

import pytest

from mtx.errors import DiskFullError, ExitCode, UserError
from mtx.files.atomic import make_folder, new_file, remove_leftovers, temporary_name, write_file
from tests.faults.calls import Call, failing_call, recorded_calls


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file with the content "old"."""
    (tmp_path / "out.txt").write_text("old")
    return tmp_path / "out.txt"


def write_twice(path: Path) -> None:
    with new_file(path) as file:
        file.write(b"new")
        file.flush()
        file.write(b"er")


def test_a_file_is_replaced_only_once_the_new_one_is_complete(path: Path) -> None:
    with new_file(path) as file:
        file.write(b"new")
        file.flush()
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert os.listdir(path.parent) == ["out.txt"]


def test_the_new_file_is_synced_before_it_replaces_the_old_one(path: Path) -> None:
    with recorded_calls() as calls:
        write_twice(path)
    half, folder = f"{path}.tmp-{os.getpid()}", str(path.parent)
    assert calls[0] == Call("unlink", half)
    assert calls[1:] == [
        Call("open", half), Call("write", half, data=b"new"), Call("write", half, data=b"er"), Call("fsync", half),
        Call("rename", half, str(path)), Call("fsync", folder),
    ]  # fmt: skip


@pytest.mark.parametrize("error", [28, 122, 27, 5, 30])
def test_a_disk_error_at_any_call_leaves_the_old_file(path: Path, error: int) -> None:
    with recorded_calls() as calls:
        write_twice(path)
    path.write_text("old")
    for number, call in enumerate(calls):
        with failing_call(number, error), pytest.raises(UserError, match=os.strerror(error)) as caught:
            write_twice(path)
        assert caught.value.code == ExitCode.MACHINE
        assert isinstance(caught.value, DiskFullError) == (error in (28, 122, 27))
        assert os.listdir(path.parent) == ["out.txt"], call
        is_in_place = number > [call.name for call in calls].index("rename")
        assert path.read_text() == ("newer" if is_in_place else "old"), call


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError, BrokenPipeError])
def test_an_error_inside_leaves_the_old_file(path: Path, error: type[BaseException]) -> None:
    def fail() -> None:
        with new_file(path) as file:
            file.write(b"half")
            raise error

    with pytest.raises(error):
        fail()
    assert path.read_text() == "old"
    assert os.listdir(path.parent) == ["out.txt"]


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_a_new_file_has_the_mode_of_the_umask_and_an_old_one_keeps_its_own(umask: int, path: Path) -> None:
    path.chmod(0o640)
    before = os.umask(umask)
    try:
        with new_file(path) as file:
            assert stat.S_IMODE(temporary_name(path).stat().st_mode) == 0o640  # before a byte is in it
            file.write(b"new")
        write_file(path.with_name("another"), b"text")
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert stat.S_IMODE(path.with_name("another").stat().st_mode) == 0o666 & ~umask


def test_the_target_of_a_link_is_replaced_not_the_link(path: Path) -> None:
    elsewhere = path.parent / "elsewhere"
    elsewhere.mkdir()
    for target, name in ((path, "to a file"), (path.with_name("new.txt"), "to nothing yet")):
        link = elsewhere / name
        link.symlink_to(os.path.relpath(target, elsewhere))
        write_file(link, b"new")
        assert link.is_symlink()
        assert target.read_text() == "new"
    assert sorted(os.listdir(elsewhere)) == ["to a file", "to nothing yet"]


def test_a_link_in_the_place_of_the_temporary_file_is_not_followed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    victim = path.with_name("victim")
    victim.write_text("mine")
    temporary_name(path).symlink_to(victim)
    write_file(path, b"new")
    assert (victim.read_text(), path.read_text()) == ("mine", "new")
    assert not path.is_symlink()
    monkeypatch.setattr(Path, "unlink", lambda self, missing_ok: self.is_symlink() or self.symlink_to(victim))
    with pytest.raises(UserError, match="File exists"):  # somebody is quicker
        write_file(path, b"newer")
    assert (victim.read_text(), path.read_text()) == ("mine", "new")


def test_a_pipe_is_written_to_not_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    write_file(tmp_path / "pipe", b"text")
    assert os.read(reader, 10) == b"text"
    os.close(reader)
    with pytest.raises(UserError, match="Is a directory"):
        write_file(tmp_path, b"text")


def test_every_new_folder_is_synced(tmp_path: Path) -> None:
    with recorded_calls() as calls:
        make_folder(tmp_path / "a" / "b")
        make_folder(tmp_path / "a" / "b")
    assert [(call.name, Path(call.path)) for call in calls] == [
        ("mkdir", tmp_path / "a"), ("fsync", tmp_path), ("mkdir", tmp_path / "a" / "b"), ("fsync", tmp_path / "a"),
    ]  # fmt: skip
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError):
        make_folder(tmp_path / "file" / "b")


def test_only_leftovers_of_mtx_are_removed(tmp_path: Path) -> None:
    ours = ["step-000009.old-12", "step-000009.tmp-12", "a.txt.tmp-1"]
    others = [
        "notes.tmp-12", "step-000009", "a.txt", "a.txt.tmp-", "a.txt.tmp-x", "a.txt.tmp-1.bak", "my a.txt.tmp-1",
        "step-x.tmp-1", "axtxt.tmp-1", "a.txt.tmp-٣",
    ]  # fmt: skip
    for name in [*ours[:2], *others[:2]]:
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").touch()
    for name in [ours[2], *others[2:]]:
        (tmp_path / name).touch()
    (tmp_path / "a.txt.old-7").symlink_to(tmp_path / "step-000009")
    assert remove_leftovers(tmp_path, [r"step-\d+", r"a\.txt"]) == sorted([*ours, "a.txt.old-7"])
    assert sorted(os.listdir(tmp_path)) == sorted(others)
    assert os.listdir(tmp_path / "step-000009") == ["file"]
    assert remove_leftovers(tmp_path / "missing", ["a"]) == []
