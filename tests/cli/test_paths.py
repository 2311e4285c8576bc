"""Files as they are given: packed by their suffix, stdin as -, `~` for the home, quotes where a shell needs them."""

import gzip
import lzma
import shlex
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

if TYPE_CHECKING:
    from .conftest import Mtx

UNPACK: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.decompress, ".xz": lzma.decompress, ".zst": zstd.decompress, ".txt": bytes,
}  # fmt: skip


@pytest.mark.parametrize("suffix", UNPACK)
def test_output_is_packed_by_its_suffix(suffix: str, mtx: "Mtx", finished_run: Path, tmp_path: Path) -> None:
    texts = b"The dog sees a cat.\nThe man knows a bird.\n"
    plain = mtx("translate", "-m", finished_run, "--beam", 1, stdin=texts).out.encode()
    for _ in range(2):  # the same bytes each time: they hold no time
        assert mtx("translate", "-m", finished_run, "--beam", 1, "-o", f"out{suffix}", stdin=texts).code == 0
        written = (tmp_path / f"out{suffix}").read_bytes()
        assert UNPACK[suffix](written) == plain
        assert (written == plain) == (suffix == ".txt")
    again = mtx("translate", "-m", finished_run, "--beam", 1, "-i", f"out{suffix}", "-o", "again.gz")
    assert again.code == 0
    assert gzip.decompress((tmp_path / "again.gz").read_bytes()).count(b"\n") == 2
    (tmp_path / "ref").write_bytes(plain)
    scored = mtx("evaluate", "--hyp", f"out{suffix}", "--ref", "ref", "--save-hyp", f"hyp{suffix}", "--min", "chrf=100")
    assert scored.code == 0, scored.err
    assert UNPACK[suffix]((tmp_path / f"hyp{suffix}").read_bytes()) == plain


def test_a_failed_command_leaves_no_packed_file(mtx: "Mtx", finished_run: Path, tmp_path: Path) -> None:
    assert mtx("translate", "-m", finished_run, "-o", "out.gz", stdin=b"ok\n\xff\n").code == 3
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("given", ["--hyp", "--ref"])
def test_evaluate_reads_stdin(given: str, mtx: "Mtx", tmp_path: Path) -> None:
    text = "Der Hund sieht die Katze.\nJa, das ist so.\n"
    (tmp_path / "file").write_text(text)
    other = {"--hyp": "--ref", "--ref": "--hyp"}[given]
    answer = mtx("evaluate", given, "-", other, "file", "--min", "chrf=100", stdin=gzip.compress(text.encode()))
    assert answer.code == 0, answer.err
    answer = mtx("evaluate", given, "-", other, "file", stdin=b"one\n")
    assert answer.code == 3
    assert "stdin" in answer.err
    answer = mtx("evaluate", "--hyp", "-", "--ref", "-", stdin=text.encode())
    assert (answer.code, "stdin (-) given for two files" in answer.err) == (2, True)


def test_evaluate_reads_sources_from_stdin(mtx: "Mtx", finished_run: Path, tmp_path: Path) -> None:
    (tmp_path / "ref").write_text("Der Hund sieht einen Kater.\n")
    answer = mtx("evaluate", "-m", finished_run, "--src", "-", "--ref", "ref", stdin=b"The dog sees a cat.\n")
    assert (answer.code, "1 sentences" in answer.out) == (0, True), answer.err


def test_home_is_expanded_wherever_a_path_is_given(
    mtx: "Mtx", finished_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    shutil.copytree(finished_run, home / "run")
    monkeypatch.setenv("HOME", str(home))
    (home / "in").write_text("The dog sees a cat.\n")
    (home / "ref").write_text("Der Hund sieht einen Kater.\n")
    (home / "my.yaml").write_text("data: {train: [{src: ~/in, tgt: ~/ref}]}\n")
    commands = [
        ["translate", "--model=~/run", "--input=~/in", "--output=~/out"],
        ["evaluate", "--hyp=~/out", "--ref=~/ref", "--save-hyp=~/hyp.gz", "--report=~/report.html"],
        ["evaluate", "--model=~/run", "--src=~/in", "--ref=~/ref"],
        ["config", "validate", "~/my.yaml"],
        ["data", "check", "--config=~/my.yaml", "--html=~/page.html"],
        ["data", "clean", "--config=~/my.yaml", "--output=~/cleaned"],
        ["tokenizer", "train", "~/in", "~/ref", "--output=~/spm.model", "--vocab-size=280"],
        ["tokenizer", "encode", "--model=~/spm.model"],
        ["train", "--config=~/my.yaml", "--run-dir=~/new", "--dry-run", *SMALL],
    ]
    for command in commands:
        answer = mtx(*command)
        assert answer.code == 0, (command, answer.err)
    for name in ("out", "hyp.gz", "page.html", "report.html", "cleaned/train.en", "spm.model"):
        assert (home / name).is_file(), name
    assert mtx("translate", "-m", "~/run", "~5 dogs").out.count("\n") == 1, "a sentence is no path"
    assert [path.name for path in tmp_path.iterdir() if path.name != "cache"] == ["home"]
    # A folder that is really called so has a name that says it.
    (tmp_path / "~").mkdir()
    assert mtx("translate", "-m", "~/run", "-i", "~/in", "-o", "./~/out").code == 0
    assert (tmp_path / "~" / "out").is_file()


SMALL = [
    "tokenizer.vocab_size=280", "model.d_model=8", "model.num_heads=1", "model.d_ff=8", "train.max_steps=2",
    "train.warmup_steps=1",
]  # fmt: skip


def test_the_next_commands_are_quoted(mtx: "Mtx", tmp_path: Path) -> None:
    for language in ("en", "de"):
        (tmp_path / f"train.{language}").write_text("a b c d e f\n" * 3)
    (tmp_path / "my.yaml").write_text("data: {train: [{src: train.en, tgt: train.de}]}\n")
    run = "the boss's runs; $HOME"
    answer = mtx("train", "--config", "my.yaml", "--run-dir", run, *SMALL, "model.encoder_layers=1")
    assert answer.code == 0, answer.err
    line = next(line for line in answer.err.splitlines() if line.startswith("next: "))
    assert shlex.split(line).count(run) == 2


def test_more_translations_than_the_beam_holds_are_refused(mtx: "Mtx", finished_run: Path) -> None:
    ask = ["translate", "-m", finished_run, "--format", "jsonl", "The dog sees a cat."]
    for given in (["--beam", 2, "--n-best", 10], ["--n-best", 10]):
        answer = mtx(*ask, *given)
        assert (answer.code, answer.out, len(answer.errors)) == (2, "", 1)
        assert f"--n-best 10 is above the beam size, {2 if '--beam' in given else 5}" in answer.err
        assert "Add --beam 10" in answer.err
    assert mtx(*ask, "--beam", 10, "--n-best", 10).code == 0
    assert mtx(*ask, "--n-best", 5).code == 0
