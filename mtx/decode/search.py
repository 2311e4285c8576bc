"""Greedy and beam search: ids in, ids out. Knows of the model only `start` and `step`.

Whatever the model says, both end when a translation is at its longest, with a hypothesis or a FloatingPointError.

The letters of the shapes are explained in `mtx.model`.
"""

import math
from dataclasses import dataclass
from typing import Protocol, Self, TypeVar

import torch
from torch import Tensor


class State(Protocol):
    """What a model remembers between steps, for R rows: as many hypotheses for each of B sentences, side by side."""

    def select(self, rows_R: Tensor, sentences_B: Tensor) -> Self:
        """Only these sentences, in this order; row r becomes row `rows_R[r]`, which belongs to the same sentence."""


S = TypeVar("S", bound=State)

OVERFLOW = "the model's numbers overflow"

BLOCK = 128
"""Tokens of the vocabulary that are compared by their best one, in the search for the best of all."""

FEW_ROWS = 4
"""So few are looked through faster than blocks are made of them."""


class StepModel(Protocol[S]):
    """All that a search may know about a model."""

    def start(self, src_ids: Tensor, src_mask: Tensor) -> S:
        """The state before the first target token, with one row a sentence."""

    def step(self, prev_ids: Tensor, state: S) -> tuple[Tensor, S]:
        """Logits (R, V) of the token after `prev_ids` (R,), and the state one token on."""


@dataclass(frozen=True, slots=True)
class SearchOptions:
    """How to search, and the two symbols that frame a translation."""

    beam_size: int
    length_penalty: float
    max_length_factor: float
    max_length_extra: int
    bos_id: int
    eos_id: int
    with_scores: bool = True
    """Whether greedy search, whose choices need none, finds log-probabilities too: 3 to 5 % of its time on a CPU."""
    n_best: int = 1
    """Hypotheses wanted for each sentence; at most `beam_size`."""
    foresight: int = 3
    """Tokens that a living hypothesis is given for nothing when it is asked whether it could be one of these yet.

    One that overtakes only later is given up. With a beam of 5 that changed 1 translation of 1,000, whose score it
    lowered by 0.003 (a small model of the demo); with 2 tokens it changed 10, with 5 none. As many as the longest
    translation has give nothing up."""

    def longest(self, src_mask: Tensor) -> list[int]:
        """The most target tokens, the end symbol included, that each sentence may get. Shapes: (B, S) -> B numbers."""
        lengths = src_mask.sum(dim=1).tolist()
        return [int(self.max_length_factor * length) + self.max_length_extra for length in lengths]


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """A finished translation."""

    ids: list[int]
    """Tokens without start and end symbol."""
    logp: float
    """Natural log-probability of the tokens and the end symbol; not a number where none was asked for.

    Of the tokens alone where the model gave the end symbol probability 0 when the translation was at its longest."""
    score: float
    """logp / length ** length_penalty, the end symbol counted: what hypotheses are ranked by."""


def greedy_search(
    model: StepModel[S], src_ids: Tensor, src_mask: Tensor, options: SearchOptions
) -> list[list[Hypothesis]]:
    """The most probable next token at every step, until the end symbol.

    Shapes:
        src_ids, src_mask: (B, S)
        return:            for each sentence a list of one hypothesis

    Raises:
        FloatingPointError: no token has a probability, as the model's numbers overflow.
    """
    device = src_ids.device
    longest = torch.tensor(options.longest(src_mask), device=device)
    sentences = torch.arange(src_ids.size(0), device=device)  # which sentences the rows still stand for
    found: list[list[Hypothesis]] = [[] for _ in range(src_ids.size(0))]
    ids = torch.full((src_ids.size(0), 1), options.bos_id, device=device)
    logp = torch.zeros(src_ids.size(0), device=device)
    state = model.start(src_ids, src_mask)

    while sentences.numel():
        logits_RV, state = model.step(ids[:, -1], state)
        logp_RV = logits_RV.float()
        if options.with_scores:
            logp_RV = logp_RV.log_softmax(dim=-1)  # raises or lowers all tokens alike: the best stays the best
        next_logp, next_ids = best_tokens(logp_RV)
        next_logp = logp + next_logp
        is_done = (next_ids == options.eos_id) | (longest <= ids.size(1))
        if is_done.any():
            if not next_logp[is_done].isfinite().all():  # as the sum is if one of its terms was not
                raise FloatingPointError(OVERFLOW)
            end_logp = logp_RV[is_done, options.eos_id]
            found_logp = logp[is_done] + end_logp.masked_fill(end_logp.isneginf(), 0)
            done = zip(sentences[is_done].tolist(), ids[is_done, 1:].tolist(), found_logp.tolist(), strict=True)
            for sentence, tokens, tokens_logp in done:
                found[sentence].append(_finish(tokens, tokens_logp if options.with_scores else math.nan, options))
            kept = close_up(~is_done)
            state = state.select(kept, kept)
            sentences, longest, ids = sentences[kept], longest[kept], ids[kept]
            next_logp, next_ids = next_logp[kept], next_ids[kept]
        logp = next_logp
        ids = torch.cat([ids, next_ids[:, None]], dim=1)
        del logits_RV, logp_RV  # by far the largest: the next ones take their place
    return found


def beam_search(
    model: StepModel[S], src_ids: Tensor, src_mask: Tensor, options: SearchOptions
) -> list[list[Hypothesis]]:
    """The best translations that a beam of `beam_size` hypotheses a sentence comes across, best first.

    At every step the 2W best continuations of a sentence's W hypotheses are looked at: those among the first W that
    end are finished, the first W that do not end live on. A sentence is done when W hypotheses are finished, or when
    `n_best` are and no living one comes to a better score within the next `foresight` tokens, even if these cost
    nothing. (Without that limit nothing could ever be missed, and 4 % more would be computed, on Multi30k in vain.)
    Where no hypothesis ever ends, the best one that lives at the greatest length stands for the translation.

    Shapes:
        src_ids, src_mask: (B, S)
        return:            for each sentence `n_best` hypotheses (fewer, if the vocabulary gives no more)

    Raises:
        FloatingPointError: no token has a probability, as the model's numbers overflow.
    """
    device = src_ids.device
    longest = options.longest(src_mask)
    sentences = list(range(src_ids.size(0)))  # which sentences the rows still stand for
    found: list[list[Hypothesis]] = [[] for _ in sentences]
    # One hypothesis a sentence at first, and never more than there are continuations of those before.
    logp_BW = torch.zeros(len(sentences), 1, device=device)
    ids_RT = torch.full((len(sentences), 1), options.bos_id, device=device)
    state = model.start(src_ids, src_mask)

    while sentences:
        logits_RV, state = model.step(ids_RT[:, -1], state)
        logp_RV = logits_RV.float().log_softmax(dim=-1)
        length = ids_RT.size(1)  # tokens of a hypothesis that ends now, the end symbol included
        must_end = [longest[sentence] <= length for sentence in sentences]
        if any(must_end):
            must_end_B = torch.tensor(must_end, device=device)
            has_found_B = torch.tensor([bool(found[sentence]) for sentence in sentences], device=device)
            _end_now(logp_RV.view(*logp_BW.shape, -1), logp_BW, must_end_B, has_found_B, options.eos_id)

        best_logp, parents, tokens = best_continuations(logp_RV, logp_BW, 2 * options.beam_size)
        ends = tokens == options.eos_id
        _collect_finished(found, sentences, ids_RT, best_logp, parents, ends, options)

        # The first W candidates that go on: a stable sort puts them in front in their order.
        order = (ends | best_logp.isneginf()).int().sort(dim=1, stable=True).indices[:, : options.beam_size]
        rows_BW = parents.gather(1, order) + torch.arange(len(sentences), device=device)[:, None] * logp_BW.size(1)
        logp_BW = best_logp.gather(1, order).masked_fill(ends.gather(1, order), -torch.inf)
        best_alive = logp_BW.max(dim=1).values.tolist()
        if math.isnan(sum(best_alive)):
            raise FloatingPointError(OVERFLOW)
        is_alive = [
            not must_end[b]
            and not _is_done(found[s], best_alive[b], min(length + options.foresight, longest[s]), options)
            for b, s in enumerate(sentences)
        ]
        kept_B = close_up(torch.tensor(is_alive, device=device))
        sentences = [sentences[b] for b in kept_B.tolist()]
        logp_BW = logp_BW.index_select(0, kept_B)
        rows_R = rows_BW.index_select(0, kept_B).flatten()
        newest_R = tokens.gather(1, order).index_select(0, kept_B).flatten()
        ids_RT = torch.cat([ids_RT.index_select(0, rows_R), newest_R[:, None]], dim=1)
        state = state.select(rows_R, kept_B)
        del logits_RV, logp_RV  # as in greedy search
    return [sorted(hypotheses, key=lambda h: -h.score)[: options.n_best] for hypotheses in found]


def close_up(is_kept: Tensor) -> Tensor:
    """What is kept, as indices: in its place but for the last ones, which go where something is left out.

    Shapes:
        is_kept: (X,), bool
        return:  (X',)
    """
    places = torch.arange(int(is_kept.sum()), device=is_kept.device)
    places[~is_kept[: len(places)]] = len(places) + is_kept[len(places) :].nonzero()[:, 0]
    return places


def best_tokens(logp_RV: Tensor) -> tuple[Tensor, Tensor]:
    """The best token of each row and its log-probability: as `max`, but of many block by block, 4 times as fast.

    Shapes:
        return: (R,), (R,)
    """
    if len(logp_RV) <= FEW_ROWS:
        best_R, tokens_R = logp_RV.max(dim=1)
        return best_R, tokens_R
    blocks_R = _best_of_blocks(logp_RV).argmax(dim=1)
    # The last block may be shorter: it begins earlier, with tokens of the one before.
    first_R = (blocks_R * BLOCK).clamp(max=max(logp_RV.size(1) - BLOCK, 0))
    tokens_RK = first_R[:, None] + torch.arange(min(BLOCK, logp_RV.size(1)), device=logp_RV.device)
    best_logp, best = logp_RV.gather(1, tokens_RK).max(dim=1)
    return best_logp, first_R + best


def _best_of_blocks(logp_RV: Tensor) -> Tensor:
    """The best log-probability in each block of the vocabulary, the last of which may be shorter. Shapes: (R, N)."""
    whole = logp_RV.size(1) // BLOCK * BLOCK
    best_RN: Tensor = logp_RV[:, :whole].reshape(len(logp_RV), whole // BLOCK, BLOCK).amax(dim=2)
    if whole == logp_RV.size(1):
        return best_RN
    return torch.cat([best_RN, logp_RV[:, whole:].amax(dim=1, keepdim=True)], dim=1)


def best_continuations(logp_RV: Tensor, logp_BW: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """The best continuations of each sentence's W hypotheses: their log-probabilities, hypotheses and tokens.

    The best of each block of the vocabulary is found first: the `count` best continuations are all in the `count`
    blocks whose best ones are best. Only these blocks are looked into, a fraction of all W · V numbers.

    Shapes:
        logp_RV: log-probabilities of the next token
        logp_BW: of the hypotheses so far
        return:  three times (B, count), best first; fewer, if W · V is less
    """
    (num_sentences, width), vocab_size = logp_BW.shape, logp_RV.size(1)
    count = min(count, width * vocab_size)
    best_RN = _best_of_blocks(logp_RV)
    num_blocks = best_RN.size(1)
    best_BN = (best_RN.view(num_sentences, width, num_blocks) + logp_BW[:, :, None]).flatten(1)
    blocks_BC = best_BN.topk(min(count, width * num_blocks), dim=1).indices

    parents_BC = blocks_BC // num_blocks
    tokens_BCK = (blocks_BC % num_blocks)[:, :, None] * BLOCK + torch.arange(BLOCK, device=logp_RV.device)
    is_beyond_BCK = tokens_BCK >= vocab_size  # the last block may be shorter
    tokens_BCK = tokens_BCK.clamp(max=vocab_size - 1)
    rows_BC = parents_BC + torch.arange(num_sentences, device=logp_RV.device)[:, None] * width
    candidates_BCK = logp_RV.flatten()[rows_BC[:, :, None] * vocab_size + tokens_BCK]
    candidates_BCK = candidates_BCK + logp_BW.gather(1, parents_BC)[:, :, None]
    candidates_BCK = candidates_BCK.masked_fill(is_beyond_BCK, -torch.inf)
    best_logp, best = candidates_BCK.flatten(1).topk(count, dim=1)
    return best_logp, parents_BC.gather(1, best // BLOCK), tokens_BCK.flatten(1).gather(1, best)


def _finish(ids: list[int], logp: float, options: SearchOptions) -> Hypothesis:
    return Hypothesis(ids, logp, score=logp / (len(ids) + 1) ** options.length_penalty)


def _end_now(logp_BWV: Tensor, logp_BW: Tensor, must_end_B: Tensor, has_found_B: Tensor, eos_id: int) -> None:
    """In sentences that must end now, leave no token possible but the end symbol, at the price that the model asks.

    It is free where it would else be impossible for all hypotheses of a sentence that has found none before.
    """
    end_logp = logp_BWV[must_end_B, :, eos_id]
    if end_logp.isnan().any():
        raise FloatingPointError(OVERFLOW)
    can_end = (logp_BW[must_end_B] + end_logp).isfinite().any(dim=1) | has_found_B[must_end_B]
    logp_BWV[must_end_B] = -torch.inf
    logp_BWV[must_end_B, :, eos_id] = end_logp.masked_fill(~can_end[:, None], 0)


def _collect_finished(
    found: list[list[Hypothesis]],
    sentences: list[int],
    ids_RT: Tensor,
    best_logp: Tensor,
    parents: Tensor,
    ends: Tensor,
    options: SearchOptions,
) -> None:
    """Add to `found` the candidates among each sentence's first W that end. Shapes: candidates (B, 2W)."""
    most = options.beam_size
    is_finished = ends[:, :most] & best_logp[:, :most].isfinite()
    places = is_finished.nonzero()
    if not places.numel():
        return
    logps = best_logp[:, :most][is_finished].tolist()
    rows = parents[:, :most][is_finished] + places[:, 0] * (len(ids_RT) // len(sentences))
    finished_ids = ids_RT[rows, 1:].tolist()
    for b, logp, ids in zip(places[:, 0].tolist(), logps, finished_ids, strict=True):
        if len(found[sentences[b]]) < most:
            found[sentences[b]].append(_finish(ids, logp, options))


def _is_done(finished: list[Hypothesis], best_alive: float, horizon: int, options: SearchOptions) -> bool:
    """Whether nothing that could come within `horizon` tokens would change the `n_best` of `finished`."""
    if best_alive == -torch.inf or len(finished) >= options.beam_size:
        return True
    if len(finished) < options.n_best:
        return False
    # Log-probabilities only fall.
    bound: float = best_alive / horizon**options.length_penalty
    return sorted((h.score for h in finished), reverse=True)[options.n_best - 1] >= bound
