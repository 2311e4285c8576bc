"""`mtx init` says what `mtx data check` would say, before a training is wasted."""

import random
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .conftest import Mtx

COUNT = 4000


@pytest.fixture(autouse=True)
def _measure_briefly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mtx.train.estimate.SECONDS", 0.0)
    monkeypatch.setattr("mtx.train.estimate.FIRST_TOKENS", 16)


def write(**sides: list[str]) -> None:
    for language, lines in sides.items():
        Path(f"a.{language}").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


@pytest.fixture
def sides(mtx: "Mtx") -> dict[str, list[str]]:
    """Lines whose lengths correspond, written to a.en and a.de."""
    draw = random.Random(1)
    lengths = [draw.randint(1, 20) for _ in range(COUNT)]
    words = {"en": ["house", "dog", "river"], "de": ["Haus", "Hund", "Fluss"]}
    lines = {
        language: [f"{' '.join(draw.choices(some, k=length))} {number}" for number, length in enumerate(lengths)]
        for language, some in words.items()
    }
    write(**lines)
    return lines


def test_nothing_is_said_of_sound_data(mtx: "Mtx", sides: dict[str, list[str]]) -> None:
    answer = mtx("init", "a.en", "a.de")
    assert (answer.code, "warning" in answer.err) == (0, False), answer.err
    assert "problem" not in Path("en-de.yaml").read_text()


@pytest.mark.parametrize("begin", [300, 3600])
def test_misaligned_lines_are_told(mtx: "Mtx", sides: dict[str, list[str]], begin: int) -> None:
    lines = sides["de"]
    write(de=[*lines[:begin], "Haus", *lines[begin:-1]])
    answer = mtx("init", "a.en", "a.de")
    assert answer.code == 0
    [warning] = [line for line in answer.err.splitlines() if "warning" in line]
    assert warning.startswith("mtx: warning: a.en and a.de: misaligned lines ")
    assert "line n of the source corresponds to line n + 1 of the target" in warning
    problem = warning.removeprefix("mtx: warning: ")
    assert f"# problem   {problem}\n" in Path("en-de.yaml").read_text()
    assert f"problem: {problem}\n" in mtx("data", "check", "data.train=[{src: a.en, tgt: a.de}]").out


def test_unrelated_lines_are_told(mtx: "Mtx", sides: dict[str, list[str]]) -> None:
    write(de=random.Random(2).sample(sides["de"], COUNT))
    answer = mtx("init", "a.en", "a.de")
    assert (answer.code, "lengths of source and target are unrelated" in answer.err) == (0, True)


def test_another_number_of_lines_is_the_error_of_train(mtx: "Mtx", sides: dict[str, list[str]]) -> None:
    write(de=sides["de"][1:])
    answer = mtx("init", "a.en", "a.de")
    trained = mtx("train", "data.train=[{src: a.en, tgt: a.de}]")
    assert (answer.code, answer.errors) == (3, trained.errors)
    assert not Path("en-de.yaml").exists()


def test_damaged_text_is_told(mtx: "Mtx", sides: dict[str, list[str]]) -> None:
    write(de=[f"{line} fÃ¼r" for line in sides["de"]])
    Path("a.de").write_text(Path("a.de").read_text().replace("fÃ¼r", "für", 1500))
    answer = mtx("init", "a.en", "a.de")
    assert "mtx: warning: 2,500 of 4,000 training pairs would be dropped" in answer.err


def test_the_wrong_language_is_told_with_the_extra(mtx: "Mtx") -> None:
    pytest.importorskip("py3langid")
    french = [f"Le chien dort dans la maison de la rivière {'très ' * (n % 9)} numéro {n}." for n in range(300)]
    write(en=[f"The dog sleeps in the house {'very ' * (n % 9)} {n}." for n in range(300)], de=french)
    answer = mtx("init", "a.en", "a.de")
    assert (answer.code, "mtx: warning: a.en and a.de: 300 of 300 pairs are in another language" in answer.err) == (
        0,
        True,
    )


def test_a_warm_up_that_never_ends_is_told(mtx: "Mtx", sides: dict[str, list[str]]) -> None:
    Path("my.yaml").write_text("data: {train: [{src: a.en, tgt: a.de}]}\ntrain: {max_steps: 1000}\n")
    words = "mtx: warning: train.warmup_steps (1,000) is not below train.max_steps (1,000)"
    answer = mtx("config", "validate", "my.yaml")
    assert (answer.code, answer.out, words in answer.err) == (0, "my.yaml: ok\n", True)
    small = ["model.d_model=8", "model.num_heads=1", "model.d_ff=8", "tokenizer.vocab_size=300"]
    answer = mtx("train", "--config", "my.yaml", "--dry-run", *small)
    assert (answer.code, words.removeprefix("mtx: warning: ") in answer.err) == (0, True)
