"""Greedy and beam search find what their definitions say: compared with enumeration and a plain, slow beam search."""

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Self

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from mtx.config.decoding import DecodeOptions
from mtx.decode import beam, search
from mtx.decode.search import Hypothesis, compaction_indices, max_lengths
from mtx.decode.topk import BLOCK_SIZE, best_continuations, best_tokens
from mtx.model import Transformer

BOS, EOS = 0, 3
NUM_NODES = 997
OPTIONS = DecodeOptions(beam_size=1, length_penalty=1.0, max_length_factor=1.0, max_length_extra=1)
greedy_search = partial(search.greedy_search, bos_id=BOS, eos_id=EOS)
beam_search = partial(beam.beam_search, bos_id=BOS, eos_id=EOS)


def changed(options: DecodeOptions, **fields: object) -> DecodeOptions:
    """`options` with other values."""
    return options.model_copy(update=fields)


@dataclass(frozen=True, slots=True)
class Rows:
    """State of `Tables`: the sentence of each row, and the node that its tokens lead to."""

    sentence_R: Tensor
    node_R: Tensor
    num_sentences: int

    def select(self, rows_R: Tensor, sentences_B: Tensor) -> Self:
        every = len(rows_R) // max(len(sentences_B), 1)
        wanted = self.sentence_R.unflatten(0, (self.num_sentences, -1))[sentences_B, 0].repeat_interleave(every)
        after = self.sentence_R[rows_R]
        assert torch.equal(after, wanted), "a row went to another sentence"
        return replace(self, sentence_R=after, node_R=self.node_R[rows_R], num_sentences=len(sentences_B))


@dataclass(frozen=True, slots=True)
class Tables:
    """A model that looks up its logits by sentence and preceding tokens. `src_ids` hold the number of the sentence.

    Shapes:
        logits: (sentences, NUM_NODES, V)
    """

    logits: Tensor

    def start(self, src_ids: Tensor, src_mask: Tensor) -> Rows:
        return Rows(src_ids[:, 0], torch.zeros_like(src_ids[:, 0]), num_sentences=len(src_ids))

    def step(self, prev_ids: Tensor, state: Rows) -> tuple[Tensor, Rows]:
        node_R = next_node(state.node_R, prev_ids)
        return self.logits[state.sentence_R, node_R], replace(state, node_R=node_R)

    def logp_after(self, sentence: int) -> Callable[[Sequence[int]], list[float]]:
        """The log-probabilities of the next token after some tokens."""
        logp: list[list[float]] = self.logits[sentence].log_softmax(dim=-1).tolist()

        def logp_after(ids: Sequence[int]) -> list[float]:
            node = 0
            for token in (BOS, *ids):
                node = next_node(node, token)
            return logp[node]

        return logp_after


def next_node(node: Any, token: Any) -> Any:
    return (node * 7 + token + 1) % NUM_NODES


def random_tables(seed: int, num_sentences: int, vocab_size: int, eos_bonus: float = 0.5) -> Tables:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(num_sentences, NUM_NODES, vocab_size, generator=generator) * 1.5
    logits[:, :, EOS] += eos_bonus
    return Tables(logits)


def sources(lengths: Sequence[int]) -> tuple[Tensor, Tensor]:
    """`src_ids` and `src_mask` of sentences 0, 1, …, which have these lengths."""
    src_mask = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    return torch.arange(len(lengths))[:, None].expand(-1, max(lengths)), src_mask


def enumerate_all(
    logp_after: Callable[[Sequence[int]], list[float]], vocab_size: int, longest: int, options: DecodeOptions
) -> list[Hypothesis]:
    """All possible translations, best first."""
    everything = []
    words = [token for token in range(vocab_size) if token != EOS]
    for length in range(longest):
        for ids in itertools.product(words, repeat=length):
            logp = sum(logp_after(ids[:t])[token] for t, token in enumerate((*ids, EOS)))
            everything.append(Hypothesis(list(ids), logp, logp / (length + 1) ** options.length_penalty))
    return sorted(everything, key=lambda hypothesis: -hypothesis.score)


def plain_beam(
    logp_after: Callable[[Sequence[int]], list[float]], longest: int, options: DecodeOptions
) -> list[Hypothesis]:
    """Beam search of one sentence, step by step as the docstring of `beam_search` describes it."""
    width = options.beam_size
    alive: list[tuple[float, list[int]]] = [(0.0, [])]
    finished: list[Hypothesis] = []
    for length in range(1, longest + 1):
        continuations = [
            (logp + next_logp, [*ids, token])
            for logp, ids in alive
            for token, next_logp in enumerate(logp_after(ids))
            if (token == EOS or length < longest) and next_logp > -math.inf
        ]
        if not continuations and not finished:
            continuations = [(logp, [*ids, EOS]) for logp, ids in alive]  # if no end is possible, it costs nothing
        continuations.sort(key=lambda continuation: -continuation[0])
        for logp, ids in continuations[:width]:
            if ids[-1] == EOS and len(finished) < width:
                finished.append(Hypothesis(ids[:-1], logp, logp / length**options.length_penalty))
        alive = [continuation for continuation in continuations[: 2 * width] if continuation[1][-1] != EOS][:width]
        if len(finished) == width or not alive:
            break
        best = sorted((hypothesis.score for hypothesis in finished), reverse=True)[options.n_best - 1 : options.n_best]
        horizon = min(length + options.lookahead, longest)
        if best and alive[0][0] / horizon**options.length_penalty <= best[0]:
            break
    return sorted(finished, key=lambda hypothesis: -hypothesis.score)[: options.n_best]


def assert_same(found: list[Hypothesis], expected: list[Hypothesis], what: object = "") -> None:
    assert [hypothesis.ids for hypothesis in found] == [hypothesis.ids for hypothesis in expected], what
    for name in ("logp", "score"):
        values = [[getattr(hypothesis, name) for hypothesis in hypotheses] for hypotheses in (found, expected)]
        assert values[0] == pytest.approx(values[1], rel=2e-6, abs=2e-6), what


# --- against other searches ------------------------------------------------------------------------------------------


def test_a_beam_of_one_is_greedy_on_tables() -> None:
    tables = random_tables(1, num_sentences=200, vocab_size=9)
    src = sources([sentence % 7 for sentence in range(200)])
    greedy = greedy_search(tables, *src, OPTIONS)
    assert {len(found[0].ids) for found in greedy} == set(range(7)), "some end early, some at the maximum length"
    for found, expected in zip(beam_search(tables, *src, OPTIONS), greedy, strict=True):
        assert_same(found, expected)


def test_greedy_search_without_scores_finds_the_same() -> None:
    tables = random_tables(5, num_sentences=50, vocab_size=300, eos_bonus=3.0)
    src = sources([sentence % 7 for sentence in range(50)])
    scored, plain = (
        greedy_search(tables, *src, changed(OPTIONS, with_scores=with_scores)) for with_scores in (True, False)
    )
    assert [[h.ids for h in found] for found in plain] == [[h.ids for h in found] for found in scored]
    assert all(math.isnan(found[0].score) and math.isnan(found[0].logp) for found in plain)


@pytest.mark.parametrize(
    "vocab_size", [1, 9, *(BLOCK_SIZE + n for n in (-1, 0, 1)), 5 * BLOCK_SIZE, 5 * BLOCK_SIZE + 77]
)
@pytest.mark.parametrize("num_rows", [2, 40])
def test_best_tokens_are_the_greatest(num_rows: int, vocab_size: int) -> None:
    torch.manual_seed(vocab_size)
    logp = torch.randn(num_rows, vocab_size)
    logp[torch.arange(0, num_rows, 2), torch.randint(vocab_size, (num_rows // 2,))] = 9.0
    logp[:2, -1] = 10.0
    values, tokens = best_tokens(logp)
    assert torch.equal(values, logp.max(dim=1).values)
    assert torch.equal(tokens, logp.argmax(dim=1))


@given(st.lists(st.booleans(), max_size=30))
def test_compaction_moves_as_few_rows_as_possible(kept: list[bool]) -> None:
    places = compaction_indices(torch.tensor(kept, dtype=torch.bool)).tolist()
    assert sorted(places) == [place for place, is_kept in enumerate(kept) if is_kept]
    assert all(places[place] == place for place in range(len(places)) if kept[place])


def test_a_beam_of_one_is_greedy_on_transformers(
    make_model: Callable[..., Transformer], make_batch: Callable[..., tuple[Tensor, Tensor, Tensor]]
) -> None:
    for seed in range(40):
        model = make_model(seed, norm=("pre", "post")[seed % 2]).eval()
        src_ids, src_mask, _ = make_batch(seed, sizes=(6, 9, 1))
        with torch.inference_mode():
            greedy = greedy_search(model, src_ids, src_mask, OPTIONS)
            beam = beam_search(model, src_ids, src_mask, OPTIONS)
        for found, expected in zip(beam, greedy, strict=True):
            assert_same(found, expected)


@pytest.mark.parametrize("length_penalty", [0.0, 0.6, 1.0, 2.0])
def test_a_beam_that_is_wide_enough_finds_the_best(length_penalty: float) -> None:
    """Enumeration of all 1 + 4 + 16 + … translations gives the same n best, and the same set if all are asked for."""
    lengths = [0, 1, 2, 3, 4, 5]
    tables = random_tables(2, len(lengths), vocab_size=5)
    options = changed(OPTIONS, beam_size=1400, length_penalty=length_penalty, lookahead=6)
    best = beam_search(tables, *sources(lengths), changed(options, n_best=20))
    everything = beam_search(tables, *sources(lengths), changed(options, n_best=1400))
    for sentence, length in enumerate(lengths):
        expected = enumerate_all(tables.logp_after(sentence), 5, length + 1, options)
        assert_same(best[sentence], expected[:20])
        assert len(everything[sentence]) == len(expected) == sum(4**n for n in range(length + 1))
        assert {tuple(h.ids) for h in everything[sentence]} == {tuple(h.ids) for h in expected}


@pytest.mark.slow
@pytest.mark.parametrize("length", range(6))
def test_a_beam_that_is_wide_enough_finds_the_best_on_many_tables(length: int) -> None:
    """On 6 × 170 tables. Translations have up to 6 tokens, the end symbol included, of a vocabulary of 5."""
    count, length_penalty = 170, (0.0, 0.6, 1.0)[length % 3]
    tables = random_tables(length, count, vocab_size=5)
    logp_SNV = tables.logits.log_softmax(dim=-1)
    everything, scores = [], []
    for num_words in range(length + 1):
        for ids in itertools.product((0, 1, 2, 4), repeat=num_words):
            node, logp_S = next_node(0, BOS), torch.zeros(count)
            for token in (*ids, EOS):
                logp_S = logp_S + logp_SNV[:, node, token]
                node = next_node(node, token)
            everything.append(list(ids))
            scores.append(logp_S / (num_words + 1) ** length_penalty)
    n_best = min(5, len(everything))
    best = torch.stack(scores).topk(n_best, dim=0)
    options = changed(
        OPTIONS,
        beam_size=1400,
        n_best=n_best,
        length_penalty=length_penalty,
        max_length_factor=0.1,
        max_length_extra=length + 1,
        lookahead=6,
    )
    for sentence, found in enumerate(beam_search(tables, *sources([1] * count), options)):
        assert [hypothesis.score for hypothesis in found] == pytest.approx(best.values[:, sentence].tolist(), abs=2e-6)
        assert [hypothesis.ids for hypothesis in found] == [everything[i] for i in best.indices[:, sentence].tolist()]


@pytest.mark.parametrize("eos_bonus", [-2.0, 0.5, 2.0])
@pytest.mark.parametrize(
    ("width", "n_best", "length_penalty", "vocab_size"),
    [
        (1, 1, 0.0, 6),
        (2, 1, 1.0, 4),
        (2, 2, 0.6, 5),
        (3, 1, 0.0, 9),
        (3, 2, 1.0, 7),
        (4, 1, 2.0, 5),
        (4, 4, 1.0, 6),
        (5, 1, 1.0, 8),
        (5, 3, 0.3, 6),
        (8, 2, 4.0, 5),
    ],
)
def test_a_narrow_beam_finds_what_the_plain_search_finds(
    width: int, n_best: int, length_penalty: float, vocab_size: int, eos_bonus: float
) -> None:
    """For 40 sentences of different lengths at once, each as the plain search finds it alone."""
    lengths = [sentence * 5 % 9 for sentence in range(40)]
    tables = random_tables(width * 10 + n_best, len(lengths), vocab_size, eos_bonus)
    options = changed(OPTIONS, beam_size=width, n_best=n_best, length_penalty=length_penalty)
    found = beam_search(tables, *sources(lengths), options)
    for sentence, length in enumerate(lengths):
        expected = plain_beam(tables.logp_after(sentence), length + 1, options)
        assert_same(found[sentence], expected, sentence)


@pytest.mark.parametrize("vocab_size", [5, 127, 128, 129, 500, 1024])
@pytest.mark.parametrize(("num_sentences", "width"), [(1, 1), (4, 3), (2, 7)])
def test_best_continuations_are_the_best_of_all(num_sentences: int, width: int, vocab_size: int) -> None:
    """Blocks give what a search through all gives, also with dead hypotheses and if more are wanted than exist."""
    torch.manual_seed(vocab_size)
    logp_RV = torch.randn(num_sentences * width, vocab_size)
    logp_BW = torch.randn(num_sentences, width) * 3
    logp_BW[-1, 1:] = -torch.inf
    for count in (1, 2 * width, 40, 5000):
        all_logp = (logp_RV.view(num_sentences, width, vocab_size) + logp_BW[:, :, None]).flatten(1)
        expected = all_logp.topk(min(count, width * vocab_size), dim=1).values
        logp, parents, tokens = best_continuations(logp_RV, logp_BW, count)
        torch.testing.assert_close(logp, expected, atol=0, rtol=0)
        assert ((tokens >= 0) & (tokens < vocab_size)).all()
        for b in range(num_sentences):
            is_alive = logp[b].isfinite()
            places = (parents[b] * vocab_size + tokens[b])[is_alive]
            assert len(places.unique()) == len(places)
            assert torch.equal(all_logp[b, places], logp[b, is_alive])


# --- known cases -----------------------------------------------------------------------------------------------------


def known_table(probabilities: dict[tuple[int, ...], dict[int, float]], vocab_size: int = 6) -> Tables:
    """A table with the given probabilities after the given tokens; elsewhere the end symbol is almost certain."""
    logits = torch.full((1, NUM_NODES, vocab_size), -30.0)
    logits[:, :, EOS] = 0.0
    for ids, row in probabilities.items():
        node = 0
        for token in (BOS, *ids):
            node = next_node(node, token)
        logits[0, node] = -30.0
        for token, probability in row.items():
            logits[0, node, token] = torch.tensor(probability).log()
    return Tables(logits)


def test_a_case_that_greedy_search_gets_wrong() -> None:
    table = known_table({(): {4: 0.6, 5: 0.4}, (4,): {1: 0.4, 2: 0.3, EOS: 0.3}, (5,): {EOS: 1.0}})
    src = sources([4])
    assert greedy_search(table, *src, OPTIONS)[0][0].ids == [4, 1]
    assert beam_search(table, *src, changed(OPTIONS, beam_size=2, length_penalty=0.0))[0][0].ids == [5]


@pytest.mark.parametrize(("length_penalty", "ids"), [(0.0, []), (0.1, []), (0.2, [4, 5]), (1.0, [4, 5])])
def test_the_length_penalty_prefers_longer_translations(length_penalty: float, ids: list[int]) -> None:
    """0.4 for the empty translation against 0.35 for one of three tokens: -0.92 and -1.05 before the penalty."""
    table = known_table({(): {EOS: 0.4, 4: 0.35, 5: 0.25}, (4,): {5: 1.0}, (5,): {1: 0.5, 2: 0.5}})
    options = changed(OPTIONS, beam_size=2, length_penalty=length_penalty)
    assert beam_search(table, *sources([5]), options)[0][0].ids == ids


@pytest.mark.parametrize(("lookahead", "ids"), [(1, []), (3, []), (4, []), (5, [4] * 5), (6, [4] * 5), (99, [4] * 5)])
def test_hypotheses_that_would_win_only_beyond_the_lookahead_are_dropped(lookahead: int, ids: list[int]) -> None:
    """The empty translation (0.4) scores -0.92; one of 5 words (0.01) overtakes it only at its end, with -0.77."""
    table = Tables(torch.zeros(1, NUM_NODES, 64))
    table.logits[:, :, EOS] = -30.0
    node = next_node(0, BOS)
    table.logits[0, node] = torch.tensor(0.59 / 62).log()
    table.logits[0, node, [EOS, 4]] = torch.tensor([0.4, 0.01]).log()
    for after in (4, 4, 4, 4, EOS):
        node = next_node(node, 4)
        table.logits[0, node] = -30.0
        table.logits[0, node, after] = 0.0
    options = changed(OPTIONS, beam_size=2, lookahead=lookahead)
    assert beam_search(table, *sources([9]), options)[0][0].ids == ids


@pytest.mark.parametrize("search", [greedy_search, beam_search])
def test_at_the_maximum_length_the_end_symbol_costs_what_the_model_says(
    search: Callable[..., list[list[Hypothesis]]],
) -> None:
    tables = Tables(torch.zeros(3, NUM_NODES, 6))
    tables.logits[:, :, EOS] = -8.0
    tables.logits[:, :, 4] = 2.0
    options = changed(OPTIONS, beam_size=2, max_length_factor=1.5, max_length_extra=2)
    lengths = [0, 3, 6]
    assert max_lengths(sources(lengths)[1], options) == [2, 6, 11]
    logp = tables.logits[0, 0].log_softmax(dim=-1)
    for found, longest in zip(search(tables, *sources(lengths), options), [2, 6, 11], strict=True):
        assert found[0].ids == [4] * (longest - 1)
        assert found[0].logp == pytest.approx(float((longest - 1) * logp[4] + logp[EOS]), rel=1e-5)
        assert found[0].score == pytest.approx(found[0].logp / longest, rel=1e-6)


BROKEN = {
    "not numbers": [math.nan] * 6,
    "one not a number": [0.0, 0.0, 0.0, 0.0, math.nan, 0.0],
    "nothing possible": [-math.inf] * 6,
    "one infinite": [0.0, math.inf, 0.0, 0.0, 0.0, 0.0],
    "an infinite end": [0.0, 0.0, 0.0, math.inf, 0.0, 0.0],
    "too large for float32": [0.0, 1e300, 0.0, 0.0, 0.0, 0.0],
}
SEARCHES = {
    "greedy": (greedy_search, OPTIONS),
    "greedy, no scores": (greedy_search, changed(OPTIONS, with_scores=False)),
    "beam 1": (beam_search, OPTIONS),
    "beam 3": (beam_search, changed(OPTIONS, beam_size=3, n_best=2)),
}


@pytest.mark.parametrize("row", BROKEN)
@pytest.mark.parametrize("name", SEARCHES)
@pytest.mark.parametrize("broken_from", [0, 1, 4])
def test_numbers_that_overflow_are_an_error(name: str, row: str, broken_from: int) -> None:
    """At the first step, a later one and the last; in one sentence among intact ones."""
    tables = Tables(torch.zeros(3, NUM_NODES, 6, dtype=torch.float64))
    tables.logits[:, :, 4], tables.logits[:, :, EOS] = 9.0, -9.0
    node = 0
    for token in (BOS, *[4] * broken_from):
        node = next_node(node, token)
    tables.logits[1, node] = torch.tensor(BROKEN[row], dtype=torch.float64)
    search, options = SEARCHES[name]
    with pytest.raises(FloatingPointError, match="the model's numbers overflow"):
        search(tables, *sources([3, 4, 6]), options)


@pytest.mark.parametrize("name", SEARCHES)
def test_if_nothing_can_end_the_best_at_the_maximum_length_wins(name: str) -> None:
    tables = random_tables(6, num_sentences=8, vocab_size=6)
    tables.logits[:, :, EOS] = -torch.inf
    lengths = [0, 1, 2, 3, 4, 5, 6, 20]
    search, options = SEARCHES[name]
    for sentence, found in enumerate(search(tables, *sources(lengths), options)):
        logp_after, best = tables.logp_after(sentence), found[0]
        assert len(found) == (1 if lengths[sentence] == 0 else options.n_best)
        assert len(best.ids) == lengths[sentence]
        logp = sum(logp_after(best.ids[:t])[token] for t, token in enumerate(best.ids))
        if options.with_scores:
            assert best.logp == pytest.approx(logp, abs=1e-5)
            assert best.score == pytest.approx(logp / (lengths[sentence] + 1), abs=1e-5)
        if options.beam_size == 1:
            greedy = [max(range(6), key=logp_after(best.ids[:t]).__getitem__) for t in range(len(best.ids))]
            assert best.ids == greedy


@pytest.mark.slow
@given(st.data())
def test_beam_search_equals_the_plain_one_on_any_table(data: st.DataObject) -> None:
    """Whatever tokens are impossible, as long as one is possible at each step."""
    draw = data.draw
    vocab_size = draw(st.integers(EOS + 1, 7))
    tables = random_tables(draw(st.integers(0, 2**32)), 4, vocab_size, draw(st.floats(-4, 4)))
    share = draw(st.sampled_from([0.0, 0.3, 0.7, 0.95]))
    is_impossible = torch.rand(tables.logits.shape, generator=torch.Generator().manual_seed(7)) < share
    is_impossible[..., EOS] |= draw(st.booleans())
    is_impossible.scatter_(2, tables.logits.masked_fill(is_impossible, -9e9).argmax(dim=2, keepdim=True), False)
    tables.logits[is_impossible] = -torch.inf
    lengths = [*draw(st.lists(st.integers(0, 8), min_size=3, max_size=3)), 5]
    width = draw(st.integers(1, 4))
    options = changed(
        OPTIONS, beam_size=width, n_best=draw(st.integers(1, width)), length_penalty=draw(st.sampled_from([0.0, 1.0]))
    )
    found = beam_search(tables, *sources(lengths), options)
    for sentence, length in enumerate(lengths):
        expected = plain_beam(tables.logp_after(sentence), length + 1, options)
        assert_same(found[sentence], expected, sentence)
        assert all(len(hypothesis.ids) <= length for hypothesis in found[sentence])
    if width == 1:
        for hypotheses, expected in zip(greedy_search(tables, *sources(lengths), options), found, strict=True):
            assert_same(hypotheses, expected)


def test_a_small_vocabulary_has_fewer_hypotheses_than_wanted() -> None:
    found = beam_search(random_tables(3, 2, 6), *sources([0, 1]), changed(OPTIONS, beam_size=4, n_best=4))
    assert [len(hypotheses) for hypotheses in found] == [1, 4]


# --- on a Transformer ------------------------------------------------------------------------------------------------


@pytest.fixture
def transformer(make_model: Callable[..., Transformer]) -> Transformer:
    return make_model(4).eval()


@pytest.fixture
def batch(make_batch: Callable[..., tuple[Tensor, Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    return make_batch(4, sizes=(12, 9, 1))[:2]


@pytest.mark.parametrize("width", [1, 4])
@pytest.mark.parametrize("length_penalty", [0.0, 1.0])
def test_the_score_is_that_of_forced_decoding(
    width: int, length_penalty: float, transformer: Transformer, batch: tuple[Tensor, Tensor]
) -> None:
    options = changed(OPTIONS, beam_size=width, n_best=width, length_penalty=length_penalty)
    search = greedy_search if width == 1 else beam_search
    with torch.inference_mode():
        found = search(transformer, *batch, options)
        for sentence, hypotheses in enumerate(found):
            assert len(hypotheses) == width
            scores = [hypothesis.score for hypothesis in hypotheses]
            assert scores == sorted(scores, reverse=True)
            for hypothesis in hypotheses:
                src_ids, src_mask = (tensor[sentence : sentence + 1] for tensor in batch)
                tgt_in = torch.tensor([[BOS, *hypothesis.ids]])
                logp = transformer(src_ids, src_mask, tgt_in)[0].log_softmax(dim=-1)
                forced = sum(float(logp[t, token]) for t, token in enumerate([*hypothesis.ids, EOS]))
                assert hypothesis.logp == pytest.approx(forced, abs=1e-5)
                length = len(hypothesis.ids) + 1
                assert hypothesis.score == pytest.approx(forced / length**length_penalty, abs=1e-5)


@pytest.mark.parametrize("width", [1, 4])
def test_a_translation_does_not_depend_on_its_batch(
    width: int, transformer: Transformer, batch: tuple[Tensor, Tensor]
) -> None:
    options = changed(OPTIONS, beam_size=width, n_best=width)
    search = greedy_search if width == 1 else beam_search
    src_ids, src_mask = batch
    order = torch.tensor([7, 3, 11, 0, 5, 9, 1, 2, 10, 4, 8, 6])
    with torch.inference_mode():
        together = search(transformer, src_ids, src_mask, options)
        permuted = search(transformer, src_ids[order], src_mask[order], options)
        lengths = {len(found[0].ids) for found in together}
        assert len(lengths) > 3, "sentences that leave the batch at different steps"
        for place, sentence in enumerate(order.tolist()):
            real = slice(sentence, sentence + 1), slice(int(src_mask[sentence].sum()))
            alone = search(transformer, src_ids[real], src_mask[real], options)
            assert_same(alone[0], together[sentence])
            assert_same(permuted[place], together[sentence])
