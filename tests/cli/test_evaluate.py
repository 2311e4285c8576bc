"""`mtx evaluate` against a baseline, by more metrics, and on several test sets."""

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.cli.conftest import PAIRS

if TYPE_CHECKING:
    from tests.cli.conftest import Mtx


@pytest.fixture(autouse=True)
def few_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mtx.judge.statistics.NUM_SAMPLES", 100)
    monkeypatch.setattr("mtx.judge.compare.NUM_TRIALS", 100)


def write(*files: tuple[str, list[str]]) -> None:
    for name, lines in files:
        Path(name).write_text("".join(line + "\n" for line in lines), encoding="utf-8")


GOOD = [f"The dog number {number} sees a big cat in the garden." for number in range(20)]
BAD = [line.replace("dog", "cow").replace("big cat", "house") for line in GOOD]


def test_a_baseline_is_compared_and_required(mtx: "Mtx") -> None:
    write(("ref", GOOD), ("good", GOOD), ("bad", BAD))
    answer = mtx("evaluate", "--hyp", "good", "--ref", "ref", "--baseline", "bad", "--require", "better", "--json")
    report = json.loads(answer.out)
    assert (answer.code, report["comparison"]["verdict"]) == (0, "better")
    assert list(report["comparison"]["differences"]) == ["bleu", "chrf", "ter"]
    assert report["ter"]["score"] == 0.0
    worse = mtx("evaluate", "--hyp", "bad", "--ref", "ref", "--baseline", "good", "--require", "not-worse")
    assert (worse.code, "the verdict against good is worse" in worse.errors[0]) == (1, True)
    same = mtx("evaluate", "--hyp", "bad", "--ref", "ref", "--baseline", "bad", "--require", "better")
    assert (same.code, "cannot tell" in same.out) == (1, True)
    assert mtx("evaluate", "--hyp", "bad", "--ref", "ref", "--baseline", "bad", "--require", "not-worse").code == 0


def test_a_model_is_compared_with_itself_and_with_translations(mtx: "Mtx", finished_run: Path) -> None:
    data = finished_run.parent.parent
    given = ["--src", data / "test.en", "--ref", data / "test.de"]
    itself = mtx("evaluate", "-m", finished_run, *given, "--baseline", finished_run, "--save-hyp", "hyp")
    assert "0 sentences differ" in itself.out
    other_way = mtx("evaluate", "--hyp", "hyp", *given, "--baseline", finished_run, "--beam", 5)
    assert "0 sentences differ" in other_way.out
    assert mtx("evaluate", "--hyp", "hyp", *given[2:], "--baseline", finished_run).code == 2


def test_several_sets_in_one_call(mtx: "Mtx") -> None:
    write(("ref", GOOD), ("a", GOOD), ("b", BAD), ("b2", GOOD[:3]), ("all", [*GOOD, *BAD]))
    given = ["evaluate", "--hyp", "a", "--hyp", "b", "--ref", "ref", "--ref", "ref"]
    report = json.loads(mtx(*given, "--json", "--lowercase", "--baseline", "all").out)
    assert [each["name"] for each in report["sets"]] == ["a", "b"]
    assert [each["comparison"]["num_different"] for each in report["sets"]] == [0, 0]
    assert report["num_sentences"] == 40
    assert report["lower_cased_bleu"]["score"] == pytest.approx(report["bleu"]["score"], abs=2)
    assert mtx(*given, "--ref", "ref").code == 2
    wrong = mtx("evaluate", "--hyp", "a", "--ref", "ref", "--baseline", "b2")
    assert (wrong.code, "b2 has 3 lines, the references 20" in wrong.errors[0]) == (3, True)


def test_sets_of_sacrebleu_come_from_its_cache(mtx: "Mtx", tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from sacrebleu.dataset import DATASETS

    monkeypatch.setattr(DATASETS["wmt17"], "_outdir", str(tmp_path))
    given = ["evaluate", "--hyp", "hyp", "--test-set", "wmt17:en-de"]
    write(("hyp", GOOD))
    missing = mtx(*given)
    assert (missing.code, "not in sacreBLEU's cache" in missing.errors[0]) == (3, True)
    write((str(tmp_path / "wmt17.en-de.src"), BAD), (str(tmp_path / "wmt17.en-de.ref"), GOOD))
    assert json.loads(mtx(*given, "--json").out)["chrf"]["score"] == 100.0
    for name in ("wmt17", "wmt17:en-xx", "nothing:en-de"):
        assert mtx("evaluate", "--hyp", "hyp", "--test-set", name).code == 2


def test_a_breakdown_needs_the_sources(mtx: "Mtx") -> None:
    write(("src", GOOD), ("ref", GOOD), ("bad", [*BAD[:-1], ""]))
    given = ["evaluate", "--hyp", "bad", "--ref", "ref", "--breakdown"]
    assert mtx(*given).code == 2
    found = json.loads(mtx(*given, "--src", "src", "--json").out)["breakdown"]
    assert [each["num_sentences"] for each in found["by_length"]] == [20]
    assert (found["flags"]["empty"], found["worst"][0]["line"]) == (1, 20)
    assert "empty 1," in mtx(*given, "--src", "src").out


def test_a_page_explains_the_scores_and_changes_no_output(mtx: "Mtx") -> None:
    write(("src", GOOD), ("ref", GOOD), ("bad", [*BAD[:-1], ""]))
    given = ["evaluate", "--hyp", "bad", "--ref", "ref"]
    assert mtx(*given, "--report", "page.html").out == mtx(*given).out
    assert "<figure>" not in Path("page.html").read_text(encoding="utf-8")
    given += ["--src", "src", "--baseline", "ref"]
    assert mtx(*given, "--report", "page.html").out == mtx(*given).out
    page = Path("page.html").read_text(encoding="utf-8")
    assert all(part in page for part in ("Worse than the baseline", "Words in the source", BAD[0], GOOD[19]))
    written = mtx(*given, "--report", "again.html", "--save-hyp", "hyp")
    assert (written.code, Path("again.html").read_text(encoding="utf-8")) == (0, page)


@pytest.mark.parametrize(
    "more", [["-"], ["ref"], ["hyp", "--save-hyp", "./hyp"], ["page.html", "--save-hyp", "-"], ["no/page.html"]]
)
def test_a_page_has_a_file_of_its_own(mtx: "Mtx", more: list[str]) -> None:
    write(("ref", GOOD), ("bad", BAD))
    answer = mtx("evaluate", "--hyp", "bad", "--ref", "ref", "--report", *more)
    assert (answer.code, answer.out) == (5 if more[0].startswith("no/") else 2, "")
    assert sorted(path.name for path in Path().iterdir()) == ["bad", "ref"]


def test_no_page_is_left_by_an_error(mtx: "Mtx") -> None:
    write(("ref", GOOD), ("few", BAD[:3]), ("page.html", ["older"]))
    assert mtx("evaluate", "--hyp", "few", "--ref", "ref", "--report", "page.html").code == 3
    assert Path("page.html").read_text() == "older\n"


def test_a_breakdown_knows_what_training_has_seen(mtx: "Mtx", finished_run: Path) -> None:
    data = finished_run.parent.parent
    lines = [(data / f"train.{side}").read_text(encoding="utf-8").splitlines() for side in ("en", "de")]
    write(("src", [lines[0][0].upper(), lines[0][1], "Zyzzyva"]), ("ref", [lines[1][0], "Etwas anderes.", "Rüssler"]))
    given = ["evaluate", "-m", finished_run, "--src", "src", "--ref", "ref", "--beam", 1, "--breakdown"]
    found = json.loads(mtx(*given, "--json").out)["breakdown"]
    assert found["overlap"] == {"num_sources": 2, "num_pairs": 1, "num_training_pairs": len(lines[0])}
    assert [(each["name"], each["num_sentences"]) for each in found["by_overlap"]] == [("yes", 2), ("no", 1)]
    assert (found["by_rarest_word"][0]["name"], found["by_rarest_word"][0]["num_sentences"]) == ("0", 1)
    shutil.copytree(finished_run / "model", "alone/model")
    alone = mtx("evaluate", "-m", "alone/model", *given[3:], "--json")
    assert json.loads(alone.out)["breakdown"]["overlap"] is None
    assert "mtx: no breakdown by rare words and overlap with training: " in alone.err


def test_robustness(mtx: "Mtx", finished_run: Path) -> None:
    found = json.loads(mtx("evaluate", "-m", finished_run, "--beam", 1, "--robust", "lower,joined", "--json").out)
    assert [each["kind"] for each in found["robustness"]["losses"]] == ["lower", "joined"]
    assert found["robustness"]["bleu"] == found["bleu"]["score"]
    assert "  typos " in mtx("evaluate", "-m", finished_run, "--beam", 1, "--robust", "all").out
    wrong = mtx("evaluate", "-m", finished_run, "--robust", "caps,typo")
    assert (wrong.code, "Did you mean typos?" in wrong.errors[0]) == (2, True)
    write(("ref", GOOD))
    assert mtx("evaluate", "--hyp", "ref", "--ref", "ref", "--robust", "all").code == 2


def test_the_model_card_explains_the_scores(finished_run: Path) -> None:
    card = (finished_run / "model" / "README.md").read_text(encoding="utf-8")
    assert "against copies of the sources: " in card
    assert f"overlap with the {len(PAIRS)} training pairs: " in card
    for title in (
        "words in the source",
        "signs of wrong translations: empty",
        "rarest word",
        "undisturbed",
        "  joined",
    ):
        assert title in card
    assert "worst" not in card


@pytest.mark.parametrize("flag", ["--report", "--save-hyp"])
def test_no_output_replaces_a_test_set_of_the_run(flag: str, mtx: "Mtx", finished_run: Path) -> None:
    test = finished_run.parent.parent / "test.en"
    before = test.read_bytes()
    answer = mtx("evaluate", "-m", finished_run, flag, test)
    assert (answer.code, answer.out, test.read_bytes()) == (2, "", before)


@pytest.mark.parametrize(
    "more",
    [
        ["-m", "RUN"],
        ["-m", "RUN", "--baseline", "RUN", "--src", "ref"],
        ["--beam", "3"],
        ["--tag", "2de", "--baseline", "ref"],
    ],
)
def test_options_of_a_model_are_refused_beside_translations(mtx: "Mtx", finished_run: Path, more: list[str]) -> None:
    write(("ref", GOOD))
    options = [str(finished_run) if each == "RUN" else each for each in more]
    answer = mtx("evaluate", "--hyp", "ref", "--ref", "ref", *options)
    flag = more[0].replace("-m", "--model")
    assert (answer.code, answer.out, f"both --hyp and {flag} given" in answer.err) == (2, "", True)


@pytest.mark.parametrize(
    "given",
    [
        ["--hyp", "-", "--ref", "ref", "--baseline", "-"],
        ["--hyp", "-", "--hyp", "-", "--test-set", "wmt17:en-de", "--test-set", "wmt17:en-de"],
        ["--tune", "--src", "-", "--ref", "-"],
    ],
)
def test_stdin_is_read_once(mtx: "Mtx", given: list[str]) -> None:
    write(("ref", GOOD))
    answer = mtx("evaluate", *given, stdin=b"A.\n")
    assert (answer.code, "stdin (-) given for two files" in answer.err) == (2, True)


@pytest.mark.parametrize("more", [[], ["--robust", "all"], ["--tune"], ["--breakdown", "--baseline", "RUN"]])
def test_a_set_without_lines_is_refused_before_any_translation(
    mtx: "Mtx", finished_run: Path, more: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write(("some", GOOD), ("empty", []))
    monkeypatch.setattr("mtx.decode.translator.Translator.translate", lambda *_: pytest.fail("translated"))
    sets = ["--src", "some", "--ref", "some", "--src", "empty", "--ref", "empty"]
    answer = mtx("evaluate", "-m", finished_run, *sets, *(str(finished_run) if x == "RUN" else x for x in more))
    assert (answer.code, answer.out, "nothing to score: no lines (empty)" in answer.err) == (3, "", True)
