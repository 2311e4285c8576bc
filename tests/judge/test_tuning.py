"""Tuning chooses among the translations that real searches find, and only what is better beyond chance."""

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch

from mtx.checkpoint.model_folder import TrainedModel
from mtx.decode.lines import Candidate, Translation
from mtx.decode.translator import Translator
from mtx.judge import tuning
from mtx.judge.statistics import Statistics, bleu_and_chrf
from mtx.judge.test_set import TestSet
from mtx.judge.tuning import BEAM_SIZES, PENALTIES, Search, choose, rank, tune
from mtx.system.device import choose_precision

PRECISION = choose_precision("fp32", torch.device("cpu"))
REFERENCES = [f"the {noun} sees a big {noun} in the old house ." for noun in ("dog", "cat", "bird", "man")] * 6


@pytest.mark.parametrize("beam_size", [1, 2, 5])
@pytest.mark.parametrize("penalty", [0.0, 0.6, 1.0, 2.0])
def test_ranked_hypotheses_are_those_of_a_search(
    beam_size: int, penalty: float, trained: TrainedModel, sentences: list[str]
) -> None:
    lines = [*sentences[:12], "", " 12. ", " ".join(sentences[:3])]
    # A search that stops only if nothing can win any more; an untrained model writes loops all the time.
    options = trained.generation.decode.with_options(
        beam_size=beam_size, lookahead=10_000, avoids_loops=False, split="always"
    )
    search = Translator(trained, options.model_copy(update={"length_penalty": penalty}), PRECISION)
    wide = options.model_copy(update={"n_best": beam_size, "length_penalty": 0.0})
    found = Translator(trained, wide, PRECISION).translate(lines)
    assert [rank(each, penalty, "de") for each in found] == [each.tgt for each in search.translate(lines)]
    assert max(len(each.parts) for each in found) > 1


class FakeTranslator:
    """Finds the reference without its end at first, and with larger beams among longer ones, of less probability."""

    tgt_lang = "en"

    def __init__(self, _trained: object, options: Any, _precision: object) -> None:
        assert (options.n_best, options.length_penalty) == (options.beam_size, 0)
        self.beam_size, self.tag = options.beam_size, None

    def set_tag(self, tag: str | None) -> None:
        self.tag = tag

    def translate(self, lines: Sequence[str]) -> list[Translation]:
        return [self._translation(line) for line in lines]

    def _translation(self, line: str) -> Translation:
        words = line.split()
        lengths = [7, len(words), 7, len(words) + 3][: self.beam_size]
        texts = [" ".join((words + ["house"] * 3)[:length]) for length in lengths]
        candidates = [Candidate(t, -0.5 * n - 1.5, n + 1) for t, n in zip(texts, lengths, strict=True)]
        return Translation(line, tuple(candidates[:1]), 9, parts=((line, candidates),))

    def close(self) -> None:
        pass


@pytest.fixture
def _fake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuning, "Translator", FakeTranslator)
    monkeypatch.setattr("mtx.judge.statistics.NUM_SAMPLES", 100)


def dev_sets(*names: str) -> list[TestSet]:
    return [TestSet(name, REFERENCES, [REFERENCES], None, "en") for name in names]


@pytest.mark.usefixtures("_fake")
def test_the_best_setting_wins_if_it_is_better_beyond_chance(trained: TrainedModel) -> None:
    options = trained.generation.decode.with_options(beam_size=5, length_penalty=0.0)
    found = tune(trained, options, PRECISION, dev_sets("a", "b"), "model")
    assert (found.before.beam_size, found.before.length_penalty) == (5, 0.0)
    assert found.before.bleu < found.chosen.bleu == pytest.approx(100)
    assert (found.chosen.beam_size, found.chosen.length_penalty) == (2, 0.9)
    assert found.is_better
    assert found.difference.p_bootstrap < 0.05
    assert len(found.settings) == len(PENALTIES) * len({*BEAM_SIZES, 5})
    assert "  chosen" in next(line for line in found.to_text().splitlines() if line.startswith("    2"))
    written = json.loads(found.to_json())
    assert written["stored"]
    assert written["sets"] == ["a", "b"]
    assert written["num_sentences"] == 48
    assert written["chosen"]["beam_size"] == 2


@pytest.mark.usefixtures("_fake")
def test_the_own_setting_stays_if_none_is_better(trained: TrainedModel) -> None:
    options = trained.generation.decode.with_options(beam_size=2, length_penalty=1.0)
    found = tune(trained, options, PRECISION, dev_sets("a"), "model")
    assert found.before == found.chosen
    assert not found.is_better
    few = [replace(each, sources=REFERENCES[:5], references=[REFERENCES[:5]]) for each in dev_sets("a")]
    options = trained.generation.decode.with_options(beam_size=5, length_penalty=0.0)
    found = tune(trained, options, PRECISION, few, "model")
    assert found.chosen.bleu > found.before.bleu
    assert not found.is_better


@pytest.mark.usefixtures("_fake")
def test_scores_are_those_of_all_sets_together(trained: TrainedModel) -> None:
    options = trained.generation.decode.with_options(beam_size=5, length_penalty=0.35)
    sets = dev_sets("a", "b")
    sets[1] = replace(sets[1], references=[REFERENCES[::-1], REFERENCES])
    found = tune(trained, options, PRECISION, sets, "model")
    chosen = FakeTranslator(None, options.model_copy(update={"n_best": 5, "length_penalty": 0.0}), None)
    texts = [rank(each, 0.35, "en") for each in chosen.translate(REFERENCES)]
    counted = [bleu_and_chrf(texts, each.references, "13a") for each in sets]
    for name, of_sets in zip(("bleu", "chrf"), zip(*counted, strict=True), strict=True):
        together = replace(of_sets[0], rows=sum(each.rows.sum(0) for each in of_sets)[None])
        assert getattr(found.before, name) == pytest.approx(together.score())


def test_the_nearest_setting_within_the_standard_error_is_chosen() -> None:
    def system(*wrong: int) -> Statistics:
        lines = ["a dog sleeps here ." if line in wrong else text for line, text in enumerate(REFERENCES)]
        return bleu_and_chrf(lines, [REFERENCES], "13a")[0]

    own, near, best = Search(5, 1.0), Search(5, 1.2), Search(8, 1.0)
    given = {best: system(1, 2), Search(5, 1.3): system(3, 4), near: system(4, 5, 6), own: system(*range(12))}
    assert choose(given, own) == near
    assert choose(given, Search(8, 0.9)) == best
    assert choose({**given, own: system(7, 8)}, own) == own
    assert choose({own: given[own], best: given[best]}, own) == best
    assert choose({**given, Search(2, 1.0): system(1, 3)}, own) == near
