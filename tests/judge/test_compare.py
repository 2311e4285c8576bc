"""Paired tests equal those of sacreBLEU's own code, and verdicts follow from them."""

import random
from collections.abc import Sequence
from typing import Any

import pytest
from sacrebleu.metrics import BLEU, CHRF, TER
from sacrebleu.significance import PairedTest

from mtx.judge import compare as compare_module
from mtx.judge import statistics as statistics_module
from mtx.judge.compare import Comparison, compare
from mtx.judge.statistics import Statistics, bleu_and_chrf, ter

USUAL_TRIALS = 10_000
WORDS = ["the", "a", "Dog", "cat,", "sees", "3.5", "isn't", "big", "tree", ".", "“over”", "größe", "犬", "in"]


def corpus(seed: int, num_lines: int = 12) -> list[list[str]]:
    draw = random.Random(seed)
    return [[draw.choice(WORDS) for _ in range(draw.randint(0, 9))] for _ in range(num_lines)]


def disturbed(lines: list[list[str]], seed: int, share: float) -> list[str]:
    """A system that gets each word wrong with probability `share`."""
    draw = random.Random(seed)
    return [" ".join(draw.choice(WORDS) if draw.random() < share else word for word in line) for line in lines]


def statistics_of(hypotheses: Sequence[str], references: Sequence[Sequence[str]]) -> tuple[Statistics, ...]:
    return (*bleu_and_chrf(hypotheses, references, "13a"), ter(hypotheses, references, "13a"))


def compared(system: Sequence[str], baseline: Sequence[str], references: Sequence[Sequence[str]]) -> Comparison:
    num_different = sum(map(str.__ne__, system, baseline))
    given = (statistics_of(lines, references) for lines in (system, baseline))
    return compare(*given, "baseline", num_different)


def sacrebleus(systems: Sequence[Sequence[str]], references: Any, test_type: str, num_samples: int, *kinds: Any) -> Any:
    """Results of sacreBLEU's own paired test of all systems against the first, by metric."""
    metrics = {kind.__name__: kind() for kind in kinds or (BLEU, CHRF, TER)}
    named = [(str(number), list(lines)) for number, lines in enumerate(systems)]
    return PairedTest(named, metrics, [list(lines) for lines in references], test_type, num_samples)()[1]


@pytest.mark.parametrize("num_references", [1, 2])
def test_paired_tests_equal_sacrebleus_on_random_systems(num_references: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statistics_module, "NUM_SAMPLES", 45)
    monkeypatch.setattr(compare_module, "NUM_TRIALS", 45)  # not a multiple of the trials at a time
    lines = corpus(1)
    references = [disturbed(lines, 100 + number, 0.2 * number) for number in range(num_references)]
    systems = [disturbed(lines, seed, 0.25 + seed / 100) for seed in range(21)]
    expected = [sacrebleus(systems, references, kind, 45) for kind in ("bs", "ar")]
    for number, system in enumerate(systems[1:], start=1):
        found = compared(system, systems[0], references)
        for difference in found.differences.values():
            bootstrap, randomization = (results[difference.name] for results in expected)
            assert difference.baseline == bootstrap[0].score
            assert difference.score == bootstrap[number].score
            assert difference.p_bootstrap == bootstrap[number].p_value
            assert difference.p_randomization == randomization[number].p_value


def test_the_usual_numbers_of_samples_are_sacrebleus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compare_module, "NUM_TRIALS", USUAL_TRIALS)
    lines = corpus(2, 8)
    references, systems = [disturbed(lines, 0, 0.0)], [disturbed(lines, seed, 0.4) for seed in (1, 2)]
    ours, theirs = ([bleu_and_chrf(each, references, "13a")[1]] for each in (systems[1], systems[0]))
    found = compare(ours, theirs, "baseline", 8).differences["chrf"]
    assert found.p_bootstrap == sacrebleus(systems, references, "bs", 0, CHRF)["chrF2"][1].p_value
    assert found.p_randomization == sacrebleus(systems, references, "ar", 0, CHRF)["chrF2"][1].p_value


@pytest.fixture
def fewer_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statistics_module, "NUM_SAMPLES", 200)
    monkeypatch.setattr(compare_module, "NUM_TRIALS", 200)


@pytest.mark.usefixtures("fewer_samples")
def test_verdicts() -> None:
    lines = corpus(3, 20)
    good, bad, other = (disturbed(lines, seed, share) for seed, share in ((4, 0.1), (5, 0.7), (6, 0.7)))
    references = [disturbed(lines, 0, 0.0)]
    assert compared(good, bad, references).verdict == "better"
    worse = compared(bad, good, references)
    assert (worse.verdict, {each.verdict for each in worse.differences.values()}) == ("worse", {"worse"})
    assert compared(bad, other, references).verdict == "cannot tell"
    assert worse.to_lines()[0] == f"against baseline: worse ({worse.num_different} sentences differ)"


@pytest.mark.usefixtures("fewer_samples")
@pytest.mark.parametrize("num_better", [0, 1, 5, 12])
def test_a_few_better_sentences_prove_nothing(num_better: int) -> None:
    lines = [line or ["one"] for line in corpus(7, 20)]
    references, baseline = [disturbed(lines, 0, 0.0)], disturbed(lines, 1, 1.0)
    found = compared([*references[0][:num_better], *baseline[num_better:]], baseline, references)
    assert found.verdict == ("better" if num_better == 12 else "cannot tell")
    if num_better == 0:
        assert {each.p_bootstrap for each in found.differences.values()} == {1.0}


@pytest.mark.usefixtures("fewer_samples")
def test_systems_that_score_nothing_are_no_sure_difference() -> None:
    """Their translations differ, and so do their counts."""
    references = [["the dog sees a big cat"] * 8]
    found = compared(["qqq"] * 8, ["zz ww"] * 8, references)
    tests = [(each.p_bootstrap, each.p_randomization) for each in found.differences.values()]
    assert (tests, found.verdict) == ([(1.0, 1.0)] * 3, "cannot tell")
