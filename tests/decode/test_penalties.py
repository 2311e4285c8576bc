"""Penalties and blocking change what a search finds as their slow twins do, which look at one hypothesis at a time."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from mtx.checkpoint.model_folder import TrainedModel
from mtx.config.decoding import DecodeOptions
from mtx.decode.beam import beam_search
from mtx.decode.constraints import constraints_of
from mtx.decode.sampling import sample_search
from mtx.decode.search import Constraint, greedy_search, max_lengths
from mtx.decode.translator import Translator
from mtx.system.device import choose_precision
from tests.decode.test_search import BOS, EOS, OPTIONS, changed, random_tables, sources


class Slow:
    """Do what the options ask for, one token of one hypothesis at a time."""

    def __init__(self, options: DecodeOptions) -> None:
        self.options = options

    def apply(self, logp_RV: Tensor, ids_RT: Tensor, sentences_R: Tensor) -> None:
        size = self.options.no_repeat_ngram
        for row, (_, *ids) in enumerate(ids_RT.tolist()):
            for token in range(logp_RV.size(1)):
                if token in ids:
                    logp_RV[row, token] *= self.options.repetition_penalty
                longer = [*ids, token]
                grams = [tuple(longer[first : first + size]) for first in range(len(longer) - size + 1)] if size else []
                if size and len(longer) >= size and grams[-1] in grams[:-1]:
                    logp_RV[row, token] = -math.inf
                if token == EOS and len(ids) < self.options.min_length:
                    logp_RV[row, token] = -math.inf


def find(options: DecodeOptions, *constraints: Constraint) -> list[list[tuple[list[int], float]]]:
    tables = random_tables(4, num_sentences=25, vocab_size=7, eos_bonus=-1.0)
    search = sample_search if options.sample else greedy_search if options.beam_size == 1 else beam_search
    lengths = [sentence * 5 % 13 for sentence in range(25)]
    found = search(tables, *sources(lengths), options, bos_id=BOS, eos_id=EOS, constraints=constraints)
    return [[(h.ids, h.logp) for h in each] for each in found]


@pytest.mark.parametrize("method", [{"beam_size": 1}, {"beam_size": 4, "n_best": 3}, {"sample": True, "samples": 3}])
@pytest.mark.parametrize(
    "given",
    [
        {"no_repeat_ngram": 1},
        {"no_repeat_ngram": 2},
        {"no_repeat_ngram": 3},
        {"repetition_penalty": 1.7},
        {"min_length": 5},
        {"repetition_penalty": 1.2, "no_repeat_ngram": 3, "min_length": 4},
    ],
)
def test_a_search_finds_what_its_slow_twin_finds(method: dict[str, Any], given: dict[str, Any]) -> None:
    options = changed(OPTIONS, **method, **given)
    found = find(options, *constraints_of(options, EOS))
    assert found == find(options, Slow(options))
    assert found != find(options) or given == {"no_repeat_ngram": 3}, "too rare in these tables"
    for ids, _ in (h for each in found for h in each):
        size = options.no_repeat_ngram
        grams = [tuple(ids[first : first + size]) for first in range(len(ids) - size + 1)] if size else []
        assert len(grams) == len(set(grams))
        assert len(ids) >= options.min_length


@pytest.mark.parametrize(
    "method", [{"beam_size": 1}, {"beam_size": 3}, {"sample": True}, {"beam_size": 4, "beam_groups": 2}]
)
def test_what_would_leave_nothing_is_repeated(method: dict[str, Any]) -> None:
    """All six words are used up before the minimum length is reached; no sentence is without a translation."""
    options = changed(OPTIONS, no_repeat_ngram=1, min_length=9, **method)
    for (ids, logp), *_ in find(options, *constraints_of(options, EOS)):
        assert len(ids) >= 9
        assert len(set(ids[:6])) == 6
        assert math.isfinite(logp)


def test_what_is_off_is_no_constraint() -> None:
    assert constraints_of(OPTIONS, EOS) == []


def test_the_maximum_length_leaves_room_for_the_minimum() -> None:
    assert max_lengths(sources([0, 5, 9])[1], changed(OPTIONS, min_length=7)) == [8, 8, 10]


def test_the_penalty_is_the_same_whether_scores_are_printed_or_not(trained: TrainedModel, sentences: list[str]) -> None:
    texts = []
    for with_scores in (True, False):
        options = trained.generation.decode.with_options(
            beam_size=1, repetition_penalty=3.0, with_scores=with_scores, avoids_loops=False
        )
        translator = Translator(trained, options, choose_precision("fp32", torch.device("cpu")))
        texts.append([each.tgt for each in translator.translate(sentences[:20])])
    assert texts[0] == texts[1]
    assert len(set(texts[0])) > 10
