"""Equation 1 by the fastest kernel, and attention in the form that decoding needs.

Slow twins: `scaled_dot_product_attention` and `MultiHeadAttention`.
"""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mtx.model.attention import MultiHeadAttention
from mtx.model.fast.linear import joined

FUSED_FROM_KEYS = 128  # Keys from which on torch's fused kernel beats the written-out form in float32 on a CPU (Zen 4)
PADDED_FROM_SCORES = 4096  # Scores above which padding short rows takes less time than it saves
Convert = Callable[[nn.Linear], nn.Module]  # Gives a linear map the form that is multiplied fastest


def fastest_attention(
    q_BHQP: Tensor, k_BHKP: Tensor, v_BHKP: Tensor, mask: Tensor | None, dropout: nn.Module | None = None
) -> Tensor:
    """Equation 1, written out on a CPU and by torch's fused kernel for long float32 input and on other devices."""
    if k_BHKP.device.type == "cpu" and (k_BHKP.dtype == torch.bfloat16 or k_BHKP.size(2) < FUSED_FROM_KEYS):
        scores_BHQK = q_BHQP @ k_BHKP.mT / math.sqrt(q_BHQP.size(-1))
        if mask is None:
            weights_BHQK = softmax(scores_BHQK)
        else:
            weights_BHQK = softmax(scores_BHQK.masked_fill(~mask, torch.finfo(scores_BHQK.dtype).min)) * mask
        return (weights_BHQK if dropout is None else dropout(weights_BHQK)) @ v_BHKP
    p = float(dropout.p) if dropout is not None and dropout.training else 0.0  # type: ignore[arg-type]
    return F.scaled_dot_product_attention(q_BHQP, k_BHKP, v_BHKP, mask, p)


def additive_mask(src_mask: Tensor, num_heads: int, dtype: torch.dtype) -> Tensor:
    """The mask as numbers to add to scores: 0 = may attend, the lowest = may not. Shapes: (B, S) -> (B, H, 1, S)."""
    lowest = torch.finfo(dtype).min
    mask_BS = torch.zeros(src_mask.shape, dtype=dtype, device=src_mask.device).masked_fill_(~src_mask, lowest)
    return mask_BS[:, None, None].expand(-1, num_heads, -1, -1).contiguous()


def batched_attention(q_UQP: Tensor, k_UKP: Tensor, v_UKP: Tensor, mask_U1K: Tensor | None = None) -> Tensor:
    """Equation 1 in three operations: with few rows, launching an operation takes longer than computing it.

    Shapes: return (U, Q, P), where U counts heads of all sentences or of all rows. `mask` is an `additive_mask`.
    """
    scale = 1 / math.sqrt(q_UQP.size(-1))
    if mask_U1K is None:
        scores_UQK = torch.bmm(q_UQP, k_UKP.mT).mul_(scale)
    else:
        scores_UQK = torch.baddbmm(mask_U1K, q_UQP, k_UKP.mT, alpha=scale)
    return torch.bmm(softmax(scores_UQK), v_UKP)


def softmax(scores: Tensor) -> Tensor:
    """The softmax over keys; on a CPU, short rows are padded to a vector register if there are many of them."""
    num_keys, register = scores.size(-1), 64 // scores.element_size()
    if num_keys >= register or scores.numel() <= PADDED_FROM_SCORES or scores.device.type != "cpu":
        return scores.softmax(dim=-1)
    # torch computes rows that do not fill a register number by number, up to ten times as slowly.
    return F.pad(scores, (0, register - num_keys), value=-torch.inf).softmax(dim=-1)[..., :num_keys]


class JoinedSelfAttention(nn.Module):
    """Self-attention whose queries, keys and values come from one product; for decoding, without gradients."""

    def __init__(self, attention: MultiHeadAttention, convert: Convert) -> None:
        super().__init__()
        self.num_heads = attention.num_heads
        self.qkv_proj = convert(joined(attention.q_proj, attention.k_proj, attention.v_proj))
        self.out_proj = convert(attention.out_proj)

    def forward(self, query: Tensor, memory: Tensor, mask: Tensor | None) -> Tensor:
        """Attend from `query` to itself, as MultiHeadAttention does. Shapes: (B, S, D) in and out."""
        q_BSHP, (k_BSHP, v_BSHP) = self.project(query)
        mixed_BHSP = fastest_attention(q_BSHP.transpose(1, 2), k_BSHP.transpose(1, 2), v_BSHP.transpose(1, 2), mask)
        return self.out_proj(mixed_BHSP.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]

    def project(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Queries, and keys and values. Shapes: (…, D) -> (…, H, P), (2, …, H, P)."""
        heads: Tensor = self.qkv_proj(x).view(*x.shape[:-1], 3, self.num_heads, -1).movedim(-3, 0)
        return heads[0], heads[1:]

    def attend(self, q_RHP: Tensor, prefix_2UNP: Tensor, tail_2GMP: Tensor) -> Tensor:
        """Attend to the past in two parts; the first is shared by the W hypotheses of a sentence and read once for all.

        Shapes: return (R, D).
        """
        num_rows, num_heads, _ = q_RHP.shape
        q_G1P = q_RHP.reshape(num_rows * num_heads, 1, -1)
        tail_k_GMP, tail_v_GMP = tail_2GMP
        _, num_sentence_heads, num_shared, _ = prefix_2UNP.shape
        if not num_shared:
            mixed_G1P = batched_attention(q_G1P, tail_k_GMP, tail_v_GMP)
            return self.out_proj(mixed_G1P.view(num_rows, -1))  # type: ignore[no-any-return]

        def by_sentence(x_G1K: Tensor) -> Tensor:
            x_BWHK = x_G1K.view(num_sentence_heads // num_heads, -1, num_heads, x_G1K.size(-1))
            return x_BWHK.transpose(1, 2).reshape(num_sentence_heads, -1, x_G1K.size(-1))

        def by_row(x_UWK: Tensor) -> Tensor:
            x_BHWK = x_UWK.view(-1, num_heads, *x_UWK.shape[1:])
            return x_BHWK.transpose(1, 2).reshape(len(q_G1P), 1, x_UWK.size(-1))

        prefix_k_UNP, prefix_v_UNP = prefix_2UNP
        prefix_scores_UWN = torch.bmm(by_sentence(q_G1P), prefix_k_UNP.mT)
        tail_scores_UWM = by_sentence(torch.bmm(q_G1P, tail_k_GMP.mT))
        scores_UWK = torch.cat([prefix_scores_UWN, tail_scores_UWM], dim=-1)
        weights_UWK = scores_UWK.div_(math.sqrt(q_G1P.size(-1))).softmax(dim=-1)
        mixed_G1P = by_row(torch.bmm(weights_UWK[..., :num_shared], prefix_v_UNP))
        mixed_G1P.baddbmm_(by_row(weights_UWK[..., num_shared:]), tail_v_GMP)
        return self.out_proj(mixed_G1P.view(num_rows, -1))  # type: ignore[no-any-return]


class CrossAttention(nn.Module):
    """Cross-attention from one position of each hypothesis to the source of its sentence; for decoding."""

    def __init__(self, attention: MultiHeadAttention, convert: Convert) -> None:
        super().__init__()
        self.num_heads = attention.num_heads
        self.kernel = batched_attention
        self.q_proj = convert(attention.q_proj)
        self.kv_proj = convert(joined(attention.k_proj, attention.v_proj))
        self.out_proj = convert(attention.out_proj)

    def project_memory(self, memory: Tensor) -> Tensor:
        """Keys and values of the source. Shapes: (B, S, D) -> (2, B, H, S, P)."""
        kv_BS2HP: Tensor = self.kv_proj(memory).unflatten(-1, (2, self.num_heads, -1))
        return kv_BS2HP.permute(2, 0, 3, 1, 4)

    def attend(self, x_RD: Tensor, src_2USP: Tensor, mask_U1S: Tensor) -> Tensor:
        """All W hypotheses of a sentence attend as W queries over the same keys. Shapes: return (R, D)."""
        k_USP, v_USP = src_2USP
        num_sentences, width = len(k_USP) // self.num_heads, k_USP.size(-1)
        q_BWHP = self.q_proj(x_RD).view(num_sentences, -1, self.num_heads, width)
        mixed_UWP = self.kernel(q_BWHP.transpose(1, 2).reshape(len(k_USP), -1, width), k_USP, v_USP, mask_U1S)
        mixed_BHWP = mixed_UWP.view(num_sentences, self.num_heads, -1, width)
        return self.out_proj(mixed_BHWP.transpose(1, 2).reshape(len(x_RD), -1))  # type: ignore[no-any-return]
