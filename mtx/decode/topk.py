"""The best tokens and continuations of a step, by blocks of the vocabulary.

The best number of each block is found first. The `count` best numbers of all lie in the `count` blocks whose best are
best, so that only these blocks are looked into. On a CPU this takes a fraction of the time of torch's own operations.
C in shapes counts blocks that are looked into, N tokens of a block, or blocks.
"""

from collections.abc import Callable

import torch
from torch import Tensor

BLOCK_SIZE = 128  # Tokens in a block of the vocabulary; the last block may be shorter
BLOCKS_FROM_ROWS = 5  # Rows from which on blocks are faster than torch's `max`


def best_tokens(logp_RV: Tensor) -> tuple[Tensor, Tensor]:
    """Return the greatest number of each row, and its token. Shapes: (R,), (R,)."""
    if len(logp_RV) < BLOCKS_FROM_ROWS:
        return logp_RV.max(dim=1)
    blocks_R = by_block(torch.amax, logp_RV).argmax(dim=1)
    # The last block begins early enough to have full length.
    first_R = (blocks_R * BLOCK_SIZE).clamp(max=max(logp_RV.size(1) - BLOCK_SIZE, 0))
    tokens_RN = first_R[:, None] + torch.arange(min(BLOCK_SIZE, logp_RV.size(1)), device=logp_RV.device)
    best_logp, best = logp_RV.gather(1, tokens_RN).max(dim=1)
    return best_logp, first_R + best


def best_continuations(logp_RV: Tensor, logp_BW: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return the best continuations of each sentence's hypotheses: log-probabilities, parent hypotheses and tokens.

    `logp_RV` is of the next token, `logp_BW` of the hypotheses. Shapes: three times (B, count), or W · V if less.
    """
    (num_sentences, width), vocab_size = logp_BW.shape, logp_RV.size(1)
    count = min(count, width * vocab_size)
    maxima_RN = by_block(torch.amax, logp_RV)
    num_blocks = maxima_RN.size(1)
    maxima_BN = (maxima_RN.view(num_sentences, width, num_blocks) + logp_BW[:, :, None]).flatten(1)
    blocks_BC = maxima_BN.topk(min(count, width * num_blocks), dim=1).indices

    parents_BC = blocks_BC // num_blocks
    tokens_BCN = (blocks_BC % num_blocks)[:, :, None] * BLOCK_SIZE + torch.arange(BLOCK_SIZE, device=logp_RV.device)
    is_beyond_BCN = tokens_BCN >= vocab_size  # in the last block
    tokens_BCN = tokens_BCN.clamp(max=vocab_size - 1)
    rows_BC = parents_BC + torch.arange(num_sentences, device=logp_RV.device)[:, None] * width
    next_logp_BCN = logp_RV.flatten()[rows_BC[:, :, None] * vocab_size + tokens_BCN]
    logp_BCN = (next_logp_BCN + logp_BW.gather(1, parents_BC)[:, :, None]).masked_fill(is_beyond_BCN, -torch.inf)
    best_logp, best = logp_BCN.flatten(1).topk(count, dim=1)
    return best_logp, parents_BC.gather(1, best // BLOCK_SIZE), tokens_BCN.flatten(1).gather(1, best)


def by_block(reduce: Callable[..., Tensor], x_RV: Tensor) -> Tensor:
    """Reduce each block of the vocabulary, such as to its sum or its greatest number. Shapes: (R, number of blocks)."""
    in_full_blocks = x_RV.size(1) // BLOCK_SIZE * BLOCK_SIZE
    reduced_RN = reduce(x_RV[:, :in_full_blocks].reshape(len(x_RV), -1, BLOCK_SIZE), dim=2)
    if in_full_blocks == x_RV.size(1):
        return reduced_RN
    return torch.cat([reduced_RN, reduce(x_RV[:, in_full_blocks:], dim=1, keepdim=True)], dim=1)
