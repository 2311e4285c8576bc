"""Beam search, in one group or in several that look for different translations.

Letters of the shapes are those of `mtx.decode.search`, but here B counts beams: each of G groups has one in each of S
sentences. A beam has W hypotheses.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from mtx.config.decoding import DecodeOptions
from mtx.decode.search import (
    OVERFLOW,
    Constraint,
    Hypothesis,
    S,
    StepModel,
    compaction_indices,
    finish,
    log_softmax,
    max_lengths,
)
from mtx.decode.topk import best_continuations


def beam_search(
    model: StepModel[S],
    src_ids: Tensor,
    src_mask: Tensor,
    options: DecodeOptions,
    *,
    bos_id: int,
    eos_id: int,
    constraints: Sequence[Constraint] = (),
    room: Sequence[int] = (),
) -> list[list[Hypothesis]]:
    """Keep the W best hypotheses of each beam at every step; return the best `n_best` of a sentence that end.

    Each step looks at the 2W best continuations of a beam's W hypotheses. Those among the first W that end are
    finished; the first W that do not end are kept. A beam is done when W hypotheses are finished, or when `n_best` are
    and no other can overtake them within `lookahead` tokens, even if these cost nothing. If no hypothesis ever ends,
    the best one at the maximum length is the translation. A small vocabulary may have fewer than `n_best`.

    With `beam_groups` a sentence has a beam of W = beam_size / G hypotheses for each group. At every step one group
    chooses after the other, as if a token's log-probability were less by `diversity_penalty` for each hypothesis of
    the groups before that has just been continued with it (Vijayakumar et al. 2016, with the Hamming distance). What
    is equal to the translation of another group counts once.

    With `coverage_penalty` the states have a field `coverage_RS`, see `mtx.model.fast.coverage`. Finished hypotheses
    are ranked by `log_coverage` too, unfinished ones are not.

    Shapes: (sentences, length) -> sentences times `n_best`, best first. Constraints and `room` are as in `Rules`.
    """
    device, num_groups = src_ids.device, options.beam_groups
    width, num_wanted = options.beam_size // num_groups, options.n_best
    options = options.model_copy(update={"beam_size": width, "n_best": min(num_wanted, width)})
    max_length = [longest for longest in max_lengths(src_mask, options, room) for _ in range(num_groups)]
    results: list[list[Hypothesis]] = [[] for _ in max_length]
    finished = results  # of the beams that are left, in the order of their rows
    sentences = torch.arange(src_ids.size(0), device=device)  # the indices of those that are left
    # One hypothesis per beam at first, and never more than the previous ones have continuations.
    logp_BW = torch.zeros(len(results), 1, device=device)
    ids_RT = torch.full((len(results), 1), bos_id, device=device)
    state = model.start(src_ids, src_mask)
    if num_groups > 1:
        state = state.select(sentences.repeat_interleave(num_groups), sentences)

    while finished:
        logits_RV, state = model.step(ids_RT[:, -1], state)
        logp_RV = log_softmax(logits_RV.float())
        for constraint in constraints:
            constraint.apply(logp_RV, ids_RT, sentences.repeat_interleave(num_groups * logp_BW.size(1)))
        length = ids_RT.size(1)  # of a hypothesis that ends now, end symbol included
        must_end = [longest <= length for longest in max_length]
        if any(must_end):
            must_end_B = torch.tensor(must_end, device=device)
            has_finished_B = torch.tensor([bool(hypotheses) for hypotheses in finished], device=device)
            _end_now(logp_RV.view(*logp_BW.shape, -1), logp_BW, must_end_B, has_finished_B, eos_id)

        best_logp, parents, tokens, order = _continue(logp_RV, logp_BW, options, eos_id)
        ends = tokens == eos_id
        coverage_R = log_coverage(state.coverage_RS) if options.coverage_penalty else None  # type: ignore[attr-defined]
        _collect_finished(finished, ids_RT, best_logp.where(ends, -torch.inf), parents, coverage_R, options)

        rows_BW = parents.gather(1, order) + torch.arange(len(finished), device=device)[:, None] * logp_BW.size(1)
        logp_BW = best_logp.gather(1, order).masked_fill(ends.gather(1, order), -torch.inf)
        best_alive = logp_BW.max(dim=1).values.tolist()
        if math.isnan(sum(best_alive)):
            raise FloatingPointError(OVERFLOW)
        is_alive = [
            length < longest and not _is_done(hypotheses, best, min(length + options.lookahead, longest), options)
            for hypotheses, best, longest in zip(finished, best_alive, max_length, strict=True)
        ]
        is_alive_SG = torch.tensor(is_alive, device=device).view(-1, num_groups)
        kept_S = kept_B = compaction_indices(is_alive_SG.any(dim=1))
        if num_groups > 1:  # a sentence goes on with all its beams, of which those that are done have no hypotheses
            logp_BW = logp_BW.masked_fill(~is_alive_SG.view(-1, 1), -torch.inf)
            kept_B = (kept_S[:, None] * num_groups + torch.arange(num_groups, device=device)).flatten()
        kept = kept_B.tolist()
        finished, max_length = [finished[b] for b in kept], [max_length[b] for b in kept]
        sentences, logp_BW = sentences.index_select(0, kept_S), logp_BW.index_select(0, kept_B)
        rows_R = rows_BW.index_select(0, kept_B).flatten()
        newest_R = tokens.gather(1, order).index_select(0, kept_B).flatten()
        ids_RT = torch.cat([ids_RT.index_select(0, rows_R), newest_R[:, None]], dim=1)
        state = state.select(rows_R, kept_S)
        del logits_RV, logp_RV  # as in greedy search
    of_sentences = (results[first : first + num_groups] for first in range(0, len(results), num_groups))
    return [_best(beams)[:num_wanted] for beams in of_sentences]


def _continue(
    logp_RV: Tensor, logp_BW: Tensor, options: DecodeOptions, eos_id: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the 2W best continuations of each beam and, of those that do not end, the indices of the first W.

    A continuation is a log-probability, a parent and a token. Shapes: three times (B, 2W) and (B, W), or less.
    """
    width, num_groups = options.beam_size, options.beam_groups
    if num_groups == 1:
        best_logp, parents, tokens = best_continuations(logp_RV, logp_BW, 2 * width)
        return best_logp, parents, tokens, _first_alive(best_logp, tokens, width, eos_id)
    logp_SGWV = logp_RV.view(-1, num_groups, logp_BW.size(1), logp_RV.size(1))
    logp_SGW, penalty_SV = logp_BW.view(-1, num_groups, logp_BW.size(1)), logp_RV.new_zeros(logp_SGWV[:, 0, 0].shape)
    sentences, found = torch.arange(len(logp_SGW), device=logp_RV.device)[:, None], []
    for group in range(num_groups):
        logp_SWV, logp_SW = logp_SGWV[:, group], logp_SGW[:, group]
        penalised_RV = (logp_SWV - penalty_SV[:, None]).flatten(0, 1)
        penalised, parents, tokens = best_continuations(penalised_RV, logp_SW, 2 * width)
        best_logp = logp_SW.gather(1, parents) + logp_SWV[sentences, parents, tokens]
        best_logp = best_logp.masked_fill(penalised.isneginf(), -torch.inf)  # places beyond the vocabulary
        order = _first_alive(best_logp, tokens, width, eos_id)
        found.append((best_logp, parents, tokens, order))
        taken, taken_logp = tokens.gather(1, order), best_logp.gather(1, order)
        counts = (taken_logp.isfinite() & (taken != eos_id)).to(penalty_SV.dtype)
        penalty_SV.scatter_add_(1, taken, options.diversity_penalty * counts)
    best_logp, parents, tokens, order = (torch.stack(each, dim=1).flatten(0, 1) for each in zip(*found, strict=True))
    return best_logp, parents, tokens, order


def _first_alive(best_logp: Tensor, tokens: Tensor, width: int, eos_id: int) -> Tensor:
    """Find the first W candidates that do not end; a stable sort moves them to the front. Shapes: (B, 2W) -> (B, W)."""
    return ((tokens == eos_id) | best_logp.isneginf()).int().sort(dim=1, stable=True).indices[:, :width]


def _end_now(logp_BWV: Tensor, logp_BW: Tensor, must_end_B: Tensor, has_finished_B: Tensor, eos_id: int) -> None:
    """Leave only the end symbol possible in beams that must end now, with the model's own log-probability.

    If it is impossible for all hypotheses of a beam without a finished one, its log-probability becomes 0.
    """
    end_logp = logp_BWV[must_end_B, :, eos_id]
    if end_logp.isnan().any():
        raise FloatingPointError(OVERFLOW)
    can_end = (logp_BW[must_end_B] + end_logp).isfinite().any(dim=1) | has_finished_B[must_end_B]
    logp_BWV[must_end_B] = -torch.inf
    logp_BWV[must_end_B, :, eos_id] = end_logp.masked_fill(~can_end[:, None], 0)


def _collect_finished(
    finished: list[list[Hypothesis]],
    ids_RT: Tensor,
    logp: Tensor,
    parents: Tensor,
    coverage_R: Tensor | None,
    options: DecodeOptions,
) -> None:
    """Add those of each beam's first W candidates whose `logp` is finite to `finished`. Shapes: (B, 2W)."""
    beams, candidates = logp[:, : options.beam_size].isfinite().nonzero(as_tuple=True)
    if not beams.numel():
        return
    logps = logp[beams, candidates].tolist()
    rows = parents[beams, candidates] + beams * (len(ids_RT) // len(finished))
    coverages = [0.0] * len(rows) if coverage_R is None else coverage_R[rows].tolist()
    for b, ids_logp, ids, coverage in zip(beams.tolist(), logps, ids_RT[rows, 1:].tolist(), coverages, strict=True):
        if len(finished[b]) < options.beam_size:
            finished[b].append(finish(ids, ids_logp, options, coverage))


def _is_done(finished: list[Hypothesis], best_alive: float, horizon: int, options: DecodeOptions) -> bool:
    """Whether no hypothesis of up to `horizon` tokens can change the `n_best` of `finished`."""
    if best_alive == -torch.inf or len(finished) >= options.beam_size:
        return True
    if len(finished) < options.n_best:
        return False
    # A log-probability never rises with more tokens, and coverage adds nothing to a score.
    bound: float = best_alive / horizon**options.length_penalty
    return sorted((h.score for h in finished), reverse=True)[options.n_best - 1] >= bound


def _best(beams: Sequence[list[Hypothesis]]) -> list[Hypothesis]:
    """The different hypotheses of some beams, best first."""
    different = {tuple(h.ids): h for hypotheses in beams for h in hypotheses}
    return sorted(different.values(), key=lambda h: -h.score)


def log_coverage(coverage_RS: Tensor) -> Tensor:
    """The logarithm of the coverage of each source token, at most 1, summed: equation 14 of Wu et al. (2016), over β.

    Shapes: (R,).
    """
    least = torch.finfo(torch.float32).tiny  # of a token that got no attention at all
    return coverage_RS.float().clamp(least, 1).log().sum(dim=1)
