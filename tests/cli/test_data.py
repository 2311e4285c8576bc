"""`mtx data`: exit codes, output, and files that are complete or absent."""

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .conftest import Mtx

NUMBERS = range(40)


def write(folder: Path, name: str, *, seed: int = 0, extra: str = "") -> str:
    """Write 41 pairs into two files; returns them as a source of a config."""
    for language, words in (
        ("en", "The {} dogs see {} of the cats {}."),
        ("de", "Die {} Hunde sehen {} der Katzen {}."),
    ):
        lines = [words.format(number, "very " * (number % 7), seed) for number in NUMBERS]
        (folder / f"{name}.{language}").write_text("".join(f"{line}\n" for line in [*lines, *extra.split("\n")[:-1]]))
    return f"{{src: {folder / name}.en, tgt: {folder / name}.de}}"


@pytest.fixture
def arguments(tmp_path: Path) -> list[str]:
    """Overrides for data without problems."""
    sources = {name: write(tmp_path, name, seed=seed) for seed, name in enumerate(("train", "dev", "test"))}
    return [f"data.train=[{sources['train']}]", f"data.dev={sources['dev']}", f"data.test={sources['test']}"]


# --- check -----------------------------------------------------------------------------------------------------------


def test_sound_data_is_code_0(mtx: "Mtx", arguments: list[str]) -> None:
    answer = mtx("data", "check", *arguments)
    assert (answer.code, answer.err) == (0, "")
    assert answer.out.startswith("train: train.en and train.de: 40 pairs, 40 to train on\n")
    assert answer.out.endswith("\nno problems found\n")


def test_problems_are_code_1_and_one_line(mtx: "Mtx", arguments: list[str], tmp_path: Path) -> None:
    leaked = f"data.dev={write(tmp_path, 'dev')}"
    answer = mtx("data", "check", *arguments, leaked)
    assert (answer.code, len(answer.errors)) == (1, 1)
    assert "40 of 40 dev pairs are also in train (mtx data check). " in answer.err
    assert "\nproblem: 40 of 40 dev pairs are also in train\n" in answer.out
    answer = mtx("data", "check", *arguments, leaked, f"data.test={write(tmp_path, 'test')}")
    assert (answer.code, answer.errors[0].split(" (")[0]) == (1, "mtx: error: 3 problems")


def test_check_applies_overrides_to_a_config(mtx: "Mtx", tmp_path: Path) -> None:
    write(tmp_path, "train", extra="Paris\n")
    (tmp_path / "my.yaml").write_text("data: {train: [{src: train.en, tgt: train.de}]}\n")
    answer = mtx("data", "check", "--config", "my.yaml")
    assert (answer.code, "would drop           1  copies (clean.copies=drop)" in answer.out) == (0, True)
    answer = mtx("data", "check", "--config", "my.yaml", "clean.level=strict")
    assert (answer.code, "dropped              1  copies\n" in answer.out) == (0, True)
    assert "41 pairs, 40 to train on" in answer.out


def test_json_is_one_line_even_for_bad_data(mtx: "Mtx", arguments: list[str], tmp_path: Path) -> None:
    answer = mtx("data", "check", "--json", *arguments)
    assert (answer.code, answer.out.count("\n"), json.loads(answer.out)["problems"]) == (0, 1, [])
    answer = mtx("data", "check", "--json", *arguments, f"data.dev={write(tmp_path, 'dev')}")
    assert (answer.code, len(json.loads(answer.out)["problems"])) == (1, 1)


@pytest.mark.parametrize("is_sound", [True, False])
def test_the_page_is_written_with_and_without_problems(
    mtx: "Mtx", arguments: list[str], tmp_path: Path, is_sound: bool
) -> None:
    more = [] if is_sound else [f"data.dev={write(tmp_path, 'dev')}"]
    assert mtx("data", "check", "--html", "page.html", *arguments, *more).code == int(not is_sound)
    page = (tmp_path / "page.html").read_text()
    assert page.startswith("<!DOCTYPE html>")
    assert page.endswith("</html>\n")
    assert ("No problems found." in page) == is_sound


def test_the_page_never_overwrites_an_input(mtx: "Mtx", arguments: list[str], tmp_path: Path) -> None:
    before = (tmp_path / "dev.de").read_bytes()
    os.link(tmp_path / "dev.de", tmp_path / "link.html")
    for page in ("link.html", "dev.de", "-"):
        answer = mtx("data", "check", "--html", page, *arguments)
        assert (answer.code, len(answer.errors), answer.out) == (2, 1, "")
    assert (tmp_path / "dev.de").read_bytes() == before
    assert mtx("data", "check", "--html", "no/page.html", *arguments).code == 5


def test_bad_data_leaves_an_existing_page_unchanged(mtx: "Mtx", tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text("older")
    answer = mtx("data", "check", "--html", "page.html", "data.train=[{tsv: missing.tsv}]")
    assert (answer.code, len(answer.errors)) == (3, 1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["page.html"]
    assert (tmp_path / "page.html").read_text() == "older"


def test_hostile_text_cannot_control_the_terminal(mtx: "Mtx", arguments: list[str], tmp_path: Path) -> None:
    source = write(tmp_path, "train", extra="a\x1b[2J\x9b31m\u202e<script>b\n")
    evil = f"data.train=[{source}]"
    for more in ([], ["--json"]):
        answer = mtx("data", "check", *arguments, evil, *more)
        assert answer.code == 0
        assert all(line.isprintable() for line in answer.out.split("\n"))
        assert "<script>" in answer.out
    assert mtx("data", "check", *arguments, evil, "--html", "page.html").code == 0
    assert "<script" not in (tmp_path / "page.html").read_text()


# --- clean -----------------------------------------------------------------------------------------------------------


def test_clean_writes_kept_and_dropped_pairs(mtx: "Mtx", tmp_path: Path) -> None:
    source = write(tmp_path, "train", extra="Paris\nParis\n")
    answer = mtx("data", "clean", f"data.train=[{source}]", "clean.copies=drop", "-o", "new/cleaned")
    assert (answer.code, answer.err) == (0, "mtx: kept 40 of 42 pairs: dropped 2 copies\n")
    assert answer.out == "".join(f"new/cleaned/{name}\n" for name in ("train.en", "train.de", "dropped.jsonl"))
    assert sorted(path.name for path in (tmp_path / "new" / "cleaned").iterdir()) == sorted(
        Path(line).name for line in answer.out.splitlines()
    )
    for language in ("en", "de"):
        whole = (tmp_path / f"train.{language}").read_text()
        assert (tmp_path / "new" / "cleaned" / f"train.{language}").read_text() == whole.removesuffix("Paris\nParis\n")
    assert (tmp_path / "new" / "cleaned" / "dropped.jsonl").read_text().splitlines() == [
        f'{{"source": "train.en and train.de", "line": {line}, "reason": "copies", "src": "Paris", "tgt": "Paris"}}'
        for line in (41, 42)
    ]
    cleaned = "data.train=[{src: new/cleaned/train.en, tgt: new/cleaned/train.de}]"
    assert "40 pairs, 40 to train on" in mtx("data", "check", cleaned).out


def test_clean_refuses_a_folder_that_is_not_empty(mtx: "Mtx", arguments: list[str], tmp_path: Path) -> None:
    before = (tmp_path / "train.en").read_bytes()
    answer = mtx("data", "clean", *arguments, "-o", ".")
    assert (answer.code, "the folder is not empty" in answer.errors[0]) == (7, True)
    answer = mtx("data", "clean", *arguments, "-o", "train.en")
    assert (answer.code, "not a folder" in answer.errors[0]) == (7, True)
    assert (tmp_path / "train.en").read_bytes() == before
    (tmp_path / "empty").mkdir()
    assert mtx("data", "clean", *arguments, "-o", "empty").code == 0


@pytest.mark.parametrize(("output", "code"), [("train.en/below", 5), ("x" * 300, 5), ("new", 3), ("new/er/est", 3)])
def test_a_failed_clean_leaves_nothing(mtx: "Mtx", tmp_path: Path, output: str, code: int) -> None:
    write(tmp_path, "train")
    with (tmp_path / "train.de").open("a") as file:
        file.write("one line more\n")
    answer = mtx("data", "clean", "data.train=[{src: train.en, tgt: train.de}]", "-o", output)
    assert (answer.code, len(answer.errors), answer.out) == (code, 1, "")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["train.de", "train.en"]


def test_a_failed_clean_leaves_an_empty_folder_empty(mtx: "Mtx", tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "a.tsv").write_text("a\tb\na\n")
    assert mtx("data", "clean", "data.train=[{tsv: a.tsv}]", "-o", "empty").code == 3
    assert list((tmp_path / "empty").iterdir()) == []


def test_help_names_both_commands(mtx: "Mtx") -> None:
    answer = mtx("data", "--help")
    assert answer.code == 0
    assert "check" in answer.out
    assert "clean" in answer.out
