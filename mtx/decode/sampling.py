"""Sampling: translations drawn at random, by probability. The same seed draws the same, whatever is drawn beside it.

R and V are as in the search, N counts blocks of the vocabulary, C candidates or tokens of a block.
"""

from collections.abc import Sequence
from hashlib import blake2b
from typing import Any, Unpack

import numpy as np
import torch
from torch import Tensor

from mtx.config.decoding import DecodeOptions
from mtx.decode.search import Hypothesis, Rules, S, StepModel, follow_paths
from mtx.decode.topk import BLOCK_SIZE, by_block

_GOLDEN = 0x9E3779B97F4A7C15  # The step of SplitMix64's counter
_STEPS = 1 << 32  # More steps than a translation has; further draws of a step are this far from one another


def sample_search(
    model: StepModel[S],
    src_ids: Tensor,
    src_mask: Tensor,
    options: DecodeOptions,
    **rules: Unpack[Rules],
) -> list[list[Hypothesis]]:
    """Draw the next token at every step, until the end symbol. Log-probabilities stay the model's own.

    Shapes: (B, S) -> B times `samples`, in the order drawn: more samples begin with those of fewer.
    """
    sources = [ids[mask].tolist() for ids, mask in zip(src_ids, src_mask, strict=True)]
    sampler = Sampler(options, Uniforms(options.seed, sources, options.samples))
    return follow_paths(model, src_ids, src_mask, options, choose=sampler.choose, num_paths=options.samples, **rules)


class Uniforms:
    """Random numbers between 0 and 1 that depend on the seed, a source and the number of a draw only.

    Computed from their counter by SplitMix64 (Steele et al. 2014): no draw changes another.
    """

    def __init__(self, seed: int, sources: Sequence[Sequence[int]], num_samples: int) -> None:
        """Prepare for `num_samples` draws for each source, the paths of the search."""
        digests = b"".join(blake2b(f"{seed} {list(ids)}".encode(), digest_size=8).digest() for ids in sources)
        numbers = np.arange(num_samples, dtype=np.uint64) * np.uint64(_GOLDEN)
        self._keys = _mix(_mix(np.frombuffer(digests, "<u8")[:, None] + numbers).ravel())

    def draw(self, paths: Tensor, count: int) -> Tensor:
        """Draw the `count`-th number of each of these paths. Shapes: (R,), in float64."""
        bits = _mix(self._keys[paths.cpu().numpy()] + np.uint64(count * _GOLDEN % 2**64)) >> np.uint64(12)
        return torch.from_numpy(bits * 2.0**-52).to(paths.device)


def _mix(x: Any) -> Any:
    """Mix the bits of 64-bit numbers, as SplitMix64 does."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


class Sampler:
    """Draws tokens: by temperature, then top-k (Fan et al. 2018), then top-p of the rest (Holtzman et al. 2020).

    A token is drawn from the whole vocabulary, and drawn again if top-k or top-p excludes it. Most tokens are settled
    by their own probability or by sums of blocks; only the rows of the others are looked through.
    """

    def __init__(self, options: DecodeOptions, uniforms: Uniforms) -> None:
        self._options, self._uniforms = options, uniforms

    def choose(self, logp_RV: Tensor, paths_R: Tensor, step: int) -> tuple[Tensor, Tensor]:
        """Draw a token for each row; return the log-probabilities and the tokens. Shapes: (R,), (R,)."""
        temperature, top_k, top_p = self._options.temperature, self._options.top_k, self._options.top_p
        p_RV = (logp_RV if temperature == 1 else logp_RV / temperature).softmax(dim=1)
        sums_RN = by_block(torch.sum, p_RV)
        p_R, tokens_R = _draw(p_RV, sums_RN, self._uniforms.draw(paths_R, step))
        if top_k or top_p < 1:
            if top_k:
                # A token above 1 / top_k has fewer than top_k better ones. One above 1 - top_p leaves less than top_p
                # for the better ones, also as a share of what top-k keeps.
                is_doubtful_R = p_R <= max(1 / top_k, 1 - top_p)
            else:
                is_doubtful_R = _bound_of_better(sums_RN, p_R, tokens_R) >= top_p
            rows = is_doubtful_R.nonzero()[:, 0]
            redraw = self._redraw_from_best if top_k and top_p < 1 else self._redraw_from_better
            tokens_R[rows] = redraw(p_RV[rows], p_R[rows], tokens_R[rows], paths_R[rows], step + _STEPS)
        logp_R = logp_RV.gather(1, tokens_R[:, None])[:, 0]
        return logp_R.where(p_R.isfinite(), torch.nan), tokens_R

    def _redraw_from_better(self, p_RV: Tensor, p_R: Tensor, tokens_R: Tensor, paths_R: Tensor, step: int) -> Tensor:
        """Draw again, from the better tokens, while there are `top_k` of these or they have `top_p` together."""
        top_k, top_p = self._options.top_k, self._options.top_p
        tokens_R, rows = tokens_R.clone(), torch.arange(len(p_R), device=p_R.device)
        while True:
            is_better_RV = torch.gt(p_RV, p_R[:, None], out=torch.empty_like(p_RV))  # 6 times as fast as booleans
            num_better_R = is_better_RV.sum(dim=1)
            p_RV = is_better_RV.mul_(p_RV)
            is_out_R = num_better_R >= top_k if top_k else p_RV.sum(dim=1) >= top_p
            if not is_out_R.any():
                return tokens_R
            p_RV, rows = p_RV[is_out_R], rows[is_out_R]
            uniforms_R = self._uniforms.draw(paths_R[rows], step)
            p_R, tokens_R[rows] = _draw(p_RV, by_block(torch.sum, p_RV), uniforms_R)
            step += _STEPS

    def _redraw_from_best(self, p_RV: Tensor, p_R: Tensor, tokens_R: Tensor, paths_R: Tensor, step: int) -> Tensor:
        """Draw again, from the `top_k` best tokens up to `top_p` of their sum, where a token is none of these."""
        p_RC, tokens_RC = p_RV.topk(min(self._options.top_k, p_RV.size(1)), dim=1)
        better_RC = p_RC.cumsum(dim=1) - p_RC
        p_RC = p_RC.masked_fill(better_RC >= self._options.top_p * p_RC.sum(dim=1, keepdim=True), 0)
        is_kept_R = ((tokens_RC == tokens_R[:, None]) & (p_RC > 0)).any(dim=1)
        # In the order of the vocabulary: rounding may change which of two equal tokens is the better one.
        tokens_RC, order_RC = tokens_RC.sort(dim=1)
        places_R, _ = _locate(p_RC.gather(1, order_RC), self._uniforms.draw(paths_R, step))
        return tokens_R.where(is_kept_R, tokens_RC.gather(1, places_R[:, None])[:, 0])


def _bound_of_better(sums_RN: Tensor, p_R: Tensor, tokens_R: Tensor) -> Tensor:
    """Bound the probability that all tokens better than `tokens_R` have together, by sums of blocks. Shapes: (R,)."""
    others_RN = sums_RN.scatter_add(1, tokens_R[:, None] // BLOCK_SIZE, -p_R[:, None])
    return (others_RN * (others_RN > p_R[:, None])).sum(dim=1)  # a block whose sum is at most p has no better token


def _draw(p_RV: Tensor, sums_RN: Tensor, uniforms_R: Tensor) -> tuple[Tensor, Tensor]:
    """Draw a token of each row: first its block, then the token in it. Return probabilities and tokens: (R,), (R,)."""
    blocks_R, rest_R = _locate(sums_RN, uniforms_R)
    tokens_RC = blocks_R[:, None] * BLOCK_SIZE + torch.arange(BLOCK_SIZE, device=p_RV.device)
    is_beyond_RC = tokens_RC >= p_RV.size(1)  # in the last block
    p_RC = p_RV.gather(1, tokens_RC.clamp(max=p_RV.size(1) - 1)).masked_fill(is_beyond_RC, 0)
    places_R, _ = _locate(p_RC, rest_R)
    return p_RC.gather(1, places_R[:, None])[:, 0], blocks_R * BLOCK_SIZE + places_R


def _locate(p_RC: Tensor, uniforms_R: Tensor) -> tuple[Tensor, Tensor]:
    """Find where a share `uniforms_R` of the sum is reached, and the share of that place that it takes: (R,), (R,)."""
    sums_RC = p_RC.double().cumsum(dim=1)
    wanted_R1 = uniforms_R[:, None] * sums_RC[:, -1:]
    places_R1 = (sums_RC <= wanted_R1).sum(dim=1, keepdim=True).clamp(max=p_RC.size(1) - 1)
    p_R1 = p_RC.gather(1, places_R1).double()
    rest_R1 = (wanted_R1 - sums_RC.gather(1, places_R1) + p_R1) / p_R1
    return places_R1[:, 0], rest_R1[:, 0].clamp(0, 1 - 2.0**-52)
