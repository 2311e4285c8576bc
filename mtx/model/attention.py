"""Attention: section 3.2 of the paper. The letters of the shapes are explained in `mtx.model`."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mtx.model.dropout import Dropout
from mtx.model.linear import Linear, side_by_side

MANY_KEYS = 128
"""From so many keys on, torch's fused kernel beats the written-out form in float32 on a CPU (measured)."""

TINY = 400
"""Multiplications from which on torch multiplies matrices of a batch by a library made for that."""


def scaled_dot_product_attention(
    q_BHQP: Tensor, k_BHKP: Tensor, v_BHKP: Tensor, mask: Tensor | None, dropout: Dropout | None = None
) -> tuple[Tensor, Tensor]:
    """Attention(Q, K, V) = softmax(Q Kᵀ / √P) V, equation 1 of the paper, and its weights.

    A position that may attend to nothing gets zeros.

    Shapes:
        mask:   broadcastable to (B, H, Q, K), bool, True = may attend; None = all may
        return: mixed values (B, H, Q, P), weights (B, H, Q, K) before `dropout`
    """
    scores_BHQK = q_BHQP @ k_BHKP.mT / math.sqrt(q_BHQP.size(-1))
    if mask is None:
        weights_BHQK = softmax(scores_BHQK)
    else:
        # The smallest number and not -inf: a row without any True would become NaN, and so would its gradient.
        smallest = torch.finfo(scores_BHQK.dtype).min
        weights_BHQK = softmax(scores_BHQK.masked_fill(~mask, smallest)) * mask
    dropped_BHQK = weights_BHQK if dropout is None else dropout(weights_BHQK)
    return weighted_sums(dropped_BHQK, v_BHKP), weights_BHQK


def weighted_sums(weights_BHQK: Tensor, v_BHKP: Tensor) -> Tensor:
    """The product of weights and values. Shapes: (B, H, Q, P)."""
    num_products = weights_BHQK.size(2) * weights_BHQK.size(3) * v_BHKP.size(3)
    if v_BHKP.device.type != "cpu" or num_products >= TINY or torch.is_grad_enabled():
        return weights_BHQK @ v_BHKP
    # torch multiplies so small matrices number by number, here 5 times as slowly as this.
    return (weights_BHQK[..., None] * v_BHKP[:, :, None]).sum(dim=3)


def softmax(scores_BHQK: Tensor) -> Tensor:
    """The softmax over keys. Shapes: (B, H, Q, K) in and out."""
    num_keys, fewest = scores_BHQK.size(-1), 64 // scores_BHQK.element_size()
    if scores_BHQK.device.type != "cpu" or num_keys >= fewest:
        return scores_BHQK.softmax(dim=-1)
    # Numbers that do not fill a vector register are done one by one, ten times as slowly as those that do.
    return F.pad(scores_BHQK, (0, fewest - num_keys), value=-torch.inf).softmax(dim=-1)[..., :num_keys]


def causal_mask(length: int, device: torch.device | None = None) -> Tensor:
    """The mask of masked self-attention: position t may attend to positions 0..t.

    Shapes:
        return: (1, 1, T, T), bool, True = may attend
    """
    return torch.ones(1, 1, length, length, dtype=torch.bool, device=device).tril()


class MultiHeadAttention(nn.Module):
    """MultiHead(Q, K, V) of section 3.2.2: one class for self-, masked self- and cross-attention.

    Shapes:
        query:  (B, Q, D)  the positions that look
        memory: (B, K, D)  the positions looked at (`query` itself for self-attention)
        mask:   broadcastable to (B, H, Q, K), bool, True = may attend; None = all may
        return: (B, Q, D)
    """

    def __init__(self, d_model: int, num_heads: int, dropout: float) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.dropout = Dropout(dropout)
        self.q_proj = Linear(d_model, d_model)
        self.k_proj = Linear(d_model, d_model)
        self.v_proj = Linear(d_model, d_model)
        self.out_proj = Linear(d_model, d_model)
        self.joined_proj: nn.Module | None = None
        """Where a model only translates: what reads `memory`, and in self-attention the queries too, in one map."""

    def forward(self, query: Tensor, memory: Tensor, mask: Tensor | None, *, causal: bool = False) -> Tensor:
        """Attend from `query` to `memory`; `causal` is the mask of order, given by its name so that kernels know it."""
        if query is memory:
            return self.attend(*self.project_self(query), mask, causal=causal)
        return self.attend(self.project_query(query), *self.project_memory(memory), mask, causal=causal)

    def project_query(self, query: Tensor) -> Tensor:
        """Shapes: (B, Q, D) -> (B, H, Q, P)."""
        return self._split_heads(self.q_proj(query))

    def project_memory(self, memory: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values of `memory`: all that decoding step by step has to remember of it.

        Shapes:
            return: (B, H, K, P), (B, H, K, P)
        """
        k_BHKP, v_BHKP = self._project(memory, self.k_proj, self.v_proj)
        return k_BHKP, v_BHKP

    def project_self(self, x_BXD: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values of the same positions. Shapes: (B, H, X, P), three times."""
        q_BHXP, k_BHXP, v_BHXP = self._project(x_BXD, self.q_proj, self.k_proj, self.v_proj)
        return q_BHXP, k_BHXP, v_BHXP

    def attend(
        self, q_BHQP: Tensor, k_BHKP: Tensor, v_BHKP: Tensor, mask: Tensor | None, *, causal: bool = False
    ) -> Tensor:
        """Attend with queries, keys and values that are projected already. Shapes: return (B, Q, D)."""
        if _is_faster_written_out(k_BHKP):
            if causal:
                mask = causal_mask(q_BHQP.size(2), q_BHQP.device)
            mixed_BHQP, _ = scaled_dot_product_attention(q_BHQP, k_BHKP, v_BHKP, mask, self.dropout)
        else:
            dropout = self.dropout.p if self.training else 0.0
            mixed_BHQP = F.scaled_dot_product_attention(q_BHQP, k_BHKP, v_BHKP, mask, dropout, is_causal=causal)
        out: Tensor = self.out_proj(mixed_BHQP.transpose(1, 2).flatten(2))
        return out

    def attend_to_past(self, q_RH1P: Tensor, settled: tuple[Tensor, Tensor], recent: tuple[Tensor, Tensor]) -> Tensor:
        """Attend, at the newest position, to keys and values in two parts, those of the first shared by hypotheses.

        The W hypotheses of a sentence look at what is settled together: it is read once for all of them.

        Shapes:
            settled: (B, H, N, P), twice
            recent:  (R, H, M, P), twice
            return:  (R, 1, D)
        """
        (settled_k_BHNP, settled_v_BHNP), (recent_k_RHMP, recent_v_RHMP) = settled, recent
        num_sentences, num_heads, num_settled, _ = settled_k_BHNP.shape
        if not num_settled:
            return self.attend(q_RH1P, recent_k_RHMP, recent_v_RHMP, None)

        def by_sentence(x_RH1Y: Tensor) -> Tensor:
            return x_RH1Y.view(num_sentences, -1, num_heads, x_RH1Y.size(-1)).transpose(1, 2)

        def by_row(x_BHWY: Tensor) -> Tensor:
            return x_BHWY.transpose(1, 2).reshape(-1, num_heads, 1, x_BHWY.size(-1))

        q_RH1P = q_RH1P / math.sqrt(q_RH1P.size(-1))
        settled_scores_BHWN = by_sentence(q_RH1P) @ settled_k_BHNP.mT
        recent_scores_BHWM = by_sentence(q_RH1P @ recent_k_RHMP.mT)
        weights_BHWK = torch.cat([settled_scores_BHWN, recent_scores_BHWM], dim=-1).softmax(dim=-1)
        mixed_RH1P = by_row(weights_BHWK[..., :num_settled] @ settled_v_BHNP)
        mixed_RH1P = mixed_RH1P + by_row(weights_BHWK[..., num_settled:]) @ recent_v_RHMP
        out: Tensor = self.out_proj(mixed_RH1P.transpose(1, 2).flatten(2))
        return out

    def weights(self, query: Tensor, memory: Tensor, mask: Tensor | None) -> Tensor:
        """How much each position of `query` takes from each of `memory`, for pictures and tests.

        Shapes:
            return: (B, H, Q, K), each row sums to 1
        """
        k_BHKP, v_BHKP = (self._split_heads(linear(memory)) for linear in (self.k_proj, self.v_proj))
        return scaled_dot_product_attention(self.project_query(query), k_BHKP, v_BHKP, mask)[1]

    def _project(self, x_BXD: Tensor, *maps: Linear) -> list[Tensor]:
        joined = side_by_side(x_BXD, *maps) if self.joined_proj is None else self.joined_proj(x_BXD)
        return [self._split_heads(y) for y in joined.chunk(len(maps), dim=-1)]

    def _split_heads(self, x_BXD: Tensor) -> Tensor:
        x_BXHP = x_BXD.reshape(*x_BXD.shape[:-1], self.num_heads, -1)
        return x_BXHP.transpose(1, 2)


def _is_faster_written_out(k_BHKP: Tensor) -> bool:
    """Whether equation 1 as it stands beats torch's fused kernels: on a CPU, but for long input in float32."""
    return k_BHKP.device.type == "cpu" and (k_BHKP.dtype == torch.bfloat16 or k_BHKP.size(2) < MANY_KEYS)
