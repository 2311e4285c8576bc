"""Beam groups and the coverage penalty find what their definitions say, computed one hypothesis at a time."""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from typing import Any, Self

import pytest
import torch
from torch import Tensor

from mtx.checkpoint.model_folder import TrainedModel
from mtx.config.decoding import DecodeOptions
from mtx.decode import beam
from mtx.decode.beam import log_coverage
from mtx.decode.ensemble import Ensemble
from mtx.decode.lines import Segment
from mtx.decode.search import Hypothesis
from mtx.decode.translator import Translator
from mtx.model import Transformer
from mtx.model.fast.coverage import CoverageDecoder
from mtx.system.device import choose_precision
from tests.decode.test_search import (
    BOS,
    EOS,
    NUM_NODES,
    OPTIONS,
    Rows,
    Tables,
    assert_same,
    changed,
    enumerate_all,
    random_tables,
    sources,
)

CPU = choose_precision("fp32", torch.device("cpu"))
beam_search = partial(beam.beam_search, bos_id=BOS, eos_id=EOS)


def plain_groups(
    logp_after: Callable[[Sequence[int]], list[float]], longest: int, options: DecodeOptions
) -> list[Hypothesis]:
    """The search of one sentence by several groups, step by step as the docstring of `beam_search` describes it."""
    width = options.beam_size // options.beam_groups
    n_best = min(options.n_best, width)
    alive: list[list[tuple[float, list[int]]]] = [[(0.0, [])] for _ in range(options.beam_groups)]
    finished: list[list[Hypothesis]] = [[] for _ in range(options.beam_groups)]
    for length in range(1, longest + 1):
        taken: Counter[int] = Counter()
        for group, hypotheses in enumerate(alive):
            continuations = [
                (logp + next_logp, [*ids, token])
                for logp, ids in hypotheses
                for token, next_logp in enumerate(logp_after(ids))
                if token == EOS or length < longest
            ]
            continuations.sort(key=lambda each: options.diversity_penalty * taken[each[1][-1]] - each[0])
            for logp, ids in continuations[:width]:
                if ids[-1] == EOS and len(finished[group]) < width:
                    finished[group].append(Hypothesis(ids[:-1], logp, logp / length**options.length_penalty))
            kept = [each for each in continuations[: 2 * width] if each[1][-1] != EOS][:width]
            taken.update(ids[-1] for _, ids in kept)
            best = sorted((h.score for h in finished[group]), reverse=True)[n_best - 1 : n_best]
            horizon = min(length + options.lookahead, longest)
            is_settled = best and kept and max(kept)[0] / horizon**options.length_penalty <= best[0]
            alive[group] = [] if len(finished[group]) == width or is_settled else kept
    different = {tuple(h.ids): h for of_group in finished for h in of_group}
    return sorted(different.values(), key=lambda h: -h.score)[: options.n_best]


@pytest.mark.parametrize("eos_bonus", [-2.0, 0.5, 2.0])
@pytest.mark.parametrize(
    ("groups", "width", "n_best", "penalty"),
    [(1, 4, 3, 0.5), (2, 4, 1, 0.5), (2, 4, 4, 0.5), (3, 3, 3, 0.7), (3, 6, 2, 0.0), (5, 10, 10, 2.0)],
)
def test_groups_find_what_the_plain_search_finds(
    groups: int, width: int, n_best: int, penalty: float, eos_bonus: float
) -> None:
    """For 40 sentences of different lengths at once, each as the plain search finds it alone."""
    lengths = [sentence * 5 % 9 for sentence in range(40)]
    tables = random_tables(width * 10 + n_best, len(lengths), 9, eos_bonus)
    options = changed(OPTIONS, beam_size=width, n_best=n_best, beam_groups=groups, diversity_penalty=penalty)
    found = beam_search(tables, *sources(lengths), options)
    for sentence, length in enumerate(lengths):
        assert_same(found[sentence], plain_groups(tables.logp_after(sentence), length + 1, options), sentence)


def test_groups_find_more_different_translations() -> None:
    tables = random_tables(8, 30, 40, eos_bonus=0.0)
    src = sources([6] * 30)
    together, apart = (
        beam_search(tables, *src, changed(OPTIONS, beam_size=6, n_best=6, beam_groups=groups, diversity_penalty=3.0))
        for groups in (1, 6)
    )
    num_first = [sum(len({tuple(h.ids[:1]) for h in found}) for found in each) for each in (together, apart)]
    assert num_first[1] > num_first[0] + 5
    for found in apart:
        assert all(one.score >= other.score for one, other in pairwise(found))


def test_a_batch_of_groups_may_be_wider_than_a_small_vocabulary() -> None:
    tables = random_tables(3, 2, 4)
    options = changed(OPTIONS, beam_size=8, n_best=8, beam_groups=2, diversity_penalty=0.0)
    for found, length in zip(beam_search(tables, *sources([0, 2]), options), (0, 2), strict=True):
        assert len({tuple(h.ids) for h in found}) == len(found) <= sum(3**n for n in range(length + 1))


# --- coverage --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CoveredRows:
    """State of `CoveredTables`."""

    rows: Rows
    coverage_RS: Tensor

    def select(self, rows_R: Tensor, sentences_B: Tensor) -> Self:
        return replace(self, rows=self.rows.select(rows_R, sentences_B), coverage_RS=self.coverage_RS[rows_R])


@dataclass(frozen=True, slots=True)
class CoveredTables:
    """`Tables` with attention to the source by node. Shapes: attention (sentences, NUM_NODES, S)."""

    tables: Tables
    attention: Tensor

    def start(self, src_ids: Tensor, src_mask: Tensor) -> CoveredRows:
        return CoveredRows(self.tables.start(src_ids, src_mask), (~src_mask).float())

    def step(self, prev_ids: Tensor, state: CoveredRows) -> tuple[Tensor, CoveredRows]:
        logits, rows = self.tables.step(prev_ids, state.rows)
        weights_RS = self.attention[rows.sentence_R, rows.node_R]
        return logits, CoveredRows(rows, state.coverage_RS + weights_RS)

    def penalty(self, sentence: int, length: int, ids: Sequence[int]) -> float:
        """The sum over source positions of equation 14, without its factor."""
        node, coverage = 0, [0.0] * length
        for token in (BOS, *ids):
            node = (node * 7 + token + 1) % NUM_NODES
            for position, weight in enumerate(self.attention[sentence, node, :length].tolist()):
                coverage[position] += weight
        return sum(math.log(min(each, 1.0)) for each in coverage)


@pytest.mark.parametrize("coverage_penalty", [0.0, 0.3, 2.0])
@pytest.mark.parametrize("length_penalty", [0.0, 1.0])
def test_a_wide_beam_finds_the_best_by_probability_and_coverage(coverage_penalty: float, length_penalty: float) -> None:
    lengths = [1, 2, 3, 4]
    tables = random_tables(2, len(lengths), vocab_size=5)
    generator = torch.Generator().manual_seed(5)
    mask = sources(lengths)[1]
    logits = torch.randn(len(lengths), NUM_NODES, 4, generator=generator) * 2
    covered = CoveredTables(tables, logits.masked_fill(~mask[:, None], -torch.inf).softmax(dim=-1))
    options = changed(
        OPTIONS, beam_size=400, n_best=10, length_penalty=length_penalty, lookahead=9, coverage_penalty=coverage_penalty
    )
    found = beam_search(covered, *sources(lengths), options)
    num_changed = 0
    for sentence, length in enumerate(lengths):
        everything = enumerate_all(tables.logp_after(sentence), 5, length + 1, options)
        ranked = [
            replace(h, score=h.score + coverage_penalty * covered.penalty(sentence, length, h.ids)) for h in everything
        ]
        ranked.sort(key=lambda h: -h.score)
        num_changed += [h.ids for h in ranked[:10]] != [h.ids for h in everything[:10]]
        assert_same(found[sentence], ranked[:10], sentence)
    assert (num_changed > 0) == (coverage_penalty > 0)


def test_coverage_counts_up_to_one() -> None:
    coverage = torch.tensor([[0.5, 2.0, 1.0], [0.25, 0.5, 1.5], [0.0, 1.0, 1.0]])
    assert log_coverage(coverage).tolist() == pytest.approx([math.log(0.5), math.log(0.125), math.log(2.0**-126)])


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("given", [{"beam_size": 1}, {"beam_size": 3, "n_best": 3}, {"beam_size": 4, "beam_groups": 2}])
def test_scores_of_translations_include_the_coverage(
    count: int, given: dict[str, Any], trained: TrainedModel, sentences: list[str],
    make_model: Callable[..., Transformer],
) -> None:  # fmt: skip
    """The mean attention of an ensemble counts; the slow twin attends from all positions at once."""
    sizes = trained.tokenizer.src_vocab_size, trained.tokenizer.tgt_vocab_size
    models = [trained.model, make_model(8, vocab_sizes=sizes).eval()][:count]
    options = trained.generation.decode.with_options(coverage_penalty=0.7, **given)
    translator = Translator(trained, options, CPU, models[1:])
    src = trained.tokenizer.encode_src(sentences[:9])
    with torch.inference_mode():
        for ids, hypotheses in zip(src, translator._search_at_once([Segment(0, "", ids) for ids in src]), strict=True):
            for h in hypotheses:
                src_ids, tgt_in = torch.tensor([[*ids, 3]]), torch.tensor([[2, *h.ids]])
                coverage = torch.stack([_attention(model, src_ids, tgt_in).sum(dim=0) for model in models]).mean(dim=0)
                expected = h.logp / (len(h.ids) + 1) + 0.7 * coverage.clamp(max=1).log().sum().item()
                assert h.score == pytest.approx(expected, rel=1e-4)


def _attention(model: Transformer, src_ids: Tensor, tgt_in: Tensor) -> Tensor:
    """Attention of the last decoder layer from each target position to each of the source, without a cache."""
    seen: list[Tensor] = []
    cross = model.decoder_layers()[-1].cross_attention
    hook = cross.register_forward_hook(lambda module, inputs, _: seen.append(module.weights(*inputs).mean(dim=1)[0]))
    model(src_ids, torch.ones_like(src_ids, dtype=torch.bool), tgt_in)
    hook.remove()
    return seen[0]


@pytest.mark.parametrize("is_fast", [True, False])
def test_a_decoder_that_knows_coverage_predicts_the_same(
    is_fast: bool, trained: TrainedModel, sentences: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mtx.model.fast.twins_agree", lambda: is_fast)
    options = trained.generation.decode.with_options(beam_size=3, n_best=3)
    plain = Translator(trained, options, CPU)
    covered = Translator(trained, options, CPU)
    covered.model = Ensemble([CoverageDecoder(plain.model)] * 2, "probs")  # type: ignore[arg-type]
    assert covered.translate(sentences[:20]) == Translator(trained, options, CPU).translate(sentences[:20])
