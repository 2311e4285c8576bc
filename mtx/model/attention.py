"""Attention: section 3.2 of the paper. The letters of the shapes are explained in `mtx.model`."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

Kernel = Callable[[Tensor, Tensor, Tensor, Tensor | None, nn.Module | None], Tensor]
"""A function that computes equation 1, with the parameters of `scaled_dot_product_attention`."""


def scaled_dot_product_attention(
    q_BHQP: Tensor, k_BHKP: Tensor, v_BHKP: Tensor, mask: Tensor | None, dropout: nn.Module | None = None
) -> Tensor:
    """Attention(Q, K, V) = softmax(Q Kᵀ / √P) V, equation 1 of the paper.

    A query that may attend to nothing gets zeros.

    Shapes:
        mask:   broadcastable to (B, H, Q, K), True = may attend; None = every query attends to every key
        return: (B, H, Q, P)
    """
    scores_BHQK = q_BHQP @ k_BHKP.mT / math.sqrt(q_BHQP.size(-1))
    if mask is not None:
        # The lowest finite number, not -inf: a query without any key would turn into NaN, and so would its gradient.
        scores_BHQK = scores_BHQK.masked_fill(~mask, torch.finfo(scores_BHQK.dtype).min)
    weights_BHQK = scores_BHQK.softmax(dim=-1)
    if mask is not None:
        weights_BHQK = weights_BHQK * mask
    if dropout is not None:
        weights_BHQK = dropout(weights_BHQK)
    return weights_BHQK @ v_BHKP


def causal_mask(length: int, device: torch.device | None = None) -> Tensor:
    """The mask of masked self-attention: position t may attend to positions 0 to t. Shapes: return (1, 1, T, T)."""
    return torch.ones(1, 1, length, length, dtype=torch.bool, device=device).tril()


class MultiHeadAttention(nn.Module):
    """MultiHead(Q, K, V) of section 3.2.2: one class for self-, masked self- and cross-attention.

    Shapes:
        query:  (B, Q, D)  the positions that attend
        memory: (B, K, D)  the positions attended to; `query` itself for self-attention
        mask:   broadcastable to (B, H, Q, K), True = may attend; None = every query attends to every key
        return: (B, Q, D)
    """

    def __init__(self, d_model: int, num_heads: int, dropout: float) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.dropout = nn.Dropout(dropout)
        self.q_proj = nn.Linear(d_model, d_model)
        self.k_proj = nn.Linear(d_model, d_model)
        self.v_proj = nn.Linear(d_model, d_model)
        self.out_proj = nn.Linear(d_model, d_model)
        self.kernel: Kernel = scaled_dot_product_attention

    def forward(self, query: Tensor, memory: Tensor, mask: Tensor | None) -> Tensor:
        """Attend from `query` to `memory`."""
        return self.attend(query, *self.project_memory(memory), mask)

    def project_memory(self, memory: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values of `memory`. Shapes: (B, K, D) -> (B, H, K, P), twice."""
        return self.split_heads(self.k_proj(memory)), self.split_heads(self.v_proj(memory))

    def attend(self, query: Tensor, k_BHKP: Tensor, v_BHKP: Tensor, mask: Tensor | None) -> Tensor:
        """Attend from `query` to keys and values that `project_memory` gave. Shapes: (B, Q, D) -> (B, Q, D)."""
        mixed_BHQP = self.kernel(self.split_heads(self.q_proj(query)), k_BHKP, v_BHKP, mask, self.dropout)
        return self.out_proj(mixed_BHQP.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]

    def weights(self, query: Tensor, memory: Tensor, mask: Tensor | None) -> Tensor:
        """The softmax of equation 1: how much each query takes from each key. Shapes: return (B, H, Q, K)."""
        k_BHKP, _ = self.project_memory(memory)
        identity_KK = torch.eye(memory.size(1), dtype=k_BHKP.dtype, device=k_BHKP.device)
        return scaled_dot_product_attention(self.split_heads(self.q_proj(query)), k_BHKP, identity_KK, mask)

    def split_heads(self, x_BQD: Tensor) -> Tensor:
        """Cut each vector into one piece for each head. Shapes: (B, Q, D) -> (B, H, Q, P)."""
        return x_BQD.reshape(*x_BQD.shape[:-1], self.num_heads, -1).transpose(1, 2)
