"""Sampling draws from the distribution that it claims to, and the same for the same seed."""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from mtx.checkpoint.model_folder import TrainedModel
from mtx.config.decoding import DecodeOptions
from mtx.decode import sampling
from mtx.decode.sampling import Sampler, Uniforms
from mtx.decode.search import Hypothesis
from mtx.decode.topk import by_block
from mtx.decode.translator import Translator
from mtx.system.device import choose_precision
from tests.decode.test_search import (
    BOS,
    BROKEN,
    EOS,
    NUM_NODES,
    Tables,
    known_table,
    next_node,
    random_tables,
    sources,
)

OPTIONS = DecodeOptions(sample=True, max_length_factor=1.0, max_length_extra=1)
sample_search = partial(sampling.sample_search, bos_id=BOS, eos_id=EOS)


def changed(**fields: object) -> DecodeOptions:
    return OPTIONS.model_copy(update=fields)


def distribution(logits: Sequence[float], temperature: float, top_k: int, top_p: float) -> list[float]:
    """The probability of each token, step by step as the options describe it."""
    weights = [math.exp(x / temperature) for x in logits]
    order = sorted(range(len(weights)), key=lambda token: -weights[token])[: top_k or None]
    total, kept, mass = sum(weights[token] for token in order), [], 0.0
    for token in order:
        if mass < top_p * total:
            kept.append(token)
        mass += weights[token]
    norm = sum(weights[token] for token in kept)
    return [weights[token] / norm if token in kept else 0.0 for token in range(len(weights))]


class Evenly:
    """Uniform numbers that lie as evenly as they can, and others for further draws."""

    def draw(self, paths: Tensor, count: int) -> Tensor:
        if count == 1:
            return (paths + 0.5) / NUM_DRAWS
        return torch.rand(len(paths), generator=torch.Generator().manual_seed(count >> 32), dtype=torch.float64)


NUM_DRAWS = 10_000


@pytest.mark.parametrize("vocab_size", [3, 128, 300])
@pytest.mark.parametrize(
    ("temperature", "top_k", "top_p"),
    [
        (1.0, 0, 1.0),
        (0.5, 0, 1.0),
        (2.0, 0, 1.0),
        (1.0, 1, 1.0),
        (1.0, 7, 1.0),
        (0.7, 20, 0.8),
        (1.0, 0, 0.3),
        (1.5, 0, 0.9),
        (1.0, 0, 0.01),
        (1.0, 400, 0.5),
    ],
)
def test_tokens_are_drawn_by_their_probability(vocab_size: int, temperature: float, top_k: int, top_p: float) -> None:
    logits = torch.randn(vocab_size, generator=torch.Generator().manual_seed(vocab_size)) * 2
    logits[1] = -torch.inf
    sampler = Sampler(changed(temperature=temperature, top_k=top_k, top_p=top_p), Evenly())  # type: ignore[arg-type]
    logp_RV = logits.log_softmax(dim=0).expand(NUM_DRAWS, -1)
    logp, tokens = sampler.choose(logp_RV, torch.arange(NUM_DRAWS), 1)
    assert torch.equal(logp, logp_RV[0, tokens])
    expected = distribution(logits.tolist(), temperature, top_k, top_p)
    counts = Counter(tokens.tolist())
    assert not any(counts[token] for token, p in enumerate(expected) if p == 0)
    for token, p in enumerate(expected):
        # Where none is drawn again, the numbers lie evenly; elsewhere the count varies with five standard deviations.
        slack = 2 if not top_k and top_p == 1 else 5 * math.sqrt(NUM_DRAWS * p * (1 - p)) + 2
        assert counts[token] == pytest.approx(NUM_DRAWS * p, abs=slack), token


def test_better_tokens_have_no_more_than_the_blocks_let_them() -> None:
    p = (torch.randn(500, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 9).softmax(dim=0)
    p_RV, tokens = p.expand(500, -1), torch.arange(500)
    most = sampling._bound_of_better(by_block(torch.sum, p_RV), p, tokens)
    better = (p_RV * (p_RV > p[:, None])).sum(dim=1)
    assert (better - 1e-12 <= most).all()
    assert (most <= 1 - p + 1e-12).all()


def test_top_p_is_a_share_of_what_top_k_leaves() -> None:
    p = torch.zeros(300)  # of the three best, the second one begins at 0.35 / 0.7 = 0.5
    p[0], p[128], p[256:287] = 0.34, 0.35, 0.01
    for top_p, kept in [(0.45, {128}), (0.55, {0, 128})]:
        sampler = Sampler(changed(top_k=3, top_p=top_p), Uniforms(1, [[1]], 100))
        _, tokens = sampler.choose(p.log().expand(100, -1), torch.arange(100), 1)
        assert set(tokens.tolist()) == kept


@pytest.mark.parametrize("options", [{"top_k": 5}, {"top_p": 0.3}, {"top_k": 50, "top_p": 0.3}])
def test_no_number_decides_twice(options: dict[str, Any]) -> None:
    drawn: list[tuple[int, int]] = []

    class Recorder(Evenly):
        def draw(self, paths: Tensor, count: int) -> Tensor:
            drawn.extend((path, count) for path in paths.tolist())
            return super().draw(paths, count)

    sampler = Sampler(changed(temperature=3.0, **options), Recorder())  # type: ignore[arg-type]
    logits = torch.randn(300, generator=torch.Generator().manual_seed(0))
    sampler.choose(logits.log_softmax(dim=0).expand(100, -1), torch.arange(0, NUM_DRAWS, 100), 1)
    assert len(set(drawn)) == len(drawn) > 150, "and some are drawn again"


def test_uniform_numbers_are_uniform_and_independent() -> None:
    uniforms = Uniforms(1, [[1, 2], [1, 3], [1, 2]], num_samples=5000)
    draws = np.stack([uniforms.draw(torch.arange(15_000), count).numpy() for count in (1, 2, 3, 1 + (1 << 32))])
    assert np.array_equal(draws[:, :5000], draws[:, 10_000:]), "the same source draws the same"
    draws = draws[:, :10_000]
    assert np.abs(np.sort(draws) - (np.arange(10_000) + 0.5) / 10_000).max() < 0.02  # Kolmogorov and Smirnov: p > 0.999
    flat = np.concatenate([draws[:, :5000], draws[:, 5000:]])
    assert np.abs(np.corrcoef(flat) - np.eye(8)).max() < 0.07
    assert np.abs(np.corrcoef(flat[:, 1:], flat[:, :-1])[:8, 8:]).max() < 0.07, "from sample to sample"


def test_translations_are_drawn_by_their_probability() -> None:
    table = known_table({(): {4: 0.6, 5: 0.3, EOS: 0.1}, (4,): {1: 0.5, EOS: 0.5}, (5,): {EOS: 1.0}})
    drawn = sample_search(table, *sources([4]), changed(samples=4000))[0]
    counts = Counter(tuple(h.ids) for h in drawn)
    for ids, p in {(): 0.1, (4,): 0.3, (4, 1): 0.3, (5,): 0.3}.items():
        assert counts[ids] / 4000 == pytest.approx(p, abs=0.04)
        assert all(h.logp == pytest.approx(math.log(p), abs=1e-5) for h in drawn if tuple(h.ids) == ids)
    assert sum(counts.values()) == 4000


def as_values(found: list[list[Hypothesis]]) -> list[list[tuple[Any, ...]]]:
    return [
        [(h.ids, pytest.approx(h.logp, abs=1e-5), pytest.approx(h.score, abs=1e-5)) for h in each] for each in found
    ]


@pytest.mark.parametrize("options", [{}, {"top_p": 0.7}, {"top_k": 4, "temperature": 2.0}, {"with_scores": False}])
def test_draws_do_not_depend_on_what_is_drawn_beside_them(options: dict[str, Any]) -> None:
    """With scores, log-probabilities are the model's own, whatever the temperature."""
    tables = random_tables(3, num_sentences=30, vocab_size=150, eos_bonus=3.0)
    lengths = [1 + sentence * 5 % 11 for sentence in range(30)]
    src_ids, src_mask = sources(lengths)
    together = sample_search(tables, src_ids, src_mask, changed(samples=6, **options))
    assert len({tuple(h.ids) for each in together for h in each}) > 90
    assert {len(h.ids) for each in together for h in each} >= set(range(5))
    for sentence, length in enumerate(lengths):
        row, samples = slice(sentence, sentence + 1), (1, 3)[sentence % 2]
        alone = sample_search(
            tables, src_ids[row, :length], src_mask[row, :length], changed(samples=samples, **options)
        )
        assert [h.ids for h in alone[0]] == [h.ids for h in together[sentence][:samples]]
        logp_after = tables.logp_after(sentence)
        for h in together[sentence]:
            ids = (*h.ids, EOS)
            logp = sum(logp_after(ids[:t])[token] for t, token in enumerate(ids))
            assert math.isnan(h.logp) if "with_scores" in options else h.logp == pytest.approx(logp, abs=1e-4)
            assert math.isnan(h.score) or h.score == pytest.approx(h.logp / len(ids))
    other = sample_search(tables, src_ids, src_mask, changed(samples=6, seed=2, **options))
    assert as_values(other) != as_values(together)


@pytest.mark.parametrize("row", BROKEN)
@pytest.mark.parametrize("options", [{}, {"with_scores": False}, {"top_k": 3}, {"top_p": 0.5, "samples": 3}])
@pytest.mark.parametrize("broken_from", [0, 4])
def test_numbers_that_overflow_are_an_error(options: dict[str, Any], row: str, broken_from: int) -> None:
    tables = Tables(torch.zeros(3, NUM_NODES, 6, dtype=torch.float64))
    tables.logits[:, :, 4] = 90.0
    node = 0
    for token in (BOS, *[4] * broken_from):
        node = next_node(node, token)
    tables.logits[1, node] = torch.tensor(BROKEN[row], dtype=torch.float64)
    with pytest.raises(FloatingPointError, match="the model's numbers overflow"):
        sample_search(tables, *sources([3, 4, 6]), changed(**options))


@pytest.fixture
def sampled(trained: TrainedModel, sentences: list[str]) -> Callable[..., list[list[str]]]:
    """Texts that a tiny float64 model draws for 30 sentences."""

    def sampled(num_workers: int = 1, lines: Sequence[str] = sentences[:30], **given: Any) -> list[list[str]]:
        options = trained.generation.decode.with_options(sample=True, avoids_loops=False, **given)
        translator = Translator(trained, options, choose_precision("fp32", torch.device("cpu")))
        translator.num_workers = num_workers
        translations = translator.translate(lines)
        translator.close()
        return [[candidate.tgt for candidate in translation.nbest] for translation in translations]

    return sampled


def test_the_same_seed_draws_the_same_texts(sampled: Callable[..., list[list[str]]], sentences: list[str]) -> None:
    """Whatever the batches, the number of samples, the order of the lines, and the state of torch's own generator."""
    first = sampled(samples=3)
    assert all(len(nbest) == 3 for nbest in first)
    assert len({text for nbest in first for text in nbest}) > 60
    torch.manual_seed(7)
    assert sampled(samples=3, batch_tokens=300) == first
    assert sampled() == [nbest[:1] for nbest in first]
    assert sampled(lines=sentences[29:4:-1]) == [nbest[:1] for nbest in first[:4:-1]]
    assert sampled(seed=2) != [nbest[:1] for nbest in first]


@pytest.mark.process
def test_other_processes_draw_the_same_texts(sampled: Callable[..., list[list[str]]]) -> None:
    assert sampled(samples=3, num_workers=2, batch_tokens=100) == sampled(samples=3)


def test_little_temperature_and_the_best_token_alone_are_greedy_search(
    sampled: Callable[..., list[list[str]]], trained: TrainedModel, sentences: list[str]
) -> None:
    options = trained.generation.decode.with_options(beam_size=1, avoids_loops=False)
    greedy = Translator(trained, options, choose_precision("fp32", torch.device("cpu"))).translate(sentences[:30])
    assert sampled(top_k=1) == sampled(top_p=0.01) == [[each.tgt] for each in greedy]
