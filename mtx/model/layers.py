"""The layers around attention: input layer, feed-forward, residual connection, encoder and decoder layer.

Sections 3.1, 3.3, 3.4 and 3.5 of the paper. The letters of the shapes are explained in `mtx.model`.
"""

import math
from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mtx.model.attention import MultiHeadAttention
from mtx.model.cache import LayerCache

Norm = Literal["pre", "post"]


def sinusoids(num_positions: int, d_model: int) -> Tensor:
    """Position encodings, section 3.5, in the layout of the paper's own code (tensor2tensor): sines, then cosines.

    Row p is sin(p · f_i) and cos(p · f_i) with frequencies f_i = 10000^(-i / (D/2 - 1)), i = 0 … D/2 - 1.

    Shapes:
        return: (num_positions, D)
    """
    half = d_model // 2
    frequencies = torch.exp(torch.arange(half, dtype=torch.float64) * -(math.log(10000.0) / max(half - 1, 1)))
    angles = torch.arange(num_positions, dtype=torch.float64)[:, None] * frequencies
    return torch.cat([angles.sin(), angles.cos()], dim=1).float()


class InputLayer(nn.Module):
    """Dropout(√D · embedding + position encoding), sections 3.4 and 3.5.

    Position 0 of a sentence is row `pad_id + 1` of the table, as in the paper's code and its descendants.
    """

    table: Tensor

    def __init__(self, embedding: nn.Embedding, pad_id: int, dropout: float) -> None:
        super().__init__()
        self.embedding = embedding
        self.first_row = pad_id + 1
        self.scale = math.sqrt(embedding.embedding_dim)
        self.dropout = nn.Dropout(dropout)
        # Computed at first use and not saved. On the CPU even if the model is built without memory for its weights.
        self.register_buffer("table", torch.empty(0, embedding.embedding_dim, device="cpu"), persistent=False)

    def forward(self, ids: Tensor, first_position: int = 0) -> Tensor:
        """Embed `ids`, the first of which is at `first_position` of its sentence. Shapes: (B, T) -> (B, T, D)."""
        start = self.first_row + first_position
        stop = start + ids.size(1)
        if stop > self.table.size(0):
            self.table = sinusoids(max(512, 2 * stop), self.table.size(1)).to(self.table)
        return self.dropout(self.embedding(ids) * self.scale + self.table[start:stop])  # type: ignore[no-any-return]


class FeedForward(nn.Module):
    """FFN(x) = max(0, x W₁ + b₁) W₂ + b₂, equation 2, applied to each position separately."""

    def __init__(self, d_model: int, d_ff: int, dropout: float) -> None:
        super().__init__()
        self.inner = nn.Linear(d_model, d_ff)
        self.outer = nn.Linear(d_ff, d_model)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Apply both maps. Shapes: (…, D) -> (…, F) -> (…, D)."""
        return self.outer(self.dropout(F.relu(self.inner(x))))  # type: ignore[no-any-return]


class Residual(nn.Module):
    """The connection around every sub-layer, section 3.1.

    `post`, the paper's: LayerNorm(x + Dropout(Sublayer(x))).
    `pre`, which trains at any depth without special care: x + Dropout(Sublayer(LayerNorm(x))).
    """

    def __init__(self, d_model: int, dropout: float, norm: Norm) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(d_model)
        self.dropout = nn.Dropout(dropout)
        self.is_pre = norm == "pre"

    def forward(self, x: Tensor, sublayer: Callable[[Tensor], Tensor]) -> Tensor:
        """Run `sublayer` inside the connection. Shapes: (…, D) in and out."""
        if self.is_pre:
            return x + self.dropout(sublayer(self.norm(x)))  # type: ignore[no-any-return]
        return self.norm(x + self.dropout(sublayer(x)))  # type: ignore[no-any-return]


class EncoderLayer(nn.Module):
    """Self-attention, then feed-forward; section 3.1, "Encoder"."""

    def __init__(self, attention: MultiHeadAttention, feed_forward: FeedForward, residuals: list[Residual]) -> None:
        super().__init__()
        self.self_attention = attention
        self.feed_forward = feed_forward
        self.self_residual, self.ff_residual = residuals

    def forward(self, x: Tensor, src_mask: Tensor) -> Tensor:
        """One layer. Shapes: x (B, S, D) in and out, src_mask (B, 1, 1, S)."""
        x = self.self_residual(x, lambda y: self.self_attention(y, y, src_mask))
        return self.ff_residual(x, self.feed_forward)  # type: ignore[no-any-return]


class DecoderLayer(nn.Module):
    """Masked self-attention, cross-attention, then feed-forward; section 3.1, "Decoder"."""

    def __init__(
        self,
        self_attention: MultiHeadAttention,
        cross_attention: MultiHeadAttention,
        feed_forward: FeedForward,
        residuals: list[Residual],
    ) -> None:
        super().__init__()
        self.self_attention = self_attention
        self.cross_attention = cross_attention
        self.feed_forward = feed_forward
        self.self_residual, self.cross_residual, self.ff_residual = residuals

    def forward(self, x: Tensor, memory: Tensor, src_mask: Tensor, tgt_mask: Tensor) -> Tensor:
        """One layer, all target positions at once.

        Shapes:
            x:        (B, T, D) in and out
            memory:   (B, S, D)
            src_mask: (B, 1, 1, S)
            tgt_mask: (1, 1, T, T)
        """
        x = self.self_residual(x, lambda y: self.self_attention(y, y, tgt_mask))
        x = self.cross_residual(x, lambda y: self.cross_attention(y, memory, src_mask))
        return self.ff_residual(x, self.feed_forward)  # type: ignore[no-any-return]

    def step(self, x: Tensor, cache: LayerCache, src_mask: Tensor) -> tuple[Tensor, LayerCache]:
        """One layer, the newest target position only; equal to `forward` there. Shapes: x (B, 1, D) in and out."""

        def attend_to_past(y: Tensor) -> Tensor:
            nonlocal cache
            cache = cache.append(*self.self_attention.project_memory(y))
            return self.self_attention.attend(y, cache.past_k_BHTP, cache.past_v_BHTP, None)

        def attend_to_source(y: Tensor) -> Tensor:
            return self.cross_attention.attend(y, cache.src_k_BHSP, cache.src_v_BHSP, src_mask)

        x = self.self_residual(x, attend_to_past)
        x = self.cross_residual(x, attend_to_source)
        return self.ff_residual(x, self.feed_forward), cache
