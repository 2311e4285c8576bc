"""Tables with ids, scores, labels and headers: `mtx init` finds the two columns of text, or asks for them."""

import csv
import io
from collections.abc import Callable, Iterable
from importlib import util
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from mtx.config.load import load_config
from mtx.data.sources.base import NoPair
from mtx.data.sources.read import read_pairs

from .conftest import PAIRS

if TYPE_CHECKING:
    from .conftest import Mtx

LANGUAGES = ["--src-lang", "en", "--tgt-lang", "de"]
Row = Callable[[int, str, str], Iterable[Any]]


@pytest.fixture(autouse=True)
def _measure_briefly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mtx.train.estimate.SECONDS", 0.0)
    monkeypatch.setattr("mtx.train.estimate.FIRST_TOKENS", 16)


@pytest.fixture(params=["py3langid", "without"])
def _identifier(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "without":
        real = util.find_spec
        for module in ("mtx.init.columns", "mtx.data.check.scan"):
            monkeypatch.setattr(f"{module}.find_spec", lambda name: None if name == "py3langid" else real(name))


def table(name: str, row: Row, header: str = "") -> str:
    """Write a table with PAIRS, after a header, into the current folder; returns its name."""
    stream = io.StringIO(newline="")
    if name.endswith(".csv"):
        csv.writer(stream).writerows(row(number, *pair) for number, pair in enumerate(PAIRS))
    else:
        stream.writelines("\t".join(map(str, row(number, *pair))) + "\n" for number, pair in enumerate(PAIRS))
    Path(name).write_text(header + stream.getvalue(), encoding="utf-8")
    return name


def found(config: str = "en-de.yaml") -> list[tuple[str, str]]:
    """The training pairs of a config."""
    data = load_config(Path(config), []).data
    pairs = read_pairs(data.train[0], data.src_lang, data.tgt_lang)
    return [pair for pair in pairs if not isinstance(pair, NoPair)]


@pytest.mark.usefixtures("_identifier")
@pytest.mark.parametrize(
    ("name", "row", "header", "keys"),
    [
        ("a.tsv", lambda n, s, t: (1000 + n, s, 5000 + n, t), "", "src: 2, tgt: 4"),
        ("a.tsv", lambda n, s, t: (n, "eng", s, n, "deu", t), "", "src: 3, tgt: 6"),
        ("a.tsv", lambda n, s, t: (f"{1.25 + n / 1000:.3f}", s, t), "", "src: 2, tgt: 3"),
        ("a.tsv", lambda n, s, t: (f"{-n / 7:e}", s, t, f"https://a.b/{n}", f"x{n}f9"), "", "src: 2, tgt: 3"),
        ("a.tsv", lambda n, s, t: (s, t, "CC-BY 2.0 (France)"), "", "{tsv: a.tsv}"),
        ("a.tsv", lambda n, s, t: (s, t), "", "{tsv: a.tsv}"),
        ("a.tsv", lambda n, s, t: ("eng", s, "deu", t), "", "src: 2, tgt: 4}"),
        ("a.tsv", lambda n, s, t: (s, t), "source\ttarget\n", "{tsv: a.tsv, header: true}"),
        ("a.tsv", lambda n, s, t: (s, t), "sentence1\tsentence2\n", "{tsv: a.tsv, header: true}"),
        ("a.tsv", lambda n, s, t: (s, t), "Text\tTranslation\n", "{tsv: a.tsv, header: true}"),
        ("a.tsv", lambda n, s, t: (t, s), "deu_Latn\teng_Latn\n", "src: 2, tgt: 1, header: true"),
        ("a.tsv", lambda n, s, t: (t, n, s), "#de-DE\tid\ten-US\n", "src: 3, tgt: 1, header: true"),
        ("a.tsv", lambda n, s, t: (t, s), "German\tEnglish\n", "src: 2, tgt: 1, header: true"),
        ("a.tsv", lambda n, s, t: (n, t, s, "note"), "id\ttext_de\ttext_en\tkind\n", "src: 3, tgt: 2, header: true"),
        ("a.tsv", lambda n, s, t: (n, s, n, t), "id\tenglish\tid\tgerman\n", "src: 2, tgt: 4, header: true"),
        ("a.tsv", lambda n, s, t: (n, s, t), "nr\tfrom\tto\n", "src: 2, tgt: 3, header: true"),
        ("a.csv", lambda n, s, t: (n, t, s), "id,de,en\n", "src: 3, tgt: 2, header: true"),
        ("a.csv", lambda n, s, t: (s, t), "", "{csv: a.csv}"),
    ],
)
def test_columns_and_header_are_found(name: str, row: Row, header: str, keys: str, mtx: "Mtx") -> None:
    answer = mtx("init", table(name, row, header), *LANGUAGES)
    assert answer.code == 0, answer.err
    assert keys in Path("en-de.yaml").read_text()
    assert found() == PAIRS
    assert "warning" not in answer.err
    assert ("columns     a." in answer.err) == (keys not in ("{tsv: a.tsv}", "{csv: a.csv}"))


@pytest.mark.parametrize("rows", ["1\t2\n" * 20, "en\tde\n", "one\teins\n"])
def test_two_columns_are_taken_whatever_they_hold(mtx: "Mtx", rows: str) -> None:
    Path("a.tsv").write_text(rows)
    assert mtx("init", "a.tsv", *LANGUAGES).code == (0 if "one" in rows else 3 if "en" in rows else 0)


def test_one_cell_that_may_be_a_name_makes_no_header(mtx: "Mtx") -> None:
    assert mtx("init", table("a.tsv", lambda n, s, t: (s, t), "Text\tWort\n"), *LANGUAGES).code == 0
    assert found()[0] == ("Text", "Wort")


def test_fields_in_quotes_are_told(mtx: "Mtx") -> None:
    answer = mtx("init", table("a.tsv", lambda n, s, t: (f'"{s}"', f'"{t}"')), *LANGUAGES)
    assert (answer.code, "a.tsv: most fields are in quotes" in answer.err) == (0, True)
    assert "{csv: a.tsv, delimiter: tab}" in answer.err


def test_languages_tell_the_order(mtx: "Mtx") -> None:
    pytest.importorskip("py3langid")
    assert mtx("init", table("a.tsv", lambda n, s, t: (t, n, s)), *LANGUAGES).code == 0
    assert found() == PAIRS


def test_scripts_tell_the_order_without_the_extra(mtx: "Mtx", monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mtx.init.columns.find_spec", lambda _: None)
    cyrillic = [f"Это предложение {'очень ' * (number % 5)}номер семь." for number in range(len(PAIRS))]
    table("a.tsv", lambda n, s, t: (cyrillic[n], n, s))
    assert mtx("init", "a.tsv", "--src-lang", "en", "--tgt-lang", "ru", "-o", "my.yaml").code == 0
    assert found("my.yaml") == [(src, text) for (src, _), text in zip(PAIRS, cyrillic, strict=True)]


@pytest.mark.parametrize("header", ["en\tde\n", "id\n"])
def test_a_header_names_the_languages(mtx: "Mtx", header: str) -> None:
    answer = mtx("init", table("a.tsv", lambda n, s, t: (s, t), header))
    assert (answer.code == 0) == (header == "en\tde\n")
    if answer.code:
        assert (answer.code, "Give --src-lang and --tgt-lang" in answer.err) == (2, True)
    else:
        assert found() == PAIRS


@pytest.mark.usefixtures("_identifier")
def test_it_asks_when_it_cannot_tell(mtx: "Mtx", tmp_path: Path) -> None:
    table("a.tsv", lambda n, s, t: (n, s, s.replace("The", "That"), t, t.replace("Der", "Dieser")))
    before = sorted(tmp_path.iterdir())
    answer = mtx("init", "a.tsv", *LANGUAGES)
    assert (answer.code, len(answer.errors), answer.out) == (2, 1, "")
    assert "cannot tell which columns hold en and de: 1 0 | 2 The dog sees a cat. | 3 That dog sees" in answer.err
    assert "Give --columns SRC,TGT" in answer.err
    assert sorted(tmp_path.iterdir()) == before
    assert mtx("init", "a.tsv", *LANGUAGES, "--columns", "2,4").code == 0
    assert found() == PAIRS


def test_columns_are_given_by_number_or_name(mtx: "Mtx") -> None:
    table("a.tsv", lambda n, s, t: (s, t, n), "en\tde\tid\n")
    assert mtx("init", "a.tsv", "--columns", "de,en", "--dev", "a.tsv", "-o", "de.yaml").code == 2  # the same text
    assert mtx("init", "a.tsv", "--columns", "de,en", "-o", "de.yaml").code == 0
    assert found("de.yaml") == [(tgt, src) for src, tgt in PAIRS]
    assert load_config(Path("de.yaml"), []).data.src_lang == "de"
    assert mtx("init", "a.tsv", "--columns", " 1, de", "-o", "en.yaml").code == 0
    for given, words in (
        ("1", "does not name two"), ("1,2,3", "does not name two"), ("2, 2", "does not name two"),
        ("", "does not name two"), ("1,9", "no column 9: 1 en: The"),
    ):  # fmt: skip
        answer = mtx("init", "a.tsv", "--columns", given, "-o", "new.yaml")
        assert (answer.code, words in answer.err) == (2, True)


@pytest.mark.usefixtures("_identifier")
def test_numbers_on_one_side_are_a_problem_everywhere(mtx: "Mtx", tmp_path: Path) -> None:
    table("a.tsv", lambda n, s, t: (f"{n} {n * 7}", t))
    problem = "a.tsv: 120 of 120 pairs are without letters on a side"
    answer = mtx("init", "a.tsv", *LANGUAGES)
    assert (answer.code, f"mtx: warning: {problem}" in answer.err) == (0, True), answer.err
    assert f"# problem   {problem}" in (tmp_path / "en-de.yaml").read_text()
    answer = mtx("data", "check", "data.train=[{tsv: a.tsv}]")
    assert (answer.code, f"problem: {problem}" in answer.out) == (1, True)
    answer = mtx("train", "data.train=[{tsv: a.tsv}]", "--dry-run", "tokenizer.vocab_size=300")
    assert (answer.code, "a.tsv: 120 of the first 120 pairs have a side without letters" in answer.err) == (0, True)
    answer = mtx("data", "clean", "data.train=[{tsv: a.tsv}]", "clean.letters=drop", "-o", "new")
    assert (answer.code, "no pair is kept among 120" in answer.err) == (3, True)
    table("a.tsv", lambda n, s, t: (n, 7 * n))
    assert mtx("init", "a.tsv", *LANGUAGES, "-o", "new.yaml").code == 0, "no column holds text"
    table("a.tsv", lambda n, s, t: (n if n % 3 == 0 else s, t))
    answer = mtx("data", "check", "data.train=[{tsv: a.tsv}]")
    assert (answer.code, "would drop          40  without letters on a side (clean.letters=drop)" in answer.out) == (
        0,
        True,
    )
