"""Greedy and beam search: ids in, ids out. Of the model they know `start` and `step` only.

Whatever the model predicts, every search ends at the maximum length: with a hypothesis, or with a FloatingPointError if
the model's numbers overflow.

Rows of a step are hypotheses, W for each of B sentences, R = B · W in all; V is the size of the vocabulary.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, Self, TypeAlias, TypeVar

import torch
from torch import Tensor

from mtx.config.decoding import DecodeOptions
from mtx.decode.topk import best_continuations, best_tokens

OVERFLOW = "the model's numbers overflow"


class State(Protocol):
    """Memory of a model between steps: rows, grouped by sentence, the same number for each."""

    def select(self, rows_R: Tensor, sentences_B: Tensor) -> Self:
        """Keep these sentences, in this order; row r becomes what row `rows_R[r]` was, a row of the same sentence."""


S = TypeVar("S", bound=State)


class StepModel(Protocol[S]):
    """All that a search may know about a model."""

    def start(self, src_ids: Tensor, src_mask: Tensor) -> S:
        """Return the state before the first target token, with one row per sentence."""

    def step(self, prev_ids: Tensor, state: S) -> tuple[Tensor, S]:
        """Return logits (R, V) of the token after `prev_ids` (R,), for the caller to overwrite, and the next state."""


class Constraint(Protocol):
    """Changes the model's probabilities of the next token. Applied at each step; holds no state."""

    def apply(self, logp_RV: Tensor, ids_RT: Tensor, sentences_R: Tensor) -> None:
        """Change the log-probabilities of the tokens after `ids_RT` in place: -inf for those that are impossible.

        `sentences_R` are the indices of the rows' sentences in the batch that the search was given.
        """


# Takes a token for each row: from log-probabilities (R, V) of the next token, without scores less some constant, the
# paths of the rows and the number of the step, from 1 on, to the log-probabilities and ids of the tokens taken.
Choice: TypeAlias = Callable[[Tensor, Tensor, int], tuple[Tensor, Tensor]]


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """A finished translation."""

    ids: list[int]  # Tokens without start and end symbol
    logp: float
    """Natural log-probability of the tokens and the end symbol, or without that if the model gave it probability 0 at
    the maximum length; NaN if no scores were asked for."""
    score: float  # logp / length ** length_penalty, the end symbol included in the length. Hypotheses are ranked by it.


def greedy_search(
    model: StepModel[S],
    src_ids: Tensor,
    src_mask: Tensor,
    options: DecodeOptions,
    *,
    bos_id: int,
    eos_id: int,
    constraints: Sequence[Constraint] = (),
) -> list[list[Hypothesis]]:
    """Take the most probable next token at every step, until the end symbol. Shapes: (B, S) -> B times one."""
    special = {"bos_id": bos_id, "eos_id": eos_id}
    return follow_paths(
        model, src_ids, src_mask, options, **special, constraints=constraints, choose=lambda logp, *_: best_tokens(logp)
    )


def follow_paths(
    model: StepModel[S],
    src_ids: Tensor,
    src_mask: Tensor,
    options: DecodeOptions,
    *,
    bos_id: int,
    eos_id: int,
    constraints: Sequence[Constraint],
    choose: Choice,
    num_paths: int = 1,
) -> list[list[Hypothesis]]:
    """Follow `num_paths` paths for each sentence: at every step the token that `choose` takes, until the end symbol.

    Path p is one of sentence p // num_paths. Shapes: (B, S) -> B times `num_paths`, in the order of the paths.
    """
    device = src_ids.device
    paths = torch.arange(src_ids.size(0) * num_paths, device=device)  # the path of each row
    max_length = torch.tensor(max_lengths(src_mask, options), device=device).repeat_interleave(num_paths)
    finished: dict[int, Hypothesis] = {}
    ids = torch.full((len(paths), 1), bos_id, device=device)
    logp = torch.zeros(len(paths), device=device)
    # A sentence has as many rows as the one with the most paths that go on; those too many go nowhere.
    is_alive, width = torch.ones_like(paths, dtype=torch.bool), num_paths
    state = model.start(src_ids, src_mask)
    if num_paths > 1:
        state = state.select(paths // num_paths, torch.arange(src_ids.size(0), device=device))

    while paths.numel():
        logits_RV, state = model.step(ids[:, -1], state)
        logp_RV = logits_RV.float()
        if options.with_scores:
            logp_RV = _log_softmax(logp_RV)  # subtracts the same from all tokens: the best stays the best
        for constraint in constraints:
            constraint.apply(logp_RV, ids, paths // num_paths)
        next_logp, next_ids = choose(logp_RV, paths, ids.size(1))
        next_logp = logp + next_logp
        is_done = ((next_ids == eos_id) | (max_length <= ids.size(1))) & is_alive
        if is_done.any():
            if not next_logp[is_done].isfinite().all():  # a sum is finite if all its terms are
                raise FloatingPointError(OVERFLOW)
            end_logp = logp_RV[is_done, eos_id]
            final_logp = logp[is_done] + end_logp.masked_fill(end_logp.isneginf(), 0)
            done = zip(paths[is_done].tolist(), ids[is_done, 1:].tolist(), final_logp.tolist(), strict=True)
            for path, tokens, tokens_logp in done:
                finished[path] = _finish(tokens, tokens_logp if options.with_scores else math.nan, options)
            is_alive = is_alive & ~is_done
            alive_BW = is_alive.view(-1, width)
            kept_B = compaction_indices(alive_BW.any(dim=1))
            most = int(alive_BW.sum(dim=1).max())
            if len(kept_B) < len(alive_BW) or most < width:
                kept = kept_B
                if width > 1:
                    in_front = (~alive_BW[kept_B]).int().sort(dim=1, stable=True).indices[:, :most]
                    kept = (kept_B[:, None] * width + in_front).flatten()
                state, width = state.select(kept, kept_B), most
                paths, max_length, ids, is_alive = paths[kept], max_length[kept], ids[kept], is_alive[kept]
                next_logp, next_ids = next_logp[kept], next_ids[kept]
        logp = next_logp
        ids = torch.cat([ids, next_ids[:, None]], dim=1)
        del logits_RV, logp_RV  # by far the largest tensors: free them before the next step's
    in_order = [finished[path] for path in range(len(finished))]
    return [in_order[first : first + num_paths] for first in range(0, len(in_order), num_paths)]


def beam_search(
    model: StepModel[S],
    src_ids: Tensor,
    src_mask: Tensor,
    options: DecodeOptions,
    *,
    bos_id: int,
    eos_id: int,
    constraints: Sequence[Constraint] = (),
) -> list[list[Hypothesis]]:
    """Keep the `beam_size` best hypotheses of each sentence at every step; return the best `n_best` that end.

    Each step looks at the 2W best continuations of a sentence's W hypotheses. Those among the first W that end are
    finished; the first W that do not end are kept. A sentence is done when W hypotheses are finished, or when `n_best`
    are and no other can overtake them within `lookahead` tokens, even if these cost nothing. If no hypothesis ever
    ends, the best one at the maximum length is the translation. A small vocabulary may have fewer than `n_best`.
    Shapes: (B, S) -> B times `n_best`, best first.
    """
    device = src_ids.device
    max_length = max_lengths(src_mask, options)
    results: list[list[Hypothesis]] = [[] for _ in range(src_ids.size(0))]
    finished = results  # of the sentences that are left, in the order of their rows
    sentences = torch.arange(len(results), device=device)  # the indices of those that are left
    # One hypothesis per sentence at first, and never more than the previous ones have continuations.
    logp_BW = torch.zeros(len(results), 1, device=device)
    ids_RT = torch.full((len(results), 1), bos_id, device=device)
    state = model.start(src_ids, src_mask)

    while finished:
        logits_RV, state = model.step(ids_RT[:, -1], state)
        logp_RV = _log_softmax(logits_RV.float())
        for constraint in constraints:
            constraint.apply(logp_RV, ids_RT, sentences.repeat_interleave(logp_BW.size(1)))
        length = ids_RT.size(1)  # of a hypothesis that ends now, end symbol included
        must_end = [longest <= length for longest in max_length]
        if any(must_end):
            must_end_B = torch.tensor(must_end, device=device)
            has_finished_B = torch.tensor([bool(hypotheses) for hypotheses in finished], device=device)
            _end_now(logp_RV.view(*logp_BW.shape, -1), logp_BW, must_end_B, has_finished_B, eos_id)

        best_logp, parents, tokens = best_continuations(logp_RV, logp_BW, 2 * options.beam_size)
        ends = tokens == eos_id
        _collect_finished(finished, ids_RT, best_logp.where(ends, -torch.inf), parents, options)

        # The first W candidates that do not end: a stable sort moves them to the front, in order.
        order = (ends | best_logp.isneginf()).int().sort(dim=1, stable=True).indices[:, : options.beam_size]
        rows_BW = parents.gather(1, order) + torch.arange(len(finished), device=device)[:, None] * logp_BW.size(1)
        logp_BW = best_logp.gather(1, order).masked_fill(ends.gather(1, order), -torch.inf)
        best_alive = logp_BW.max(dim=1).values.tolist()
        if math.isnan(sum(best_alive)):
            raise FloatingPointError(OVERFLOW)
        is_alive = [
            length < longest and not _is_done(hypotheses, best, min(length + options.lookahead, longest), options)
            for hypotheses, best, longest in zip(finished, best_alive, max_length, strict=True)
        ]
        kept_B = compaction_indices(torch.tensor(is_alive, device=device))
        kept = kept_B.tolist()
        finished, max_length = [finished[b] for b in kept], [max_length[b] for b in kept]
        sentences, logp_BW = sentences.index_select(0, kept_B), logp_BW.index_select(0, kept_B)
        rows_R = rows_BW.index_select(0, kept_B).flatten()
        newest_R = tokens.gather(1, order).index_select(0, kept_B).flatten()
        ids_RT = torch.cat([ids_RT.index_select(0, rows_R), newest_R[:, None]], dim=1)
        state = state.select(rows_R, kept_B)
        del logits_RV, logp_RV  # as in greedy search
    return [sorted(hypotheses, key=lambda h: -h.score)[: options.n_best] for hypotheses in results]


def max_lengths(src_mask: Tensor, options: DecodeOptions) -> list[int]:
    """Return the most target tokens for each sentence, end symbol included. Shapes: (B, S) -> B numbers."""
    factor, extra, least = options.max_length_factor, options.max_length_extra, options.min_length + 1
    return [max(int(factor * length) + extra, least) for length in src_mask.sum(dim=1).tolist()]


def compaction_indices(is_kept: Tensor) -> Tensor:
    """Return indices of what is kept. The last ones fill the gaps; all others stay where they are. Shapes: (B,)."""
    indices = torch.arange(int(is_kept.sum()), device=is_kept.device)
    indices[~is_kept[: len(indices)]] = len(indices) + is_kept[len(indices) :].nonzero()[:, 0]
    return indices


def _log_softmax(logits_RV: Tensor) -> Tensor:
    """Log-probabilities; on a CPU in the memory of the logits, which takes a third less time."""
    return torch.log_softmax(logits_RV, dim=-1, out=logits_RV if logits_RV.device.type == "cpu" else None)


def _finish(ids: list[int], logp: float, options: DecodeOptions) -> Hypothesis:
    return Hypothesis(ids, logp, score=logp / (len(ids) + 1) ** options.length_penalty)


def _end_now(logp_BWV: Tensor, logp_BW: Tensor, must_end_B: Tensor, has_finished_B: Tensor, eos_id: int) -> None:
    """Leave only the end symbol possible in sentences that must end now, with the model's own log-probability.

    If it is impossible for all hypotheses of a sentence without a finished one, its log-probability becomes 0.
    """
    end_logp = logp_BWV[must_end_B, :, eos_id]
    if end_logp.isnan().any():
        raise FloatingPointError(OVERFLOW)
    can_end = (logp_BW[must_end_B] + end_logp).isfinite().any(dim=1) | has_finished_B[must_end_B]
    logp_BWV[must_end_B] = -torch.inf
    logp_BWV[must_end_B, :, eos_id] = end_logp.masked_fill(~can_end[:, None], 0)


def _collect_finished(
    finished: list[list[Hypothesis]], ids_RT: Tensor, logp: Tensor, parents: Tensor, options: DecodeOptions
) -> None:
    """Add those of each sentence's first W candidates whose `logp` is finite to `finished`. Shapes: (B, 2W)."""
    sentences, candidates = logp[:, : options.beam_size].isfinite().nonzero(as_tuple=True)
    if not sentences.numel():
        return
    logps = logp[sentences, candidates].tolist()
    rows = parents[sentences, candidates] + sentences * (len(ids_RT) // len(finished))
    for b, ids_logp, ids in zip(sentences.tolist(), logps, ids_RT[rows, 1:].tolist(), strict=True):
        if len(finished[b]) < options.beam_size:
            finished[b].append(_finish(ids, ids_logp, options))


def _is_done(finished: list[Hypothesis], best_alive: float, horizon: int, options: DecodeOptions) -> bool:
    """Whether no hypothesis of up to `horizon` tokens can change the `n_best` of `finished`."""
    if best_alive == -torch.inf or len(finished) >= options.beam_size:
        return True
    if len(finished) < options.n_best:
        return False
    # A log-probability never rises with more tokens.
    bound: float = best_alive / horizon**options.length_penalty
    return sorted((h.score for h in finished), reverse=True)[options.n_best - 1] >= bound
