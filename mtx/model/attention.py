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

FEW_WEIGHTS, FEW_SCORES = 48, 4096
"""Up to so many numbers the plain operation is done before another one is called."""


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


def penalty_of(mask_B11S: Tensor, dtype: torch.dtype, num_heads: int) -> Tensor:
    """The mask as what is added to scores: 0 = may attend, the lowest number = may not. Shapes: return (U, 1, S)."""
    penalty_B11S = torch.zeros_like(mask_B11S, dtype=dtype).masked_fill_(~mask_B11S, torch.finfo(dtype).min)
    return penalty_B11S.expand(-1, num_heads, -1, -1).flatten(0, 1)


def penalised_attention(q_UQP: Tensor, k_UKP: Tensor, v_UKP: Tensor, penalty_U1K: Tensor | None = None) -> Tensor:
    """Equation 1 in the fewest operations, for steps of a search: calling one may take longer than doing it.

    Shapes:
        penalty_U1K: see `penalty_of`; each query may attend to something
        return:      (U, Q, P)
    """
    scale = 1 / math.sqrt(q_UQP.size(-1))
    if penalty_U1K is None:
        scores_UQK = torch.bmm(q_UQP, k_UKP.mT).mul_(scale)
    else:
        scores_UQK = torch.baddbmm(penalty_U1K, q_UQP, k_UKP.mT, alpha=scale)
    return weighted_sums(softmax(scores_UQK), v_UKP)


def weighted_sums(weights: Tensor, v: Tensor) -> Tensor:
    """The product of weights and values. Shapes: (…, Q, K), (…, K, P) -> (…, Q, P)."""
    num_products = weights.size(-2) * weights.size(-1) * v.size(-1)
    is_one_by_one = num_products < TINY and weights.numel() > FEW_WEIGHTS
    if v.device.type != "cpu" or not is_one_by_one or torch.is_grad_enabled():
        return weights @ v
    # torch multiplies so small matrices number by number: many of them up to 5 times as slowly as this.
    return (weights[..., None] * v[..., None, :, :]).sum(dim=-2)


def softmax(scores: Tensor) -> Tensor:
    """The softmax over keys. Shapes: (…, Q, K) in and out."""
    num_keys, fewest = scores.size(-1), 64 // scores.element_size()
    if scores.device.type != "cpu" or num_keys >= fewest or scores.numel() <= FEW_SCORES:
        return scores.softmax(dim=-1)
    # Numbers that do not fill a vector register are done one by one, many up to ten times as slowly as those that do.
    return F.pad(scores, (0, fewest - num_keys), value=-torch.inf).softmax(dim=-1)[..., :num_keys]


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
            q_BHXP, k_BHXP, v_BHXP = map(self._split_heads, self.project_self(query))
            return self.attend(q_BHXP, k_BHXP, v_BHXP, mask, causal=causal)
        return self.attend(self.project_query(query), *self.project_memory(memory), mask, causal=causal)

    def project_query(self, query: Tensor) -> Tensor:
        """Shapes: (B, Q, D) -> (B, H, Q, P)."""
        return self._split_heads(self.q_proj(query))

    def project_memory(self, memory: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values of `memory`: all that decoding step by step has to remember of it.

        Shapes:
            return: (B, H, K, P), (B, H, K, P)
        """
        k_BHKP, v_BHKP = map(self._split_heads, self._project(memory, self.k_proj, self.v_proj))
        return k_BHKP, v_BHKP

    def project_self(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values of the same positions, heads side by side. Shapes: (…, D), three times."""
        q, k, v = self._project(x, self.q_proj, self.k_proj, self.v_proj)
        return q, k, v

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

    def attend_to_past(self, q_RD: Tensor, settled_NBHE: Tensor, recent_MRHE: Tensor) -> Tensor:
        """Attend, at the newest position, to keys and values in two parts, those of the first shared by hypotheses.

        The W hypotheses of a sentence look at what is settled together: it is read once for all of them.

        Shapes:
            settled, recent: E = 2 · P, the key and the value of a head side by side
            return:          (R, D)
        """
        num_heads, num_sentences = self.num_heads, settled_NBHE.size(1)
        q_G1P = q_RD.reshape(len(q_RD) * num_heads, 1, -1)
        recent_k_GMP, recent_v_GMP = _keys_and_values(recent_MRHE)
        if not len(settled_NBHE):
            return self._join_heads(penalised_attention(q_G1P, recent_k_GMP, recent_v_GMP), len(q_RD))

        def by_sentence(x_G1Y: Tensor) -> Tensor:
            x_BWHY = x_G1Y.view(num_sentences, -1, num_heads, x_G1Y.size(-1))
            return x_BWHY.transpose(1, 2).reshape(num_sentences * num_heads, -1, x_G1Y.size(-1))

        def by_row(x_UWY: Tensor) -> Tensor:
            x_BHWY = x_UWY.view(num_sentences, num_heads, -1, x_UWY.size(-1))
            return x_BHWY.transpose(1, 2).reshape(-1, 1, x_UWY.size(-1))

        settled_k_UNP, settled_v_UNP = _keys_and_values(settled_NBHE)
        settled_scores_UWN = torch.bmm(by_sentence(q_G1P), settled_k_UNP.mT)
        recent_scores_UWM = by_sentence(torch.bmm(q_G1P, recent_k_GMP.mT))
        scores_UWK = torch.cat([settled_scores_UWN, recent_scores_UWM], dim=-1)
        weights_UWK = scores_UWK.div_(math.sqrt(q_G1P.size(-1))).softmax(dim=-1)
        mixed_G1P = by_row(torch.bmm(weights_UWK[..., : len(settled_NBHE)], settled_v_UNP))
        mixed_G1P.baddbmm_(by_row(weights_UWK[..., len(settled_NBHE) :]), recent_v_GMP)
        return self._join_heads(mixed_G1P, len(q_RD))

    def attend_to_source(self, query_RD: Tensor, k_BHSP: Tensor, v_BHSP: Tensor, penalty_U1S: Tensor) -> Tensor:
        """Attend, at one position of each row, to the source of its sentence. Shapes: return (R, D)."""
        num_sentences, num_heads = k_BHSP.shape[:2]
        q_RD: Tensor = self.q_proj(query_RD)
        q_BWHP = q_RD.view(num_sentences, -1, num_heads, k_BHSP.size(-1))
        q_UWP = q_BWHP.transpose(1, 2).reshape(num_sentences * num_heads, -1, k_BHSP.size(-1))
        mixed_UWP = penalised_attention(q_UWP, k_BHSP.flatten(0, 1), v_BHSP.flatten(0, 1), penalty_U1S)
        mixed_BHWP = mixed_UWP.view(num_sentences, num_heads, -1, k_BHSP.size(-1))
        return self._join_heads(mixed_BHWP.transpose(1, 2), len(q_RD))

    def _join_heads(self, mixed: Tensor, num_rows: int) -> Tensor:
        out: Tensor = self.out_proj(mixed.reshape(num_rows, -1))
        return out

    def weights(self, query: Tensor, memory: Tensor, mask: Tensor | None) -> Tensor:
        """How much each position of `query` takes from each of `memory`, for pictures and tests.

        Shapes:
            return: (B, H, Q, K), each row sums to 1
        """
        k_BHKP, v_BHKP = (self._split_heads(linear(memory)) for linear in (self.k_proj, self.v_proj))
        return scaled_dot_product_attention(self.project_query(query), k_BHKP, v_BHKP, mask)[1]

    def _project(self, x: Tensor, *maps: Linear) -> tuple[Tensor, ...]:
        joined: Tensor = side_by_side(x, *maps) if self.joined_proj is None else self.joined_proj(x)
        return joined.chunk(len(maps), dim=-1)

    def _split_heads(self, x_BXD: Tensor) -> Tensor:
        x_BXHP = x_BXD.reshape(*x_BXD.shape[:-1], self.num_heads, -1)
        return x_BXHP.transpose(1, 2)


def _is_faster_written_out(k_BHKP: Tensor) -> bool:
    """Whether equation 1 as it stands beats torch's fused kernels: on a CPU, but for long input in float32."""
    return k_BHKP.device.type == "cpu" and (k_BHKP.dtype == torch.bfloat16 or k_BHKP.size(2) < MANY_KEYS)


def _keys_and_values(kv_NXHE: Tensor) -> tuple[Tensor, ...]:
    """Those of all heads, taken apart. Shapes: (X · H, N, P), twice."""
    return kv_NXHE.flatten(1, 2).transpose(0, 1).chunk(2, dim=-1)
