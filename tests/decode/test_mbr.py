"""Minimum Bayes risk chooses by sacreBLEU's own chrF, computed here pair by pair."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sacrebleu.metrics import CHRF

from mtx.checkpoint.model_folder import TrainedModel
from mtx.decode import mbr
from mtx.decode.loops import Loops
from mtx.decode.mbr import pairwise_chrf, rank_by_utility
from mtx.decode.translator import Translator
from mtx.system.device import choose_precision

CPU = choose_precision("fp32", torch.device("cpu"))
TEXTS = st.lists(st.text("ab ü日\U0001f600.", max_size=12), min_size=1, max_size=6)


def slow_chrf(texts: Sequence[str]) -> np.ndarray:
    metric = CHRF()
    return np.array([[metric.sentence_score(text, [other]).score for other in texts] for text in texts])


@given(TEXTS)
def test_chrf_is_that_of_sacrebleu(texts: list[str]) -> None:
    assert pairwise_chrf(texts) == pytest.approx(slow_chrf(texts), abs=1e-9)


def test_chrf_is_that_of_sacrebleu_in_several_matrices(sentences: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mbr, "FEATURES_AT_ONCE", 10)
    texts = [*sentences[:9], "aaaaaaaaaa", "aaaaa", "abababab", "", " "]
    assert pairwise_chrf(texts) == pytest.approx(slow_chrf(texts), abs=1e-9)


@given(TEXTS)
def test_the_best_is_most_like_all_and_repeated_texts_count(texts: list[str]) -> None:
    ranks = rank_by_utility(texts)
    utilities = slow_chrf(texts).mean(axis=1)
    assert sorted(ranks) == [index for index, text in enumerate(texts) if text not in texts[:index]]
    ranked = utilities[ranks]
    assert ranked[0] == pytest.approx(utilities.max())
    assert all(one >= other - 1e-6 for one, other in pairwise(ranked))


def test_equal_texts_keep_their_order() -> None:
    assert rank_by_utility(["", " ", "x y", "xy"]) == [2, 3, 0, 1]
    assert rank_by_utility(["dog sees", "cat sees", "dog sees", "the man"]) == [0, 1, 3]


def test_translations_are_chosen_among_the_n_best(trained: TrainedModel, sentences: list[str]) -> None:
    fields = {"copy_unlettered": False, "avoids_loops": False, "split": "never"}
    wide = trained.generation.decode.with_options(beam_size=6, n_best=6, **fields)
    chosen = trained.generation.decode.with_options(beam_size=2, n_best=2, mbr=6, **fields)
    found = Translator(trained, chosen, CPU).translate([*sentences[:30], ""])
    assert found[-1].tgt == ""
    num_compared = num_changed = 0
    for plain, best in zip(Translator(trained, wide, CPU).translate(sentences[:30]), found[:30], strict=True):
        if len(plain.sentences) == 1:  # each segment of a line has its own choice
            ranks = rank_by_utility([candidate.tgt for candidate in plain.nbest])[:2]
            assert best.nbest == tuple(plain.nbest[rank] for rank in ranks)
            num_compared += 1
            num_changed += ranks[0] != 0
    assert num_compared > 2
    assert num_changed > 0


@pytest.mark.parametrize("num_models", [1, 2])
def test_translations_are_chosen_among_samples(num_models: int, trained: TrainedModel, sentences: list[str]) -> None:
    """The same as are drawn without a choice; a text that is drawn twice counts twice."""
    fields = {"sample": True, "temperature": 0.5, "copy_unlettered": False, "avoids_loops": False, "split": "never"}
    others = [trained.model] * (num_models - 1)
    drawn, chosen = (
        Translator(trained, trained.generation.decode.with_options(**given, **fields), CPU, others)
        for given in ({"samples": 9}, {"mbr": 9})
    )
    num_changed = 0
    for samples, best in zip(drawn.translate(sentences[:30]), chosen.translate(sentences[:30]), strict=True):
        if len(samples.sentences) == 1:
            rank = rank_by_utility([candidate.tgt for candidate in samples.nbest])[0]
            assert best.nbest == (samples.nbest[rank],)
            num_changed += rank > 0
    assert num_changed > 9


def test_the_choice_has_no_loops(trained: TrainedModel, sentences: list[str]) -> None:
    options = trained.generation.decode.with_options(beam_size=2, mbr=6, split="never")
    for each in Translator(trained, options, CPU).translate(sentences[:20]):
        assert len(each.nbest) == 1
        assert not any(Loops(each.src).find(each.tgt))
