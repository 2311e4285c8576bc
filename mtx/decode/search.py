"""Greedy search, and what all searches share: ids in, ids out. They know nothing of a model but `start` and `step`.

Whatever the model predicts, every search ends at the maximum length: with a hypothesis, or with a FloatingPointError if
the model's numbers overflow.

Rows of a step are hypotheses, W for each of B sentences, R = B · W in all; V is the size of the vocabulary.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NotRequired, Protocol, Self, TypeAlias, TypedDict, TypeVar, Unpack

import torch
from torch import Tensor

from mtx.config.decoding import DecodeOptions
from mtx.decode.topk import best_tokens

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


class Rules(TypedDict):
    """Arguments of all searches."""

    bos_id: int
    eos_id: int
    constraints: NotRequired[Sequence[Constraint]]  # Applied in this order; none by default
    room: NotRequired[Sequence[int]]  # Tokens that each sentence may have beyond the options' limits, for its prefix


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
    score: float
    """Rank among hypotheses: logp / length ** length_penalty, with the end symbol; and with coverage, see `finish`."""


def greedy_search(
    model: StepModel[S],
    src_ids: Tensor,
    src_mask: Tensor,
    options: DecodeOptions,
    **rules: Unpack[Rules],
) -> list[list[Hypothesis]]:
    """Take the most probable next token at every step, until the end symbol. Shapes: (B, S) -> B times one."""
    return follow_paths(model, src_ids, src_mask, options, choose=lambda logp, *_: best_tokens(logp), **rules)


def follow_paths(
    model: StepModel[S],
    src_ids: Tensor,
    src_mask: Tensor,
    options: DecodeOptions,
    *,
    choose: Choice,
    num_paths: int = 1,
    bos_id: int,
    eos_id: int,
    constraints: Sequence[Constraint] = (),
    room: Sequence[int] = (),
) -> list[list[Hypothesis]]:
    """Follow `num_paths` paths for each sentence: at every step the token that `choose` takes, until the end symbol.

    Path p is one of sentence p // num_paths. Shapes: (B, S) -> B times `num_paths`, in the order of the paths.
    """
    device = src_ids.device
    paths = torch.arange(src_ids.size(0) * num_paths, device=device)  # the path of each row
    max_length = torch.tensor(max_lengths(src_mask, options, room), device=device).repeat_interleave(num_paths)
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
            logp_RV = log_softmax(logp_RV)  # subtracts the same from all tokens: the best stays the best
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
                finished[path] = finish(tokens, tokens_logp if options.with_scores else math.nan, options)
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


def max_lengths(src_mask: Tensor, options: DecodeOptions, room: Sequence[int] = ()) -> list[int]:
    """Return the most target tokens for each sentence, end symbol and `room` included. Shapes: (B, S) -> B numbers."""
    factor, extra, least = options.max_length_factor, options.max_length_extra, options.min_length + 1
    longest = [max(int(factor * length) + extra, least) for length in src_mask.sum(dim=1).tolist()]
    return [length + more for length, more in zip(longest, room, strict=True)] if room else longest


def compaction_indices(is_kept: Tensor) -> Tensor:
    """Return indices of what is kept. The last ones fill the gaps; all others stay where they are. Shapes: (B,)."""
    indices = torch.arange(int(is_kept.sum()), device=is_kept.device)
    indices[~is_kept[: len(indices)]] = len(indices) + is_kept[len(indices) :].nonzero()[:, 0]
    return indices


def log_softmax(logits_RV: Tensor) -> Tensor:
    """Log-probabilities; on a CPU in the memory of the logits, which takes a third less time."""
    return torch.log_softmax(logits_RV, dim=-1, out=logits_RV if logits_RV.device.type == "cpu" else None)


def finish(ids: list[int], logp: float, options: DecodeOptions, coverage: float = 0.0) -> Hypothesis:
    """Score a hypothesis; the end symbol counts in its length, and `coverage` is that of `log_coverage`, if any.

    With α the length penalty and β the coverage penalty, this is the score of Wu et al. (2016), equation 14, but
    for the length itself in place of (5 + length) / 6.
    """
    score = logp / (len(ids) + 1) ** options.length_penalty + options.coverage_penalty * coverage
    return Hypothesis(ids, logp, score)
