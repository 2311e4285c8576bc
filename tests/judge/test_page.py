"""The page of a report holds what the report says, and works in a real browser."""

import base64
import hashlib
import json
import random
import re
from collections.abc import Iterator
from dataclasses import replace
from html import unescape
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

import mtx.judge.page
from mtx.judge.judgement import Parts, judge
from mtx.judge.page import to_html
from mtx.judge.report import Report, Score
from mtx.judge.robustness import Loss, Robustness
from mtx.judge.sentences import Sentence
from mtx.judge.test_set import TestSet, Translated
from mtx.judge.training import Seen
from mtx.text.writing_systems import SPACELESS
from tests.pages.browser import Tab, new_tab

HOSTILE = (
    "</script><script>document.title='mine'</script><!--<img src=x onerror=\"document.title='mine'\">&amp;'\u2028\u202e"
)
ARABIC = "كلب كبير في البيت"
LONG = " ".join(str(number) for number in range(2, 1200))
NUM_RANDOM = 60

DRIVER = Path(__file__).with_name("use_page.js").read_text(encoding="utf-8")


def sentences() -> list[Sentence]:
    """Sentences with random words, then special ones."""
    draw = random.Random(1)

    def words() -> str:
        return " ".join(draw.choices("abcde", k=draw.randint(0, 9)))

    found = [Sentence(i + 1, words(), (words(), words()), words(), i / 2, (), words(), 10) for i in range(NUM_RANDOM)]
    for src, refs, tgt, flags, baseline in [
        ("A dog.", ("Ein Hund.",), "Ein  Hund, ein Hund.", ("loops",), "Ein Hund."),
        (HOSTILE, (HOSTILE,), HOSTILE, ("copies",), "Hund"),
        ("A big dog", (ARABIC,), ARABIC, (), ARABIC),
        ("A big dog", ("一只大狗在家",), "一只狗在家里", (), ""),
        ("แมวกินปลา" * 50, ("แมวกินปลา",), "แมวกินปู", (), ""),
        ("x" * 300, ("1 0 " + LONG,), "0 1 " + LONG + " and more", ("loops", "copies"), LONG),
        ("best", ("no", "the best one"), "the best of all", (), "no"),
    ]:
        found.append(Sentence(len(found) + 1, src, refs, tgt, 20.0, flags, baseline, 30.0))
    return found


def report(text: str = HOSTILE, **changes: Any) -> Report:
    """A report with everything in it, and `text` wherever text of a file or its name may stand."""
    good = [f"The dog number {number} sees a big cat." for number in range(20)]
    bad = [line.replace("dog", "cow") for line in good]
    test_set = TestSet(text, good, [good], None, "de", None, "en")
    seen = Seen([0, 100] * 10, [True] * 5 + [False] * 15, [True] * 2 + [False] * 18, 12345)
    parts, baseline = Parts(True, breakdown=True), Translated(bad, text)
    judged = judge(test_set, Translated(good, text, 3.5, 4321), parts, baseline, seen)
    losses = [Loss("caps", 19, 40.5, 61.5, 9.5, -1.5), Loss("spaces", 3, 50.0, 60.0, 0.0, 0.0)]
    robustness = Robustness(20, 1, 50.0, 60.0, losses)
    score = replace(judged.bleu, signature=text)
    return replace(
        judged, **{"name": None, "bleu": score, "robustness": robustness, "sentences": tuple(sentences()), **changes}
    )


@pytest.fixture(scope="module", autouse=True)
def few_samples() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mtx.judge.statistics.NUM_SAMPLES", 20)
        patch.setattr("mtx.judge.compare.NUM_TRIALS", 32)
        yield


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    with new_tab(tmp_path_factory.mktemp("browser")) as tab:
        yield tab


@pytest.fixture(scope="module", params=[(1200, False), (390, True)], ids=["desktop", "dark phone"])
def found(request: pytest.FixtureRequest, tab: Tab, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Observations of a script that uses the page as a reader would, in a window of some width."""
    page = tmp_path_factory.mktemp("page") / "page.html"
    page.write_text(to_html(report()), encoding="utf-8")
    width, is_dark = request.param
    tab.show(page, width, 900, is_dark)
    found = tab.run(DRIVER)
    return {**found, "complaints": tab.complaints, "expected": [width, is_dark]}


def longest_common(text: str, second: str) -> int:
    """Number of words of the longest common subsequence."""
    one, other = text.split(), second.split()
    row = [0] * (len(other) + 1)
    for a in one:
        previous = row
        row = [0]
        for j, b in enumerate(other):
            row.append(previous[j] + 1 if a == b else max(previous[j + 1], row[j]))
    return row[-1]


@pytest.mark.process
@pytest.mark.slow
def test_the_page_fits(found: dict[str, Any]) -> None:
    assert [found["width"], found["dark"]] == found["expected"]
    assert found["overflow"] <= 0
    assert found["complaints"] == []


@pytest.mark.process
@pytest.mark.slow
def test_text_never_becomes_markup(found: dict[str, Any]) -> None:
    assert (found["images"], "onerror" in found["title"]) == (0, True)
    given = sentences()
    assert found["rows"]["src"] == [each.src for each in given]
    assert found["rows"]["refs"] == ["".join(each.references) for each in given]
    assert found["rows"]["tgt"] == [each.tgt + "".join(each.flags) for each in given]
    assert found["rows"]["baseline"] == [each.baseline_tgt for each in given]
    assert [index for index, each in enumerate(found["direction"]) if each == "rtl"] == [NUM_RANDOM + 2]


@pytest.mark.process
@pytest.mark.slow
def test_rows_are_sorted_and_come_when_needed(found: dict[str, Any]) -> None:
    num_rows, count, chrf = found["first"]
    assert num_rows < len(sentences()) == 67
    assert count == "67 sentences."
    assert chrf == [f"{each:.1f}" for each in sorted(each.chrf for each in sentences())[:num_rows]]
    assert found["all"] == [67, True]
    assert found["sorted"] == [[["line", "ascending"]], [str(line + 1) for line in range(num_rows)]]
    assert found["change"] == ["+19.5", "descending"]


@pytest.mark.process
@pytest.mark.slow
def test_words_that_differ_are_marked(found: dict[str, Any]) -> None:
    for each, kept, between in zip(sentences()[:NUM_RANDOM], found["kept"], found["between"], strict=False):
        baseline, common = str(each.baseline_tgt), [longest_common(ref, each.tgt) for ref in each.references]
        [ours], theirs = kept["tgt"], kept["refs"][common.index(max(common))]
        assert ours.split() == theirs.split()
        assert len(ours.split()) == max(common)
        [ours], [theirs] = between["tgt"], between["baseline"]
        assert ours.split() == theirs.split()
        assert len(ours.split()) == longest_common(baseline, each.tgt)
    _, hostile, _, chinese, thai, long, best = found["marks"][NUM_RANDOM:]
    assert (hostile["tgt"], hostile["refs"], hostile["baseline"]) == ([], [], ["Hund"])
    assert (chinese["tgt"], chinese["refs"]) == (["里"], ["大"])
    assert (thai["tgt"], thai["refs"]) == (["ปู"], ["ปลา"])
    assert (long["tgt"], long["refs"]) == (["and more"], [])
    assert (best["tgt"], best["refs"], best["baseline"]) == (["of all"], ["one"], [])
    assert found["unmarked"] == 0


@pytest.mark.process
@pytest.mark.slow
def test_search_and_filters(found: dict[str, Any]) -> None:
    assert found["searches"] == [f"{count} of 67 sentences." for count in (2, 1, 1, 0)]
    same = sum(each.tgt == each.baseline_tgt for each in sentences())
    assert {f"same text {same}", "copies 2", "loops 2"} < {label for label, _ in found["filters"]}
    for label, count in found["filters"]:
        assert count == f"{label.split()[-1]} of 67 sentences."
    assert found["either"][0] == "3 of 67 sentences."
    assert sorted(found["either"][1]) == sorted(found["both"]) == ["61", "62", "66"]


def test_the_page_says_what_the_report_says() -> None:
    given = report("plain")
    page = to_html(given)
    assert given.comparison and given.breakdown  # noqa: PT018
    for name, score in (("BLEU", given.bleu), ("chrF2", given.chrf), ("TER", given.more["TER"])):
        change = next(each for each in given.comparison.differences.values() if each.name == name)
        row = re.search(f'<tr><th scope="row">{name}</th>.*?</tr>', page, flags=re.DOTALL)
        assert row
        numbers = [float(found) for found in re.findall(r"[>± ]([+-]?\d+\.\d+)[< ]", row[0])]
        p_values = change.p_bootstrap, change.p_randomization
        expected = score.score, score.ci, change.baseline, change.score - change.baseline, *p_values
        assert numbers == pytest.approx(expected, abs=0.005)
    breakdown, overlap = given.breakdown, "5 sources (25.0 %), 2 whole pairs (10.0 %)"
    for group in chain(breakdown.by_length, breakdown.by_sentences, breakdown.by_rarest_word, breakdown.by_overlap):
        assert re.search(f">{group.name}<.*>{group.num_sentences}<.*{group.bleu:.1f}<.*{group.chrf:.1f}<", page)
    assert f"<p>Overlap with the 12,345 training pairs: {overlap}.</p>" in page
    assert re.search(r">caps<.*>19<.*em\) \* 0\.405\).*40\.5 \(-9\.5\)<.*61\.5 \(\+1\.5\)<", page)
    assert re.search(r">spaces<.*50\.0 \(\+0\.0\)<", page)
    for flag in breakdown.flags:
        assert f'<th scope="row">{flag}</th>' in page
    assert "Better than the baseline</strong> plain: 20 sentences differ." in page
    assert "1,234" not in page  # tokens per second change from run to run
    assert to_html(report("plain")) == page


def test_intervals_are_drawn_from_round_numbers_and_not_below_zero() -> None:
    judged = report("plain", comparison=None, bleu=Score(0.5, 1.5, ""), chrf=Score(29.0, 1.0, ""))
    axes = re.findall(r'class="axis">(\d+)<.*?left:(.*?%);right:calc\(100% - (.*?%)\).*?(\d+)</td>', to_html(judged))
    assert axes[:2] == [("0", "0.0%", "20.0%", "10"), ("20", "80.0%", "100.0%", "30")]
    judged = report("plain", comparison=None, bleu=Score(100.00000000000004, 0.0, ""), chrf=Score(98.0, 1.0, ""))
    axes = re.findall(r'class="axis">(\d+)<.*?left:(.*?%);right:calc\(100% - (.*?%)\).*?(\d+)</td>', to_html(judged))
    assert axes[:2] == [("90", "100.0%", "100.0%", "100"), ("90", "70.0%", "90.0%", "100")]


def test_parts_that_are_not_there_are_absent() -> None:
    plain = [Sentence(1, "", ("Ein Hund.",), "Hund.", 50.0)]
    page = to_html(report("plain", comparison=None, breakdown=None, robustness=None, sentences=tuple(plain)))
    for name in ("Source", "Baseline", "baseline", "figure", "fieldset>", "p (bootstrap)"):
        assert name not in re.sub("<(script|style)>.*?</\\1>", "", page, flags=re.DOTALL)
    assert "<script" not in to_html(report("plain", sentences=()))


def test_several_sets_stand_in_one_table() -> None:
    sets = [report("plain", name=name) for name in ("wmt17", "wmt18")]
    page = to_html(Report.mean_of(sets))
    data = re.search('id="sentences">(.*?)</script>', page, flags=re.DOTALL)
    assert data
    assert [each["set"] for each in json.loads(data[1])] == ["wmt17"] * 67 + ["wmt18"] * 67
    assert "Mean of 2 test sets" in page
    assert "Test set</legend>" in page


def test_the_page_may_load_nothing() -> None:
    page = to_html(report("plain"))
    policy = re.search('Content-Security-Policy" content="([^"]*)"', page)
    script = re.search("<script>(.*?)</script>", page, flags=re.DOTALL)
    assert policy and script  # noqa: PT018
    sha256 = base64.b64encode(hashlib.sha256(script[1].encode()).digest()).decode()
    assert unescape(policy[1]).startswith("default-src 'none'; ")
    assert unescape(policy[1]).endswith(f"; script-src 'sha256-{sha256}'")
    assert "://" not in page


SCRIPT = Path(mtx.judge.page.__file__).with_suffix(".js").read_text(encoding="utf-8")


def test_the_script_puts_no_markup_into_the_page() -> None:
    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacent|document\.write|eval|Function\(|setAttribute|fetch", SCRIPT
    )


def test_the_script_knows_all_scripts_without_spaces() -> None:
    codes = re.search('const SPACELESS = "(.*?)"', SCRIPT)
    assert codes
    assert set(codes[1].split()) == {*SPACELESS, "Hani", "Hira", "Kana"}
