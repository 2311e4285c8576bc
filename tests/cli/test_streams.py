"""Input and output: complete files or none, early errors, constant memory, UTF-8 in any locale."""

import os
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mtx.cli.streams import path_text, refuse_overwriting
from mtx.config.decoding import DecodeOptions
from mtx.decode.translator import Candidate, Translation
from mtx.errors import UserError

if TYPE_CHECKING:
    from .conftest import Mtx


class Echo:
    """Fake translator that returns each line in capitals, and fails on request."""

    failing: str | None = None
    trained = None
    options = DecodeOptions(tag="2de")  # given, so that none is missed

    def translate(self, lines: Sequence[str]) -> Iterator[Translation]:
        for line in lines:
            if line == self.failing:
                raise KeyboardInterrupt
            yield Translation(line, (Candidate(line.upper(), 0.0),), 1)


@pytest.fixture
def echo(monkeypatch: pytest.MonkeyPatch) -> Echo:
    """Translator that `mtx translate` uses in place of a model."""
    echo = Echo()
    # `mtx.cli.translate` is the command, not the module.
    monkeypatch.setattr(sys.modules["mtx.cli.translate"], "load_translator", lambda *_, **__: echo)
    return echo


# --- files ---


@pytest.mark.parametrize("output", ["nowhere/out", "folder", "file/below", "x" * 300])
@pytest.mark.parametrize(
    "command",
    [
        ["translate", "-m", "nowhere", "-o"],
        ["evaluate", "--hyp", "nowhere", "--ref", "nowhere", "--save-hyp"],
        ["tokenizer", "train", "nowhere", "-o"],
    ],
)
def test_an_unwritable_output_is_reported_before_any_work(
    mtx: "Mtx", command: list[str], output: str, tmp_path: Path
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    answer = mtx(*command, output)
    assert answer.code == 5, answer.err
    assert f"({output})" in answer.errors[0]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


def test_an_interrupted_translation_leaves_the_old_output(mtx: "Mtx", echo: Echo, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("older\n")
    echo.failing = "c"
    answer = mtx("translate", "-o", "out", stdin=b"a\nb\nc\nd\n")
    assert answer.code == 130
    assert (tmp_path / "out").read_text() == "older\n"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    echo.failing = None
    assert mtx("translate", "-o", "out", stdin=b"a\nb\nc\nd\n").code == 0
    assert (tmp_path / "out").read_text() == "A\nB\nC\nD\n"


@pytest.mark.parametrize("to_file", [True, False])
def test_memory_does_not_grow_with_the_input(mtx: "Mtx", echo: Echo, tmp_path: Path, to_file: bool) -> None:
    peaks = []
    for num_lines in (10_000, 100_000):
        (tmp_path / "in").write_bytes(b"A line of some length, as lines are.\n" * num_lines)
        tracemalloc.start()
        answer = mtx("translate", "-i", "in", *(["-o", "out"] if to_file else ["-o", "/dev/null"]))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert answer.code == 0
    assert peaks[1] - peaks[0] < 500_000
    assert not to_file or (tmp_path / "out").stat().st_size == (tmp_path / "in").stat().st_size


def test_an_output_cannot_be_an_input_under_another_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, other = tmp_path / "file", tmp_path / "other"
    file.touch()
    other.touch()
    (tmp_path / "link").symlink_to("file")
    (tmp_path / "twin").hardlink_to(file)
    for name in ("file", "link", "twin", "../" + tmp_path.name + "/file"):
        with pytest.raises(UserError, match=rf"the output is the input .*file \(.*{name}\)"):
            refuse_overwriting(tmp_path / name, [other, file])
    with file.open() as stream:
        monkeypatch.setattr(sys, "stdin", stream)
        for stdin in (None, Path("-")):
            with pytest.raises(UserError, match="the output is the input stdin"):
                refuse_overwriting(tmp_path / "link", [stdin])
        refuse_overwriting(other, [None, file])
    refuse_overwriting(None, [file])
    with file.open("a") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        refuse_overwriting(None, [file])  # an empty input is harmless
        other.write_text("some")
        refuse_overwriting(None, [other])
        file.write_text("some")
        for output in (None, Path("-")):
            with pytest.raises(UserError, match=r"the output is the input .*file \(stdout\)"):
                refuse_overwriting(output, [other, file])
    refuse_overwriting(tmp_path / "new", [tmp_path / "new", file])
    refuse_overwriting(Path("/dev/null"), [Path("/dev/null")])


# --- stdin and stdout ---

PRINTING = {
    "version": ["--version"],
    "show": ["config", "show"],
    "schema": ["config", "schema"],
    "validate": ["config", "validate", "RUN/config.yaml"],
    "translate": ["translate", "-m", "RUN", "--beam", "1", "a"],
    "evaluate": ["evaluate", "--hyp", "RUN/config.yaml", "--ref", "RUN/config.yaml"],
    "train": ["train", "--config", "RUN/config.yaml", "--run-dir", "RUN"],
    "tokenizer train": ["tokenizer", "train", "RUN/config.yaml", "--vocab-size", "400", "-o", "spm.model"],
    "encode": ["tokenizer", "encode", "-m", "RUN"],
    "decode": ["tokenizer", "decode", "-m", "RUN"],
}


@pytest.fixture
def redirect(capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Replace stdout by another open file, or close it for None; pytest restores its own."""

    def redirect(descriptor: int | None) -> None:
        if descriptor is None:
            os.close(1)
            monkeypatch.setattr(sys, "stdout", None)
        else:
            os.dup2(descriptor, 1)
            monkeypatch.setattr(sys, "stdout", open(1, "w", closefd=False))  # noqa: SIM115

    return redirect


def arguments_of(command: str, run: Path) -> list[str]:
    return [part.replace("RUN", str(run)) for part in PRINTING[command]]


@pytest.mark.parametrize("command", PRINTING)
def test_an_unwritable_stdout_is_an_error(
    mtx: "Mtx", finished_run: Path, command: str, redirect: Callable[[int], None]
) -> None:
    with open("/dev/full", "w") as full:
        redirect(full.fileno())
        answer = mtx(*arguments_of(command, finished_run), stdin=b"a\n")
    assert answer.code == 5
    assert answer.errors == [
        "mtx: error: cannot write: No space left on device (stdout). Free some space and run the same command again."
    ]
    sys.stdout.flush()  # as Python does at exit


@pytest.mark.process
@pytest.mark.parametrize("closed", [">&-", "<&- >&-", ">&- 2>&-", ">/dev/full"])
def test_closed_standard_streams_are_handled(closed: str) -> None:
    script = f"{sys.executable} -m mtx config show {closed}; echo $?"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "5\n"
    assert done.stderr.count("\n") == ("2>" not in closed)


@pytest.mark.parametrize("command", [name for name in PRINTING if name != "version"])
def test_a_closed_output_pipe_is_not_an_error_message(
    mtx: "Mtx", finished_run: Path, command: str, redirect: Callable[[int], None]
) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    redirect(writing)
    os.close(writing)
    answer = mtx(*arguments_of(command, finished_run), stdin=b"a\n")
    assert (answer.code, answer.errors) == (141, [])
    sys.stdout.flush()


@pytest.mark.parametrize(
    "command",
    [["translate"], ["translate", "-i", "-"], ["tokenizer", "train"], ["tokenizer", "encode", "-m", "RUN"]],
)
def test_a_closed_stdin_is_an_error(mtx: "Mtx", echo: Echo, finished_run: Path, command: list[str]) -> None:
    answer = mtx(*(part.replace("RUN", str(finished_run)) for part in command), stdin=None)
    assert answer.code == 3
    assert answer.errors == [
        "mtx: error: cannot read stdin: bad file descriptor. Give a text file that exists and can be read."
    ]


def test_an_input_that_is_not_a_text_file_is_an_error(mtx: "Mtx", echo: Echo, tmp_path: Path) -> None:
    for name, reason in ((".", "is a directory"), ("x" * 300, "file name too long"), ("nowhere", "no such file")):
        answer = mtx("translate", "--input", name)
        assert answer.code == 3
        assert f"cannot read {name}: {reason}" in answer.errors[0]
    (tmp_path / "stdin").write_text("a file of that name\n")
    assert mtx("translate", "--input", "stdin", stdin=b"no\n").out == "A FILE OF THAT NAME\n"
    assert mtx("translate", "--input", "-", stdin=b"yes\n").out == "YES\n"


# --- encodings ---

C_LOCALE = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


def test_a_path_is_printed_byte_for_byte(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsencode", lambda path: str(path).encode("latin-1"))  # as in such a locale
    assert path_text(Path("gr\xc3\xb6")) == "grö"
    assert path_text(Path("\xff")).encode("utf-8", "surrogateescape") == b"\xff"


def test_sentences_are_utf_8_in_any_locale(mtx: "Mtx", echo: Echo) -> None:
    assert mtx("translate", "größe".encode().decode("ascii", "surrogateescape"), "- ö").out == "GRÖSSE\n- Ö\n"
    answer = mtx("translate", "ok", "a\udcff")
    assert (answer.code, answer.out) == (3, "")
    assert "not UTF-8 (sentence 2 byte 2)" in answer.errors[0]
    assert mtx("translate", "--errors", "replace", "ok", "a\udcff").out == "OK\nA\ufffd\n"


@pytest.mark.process
@pytest.mark.parametrize("locale", ["C", "POSIX"])
def test_input_and_output_are_utf_8_in_any_locale(locale: str, tmp_path: Path, finished_run: Path) -> None:
    name = b"gr\xc3\xb6\xff.yaml"
    (tmp_path / os.fsdecode(name)).write_text("data: {train: [{tsv: é}]}", encoding="utf-8")
    (tmp_path / "bad.yaml").write_text("data: {train: [{tsv: a}]}\ntrain: {lr: é}", encoding="utf-8")

    def call(*arguments: bytes | str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        command = [sys.executable, "-m", "mtx", *arguments]
        environment = {**os.environ, **C_LOCALE, "LC_ALL": locale}
        return subprocess.run(command, env=environment, cwd=tmp_path, input=stdin, capture_output=True, check=False)

    assert call("config", "validate", name).stdout == name + b": ok\n"
    assert "got 'é'".encode() in call("config", "validate", "bad.yaml").stderr
    pieces = call("tokenizer", "encode", "-m", str(finished_run), stdin="hört\n".encode())
    assert "hört".encode() in pieces.stdout.replace(b" ", b"")
    if locale == "C":
        texts = ["Der Hund hört — ".encode(), "- é".encode()]
        given = call("translate", "-m", str(finished_run), "--format", "jsonl", *texts)
        assert given.returncode == 0, given.stderr
        assert [line.partition(b'", ')[0] for line in given.stdout.splitlines()] == [b'{"src": "' + t for t in texts]
