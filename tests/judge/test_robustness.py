"""Scores lost equal sacreBLEU's on what a system makes of the disturbed lines."""

import pytest
import sacrebleu

from mtx.judge.disturbances import KINDS
from mtx.judge.robustness import measure_robustness
from mtx.judge.test_set import TestSet

WORDS = {"The": "Der", "dog": "Hund", "cat": "Kater", "sees": "sieht", "a": "einen", "2": "2"}
SOURCES = ["The dog sees a cat.", "The cat sees a dog.", "dog.", "2", "The dog sees"]


def system(lines: list[str]) -> list[str]:
    """A system that knows words as they are written, and nothing else."""
    return [
        " ".join(WORDS.get(word.rstrip("."), "?") + word[len(word.rstrip(".")) :] for word in line.split())
        for line in lines
    ]


def a_set(sources: list[str]) -> TestSet:
    return TestSet("test", sources, [system(sources), ["Hund"] * len(sources)], None, "de", src_lang="en")


def test_losses() -> None:
    test_set, asked = a_set(SOURCES), []

    def translate(lines: list[str]) -> list[str]:
        asked.extend(lines)
        return system(lines)

    found = measure_robustness(test_set, system(SOURCES), KINDS, translate)
    by_kind = {each.kind: each for each in found.losses}
    assert (tuple(by_kind), found.num_sentences, found.bleu) == (KINDS, 5, pytest.approx(100))
    assert "2" not in asked  # which caps does not change
    caps = [line.upper() for line in SOURCES]
    bleu = sacrebleu.corpus_bleu(system(caps), test_set.references).score
    assert (by_kind["caps"].bleu, by_kind["caps"].num_changed) == (bleu, 4)
    assert by_kind["caps"].bleu_lost == found.bleu - bleu > 0
    assert by_kind["caps"].chrf_lost == found.chrf - sacrebleu.corpus_chrf(system(caps), test_set.references).score
    assert (by_kind["spaces"].bleu_lost, by_kind["spaces"].chrf_lost) == (0, 0)
    joined = by_kind["joined"]
    assert (joined.num_changed, joined.bleu_lost, joined.chrf_lost) == (2, 0, 0)  # words alone matter to this system


def test_a_script_without_cases_is_told() -> None:
    test_set = TestSet("test", ["今天。", "好。"], [["Heute.", "Gut."]], None, "de", src_lang="zh")
    found = measure_robustness(test_set, ["Heute.", "Gut."], ["caps", "lower"], lambda lines: lines)
    assert [(each.num_changed, each.bleu_lost) for each in found.losses] == [(0, 0), (0, 0)]
    assert found.to_lines()[2].split() == ["caps", "0", "nothing", "to", "change"]
