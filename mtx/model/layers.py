"""The layers around attention: input layer, feed-forward, residual connection, encoder and decoder layer.

Sections 3.1, 3.3, 3.4 and 3.5 of the paper. The letters of the shapes are explained in `mtx.model`.
"""

import math
from collections.abc import Callable, Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mtx.model.attention import MultiHeadAttention
from mtx.model.dropout import Dropout
from mtx.model.linear import Linear
from mtx.model.state import LayerState

Norm = Literal["pre", "post"]


def sinusoids(num_positions: int, d_model: int) -> Tensor:
    """Position encodings, section 3.5, in the layout of the paper's own code (tensor2tensor): sines, then cosines.

    Row p is sin(p · f_i) and cos(p · f_i) with frequencies f_i = 10000^(-i / (D/2 - 1)), i = 0 .. D/2 - 1.

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
        self.dropout = Dropout(dropout)
        # Filled at the first use; on the CPU even in a blank model, whose parameters are nowhere.
        self.register_buffer("table", torch.empty(0, embedding.embedding_dim, device="cpu"), persistent=False)

    def forward(self, ids: Tensor, first_position: int = 0) -> Tensor:
        """Embed `ids`, the first of which stands at `first_position` of its sentence.

        Shapes:
            ids:    (B, X)
            return: (B, X, D)
        """
        start = self.first_row + first_position
        stop = start + ids.size(1)
        if stop > self.table.size(0):
            self.table = sinusoids(max(512, 2 * stop), self.table.size(1)).to(self.table)
        scaled: Tensor = self.embedding(ids) * self.scale
        out: Tensor = self.dropout(scaled + self.table[start:stop])
        return out


class FeedForward(nn.Module):
    """FFN(x) = max(0, x W₁ + b₁) W₂ + b₂, equation 2, at each position alike."""

    def __init__(self, d_model: int, d_ff: int, dropout: float) -> None:
        super().__init__()
        self.inner = Linear(d_model, d_ff)
        self.outer = Linear(d_ff, d_model)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Transform each position by itself. Shapes: (…, D) in and out."""
        inner = F.relu(self.inner(x), inplace=not torch.is_grad_enabled())
        out: Tensor = self.outer(self.dropout(inner))
        return out


class Residual(nn.Module):
    """The connection around every sub-layer, section 3.1.

    `post`, the paper's: LayerNorm(x + Dropout(Sublayer(x))).
    `pre`, which trains without care at any depth: x + Dropout(Sublayer(LayerNorm(x))).
    """

    def __init__(self, d_model: int, dropout: float, norm: Norm) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(d_model)
        self.dropout = Dropout(dropout)
        self.is_pre = norm == "pre"

    def forward(self, x: Tensor, sublayer: Callable[[Tensor], Tensor]) -> Tensor:
        """Run `sublayer` inside the connection. Shapes: (B, X, D) in and out."""
        out: Tensor
        if self.is_pre:
            out = x + self.dropout(sublayer(self.norm(x)))
        else:
            out = self.norm(x + self.dropout(sublayer(x)))
        return out


class EncoderLayer(nn.Module):
    """Self-attention, then feed-forward; section 3.1, "Encoder"."""

    def __init__(self, attention: MultiHeadAttention, feed_forward: FeedForward, residuals: list[Residual]) -> None:
        super().__init__()
        self.self_attention = attention
        self.feed_forward = feed_forward
        self.self_residual, self.ff_residual = residuals

    def forward(self, x: Tensor, mask_B11S: Tensor) -> Tensor:
        """One layer. Shapes: x (B, S, D) in and out."""
        x = self.self_residual(x, lambda y: self.self_attention(y, y, mask_B11S))
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

    def forward(self, x: Tensor, memory: Tensor, mask_B11S: Tensor) -> Tensor:
        """One layer over all target positions at once. Shapes: x (B, T, D) in and out, memory (B, S, D)."""
        # The causal mask alone is enough: padding stands at the end, where no real position looks.
        x = self.self_residual(x, lambda y: self.self_attention(y, y, None, causal=True))
        x = self.cross_residual(x, lambda y: self.cross_attention(y, memory, mask_B11S))
        return self.ff_residual(x, self.feed_forward)  # type: ignore[no-any-return]

    def start(self, memories: Sequence[Tensor], src_length: int) -> LayerState:
        """The state before the first position, one row a sentence; `memories`: (B', up to `src_length`, D) each."""
        return LayerState.start([self.cross_attention.project_memory(memory) for memory in memories], src_length)

    def step(self, x_RD: Tensor, state: LayerState, num_recent: int, penalty_U1S: Tensor) -> tuple[Tensor, LayerState]:
        """One layer at the newest position alone, after `num_recent` that are not settled; equal to `forward` there."""

        def attend_to_past(y_RD: Tensor) -> Tensor:
            nonlocal state
            q_RD, k_RD, v_RD = self.self_attention.project_self(y_RD)
            state = state.grown(num_recent, k_RD, v_RD)
            return self.self_attention.attend_to_past(q_RD, state.settled_NBHE, state.recent_CRHE[: num_recent + 1])

        def attend_to_source(y_RD: Tensor) -> Tensor:
            return self.cross_attention.attend_to_source(y_RD, *state.source(), penalty_U1S)

        x_RD = self.self_residual(x_RD, attend_to_past)
        x_RD = self.cross_residual(x_RD, attend_to_source)
        return self.ff_residual(x_RD, self.feed_forward), state
