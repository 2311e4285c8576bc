"""Label-smoothed cross-entropy, summed over real tokens.

The letters of the shapes are explained in `mtx.model`; N is the number of real target tokens.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mtx.model.linear import has_onednn, onednn_product

ROWS_IN_CACHE = 256
"""Rows of logits that are worked on at once: enough for the matrix product, few enough for the cache."""

ROWS_ON_GPU = 8192
"""Rows of logits that a GPU works on at once: as many as keep it busy, at 256 MiB for 16,000 tokens in bf16."""

ROWS_IN_MEMORY = 4 * ROWS_IN_CACHE
"""Rows whose gradients are kept, so that the gradient of the matrix is summed up in few, large products."""


def token_loss_sum(logits_NV: Tensor, tgt_N: Tensor, label_smoothing: float) -> Tensor:
    """Sum over tokens of the cross-entropy against (1 - ε) · one-hot + ε / V (Szegedy et al. 2016, section 7).

    torch's formula: the mass ε is spread over all V tokens, the right one among them. The written-out form, and the
    one that the tests hold `projected_loss_sum` against.
    """
    dtype = torch.promote_types(logits_NV.dtype, torch.float32)
    return F.cross_entropy(logits_NV.to(dtype), tgt_N, reduction="sum", label_smoothing=label_smoothing)


def projected_loss_sum(
    hidden_ND: Tensor, weight_VD: Tensor, tgt_N: Tensor, label_smoothing: float
) -> tuple[Tensor, Tensor]:
    """Output layer and `token_loss_sum` in one, without ever holding all logits.

    Logits of all tokens at once would be by far the largest tensors of an update, written and read several times.
    Here each block of rows is projected, normalised and turned into its gradient while it is in the cache.

    Shapes:
        return: label-smoothed loss (), and without gradient the negative log-likelihood (), both sums in nats
    """
    # Inside the function gradients are off, and what the inputs need is said even where nobody will ask for it.
    wants_gradient = torch.is_grad_enabled() and (hidden_ND.requires_grad or weight_VD.requires_grad)
    loss, nll = _ProjectedLoss.apply(hidden_ND, weight_VD, tgt_N, label_smoothing, wants_gradient)  # type: ignore[no-untyped-call]
    return loss, nll


class _ProjectedLoss(torch.autograd.Function):
    """The gradient is formed in the forward pass, since the logits are there only then.

    With p = softmax(logits): loss = lse - (1 - ε) · logit[tgt] - ε / V · Σ logits, so that
    ∂loss/∂logits = p - (1 - ε) · one-hot - ε / V.

    What smoothing adds is never formed for each logit: Σ logits over all tokens is (Σ hidden) · (Σ weight), and the
    constant -ε / V, multiplied by the matrix or by the hidden states, is a multiple of one of these two sums.
    """

    @staticmethod
    def forward(
        ctx: Any, hidden_ND: Tensor, weight_VD: Tensor, tgt_N: Tensor, eps: float, wants_gradient: bool
    ) -> tuple[Tensor, Tensor]:
        device = hidden_ND.device.type
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else weight_VD.dtype
        low_hidden_ND, low_weight_VD = hidden_ND.to(dtype), weight_VD.to(dtype)
        grad_hidden_ND = torch.empty_like(hidden_ND)
        grad_weight_VD = torch.zeros_like(weight_VD)
        nll, lse = weight_VD.new_zeros(()), weight_VD.new_zeros(())
        at_once, in_memory = (ROWS_IN_CACHE, ROWS_IN_MEMORY) if device == "cpu" else (ROWS_ON_GPU, ROWS_ON_GPU)
        kept = low_hidden_ND.new_empty(min(in_memory, len(tgt_N)), len(weight_VD))
        with torch.autocast(device, enabled=False):
            project = _product(low_weight_VD)
            project_back = _product(low_weight_VD.T)
            for first in range(0, len(tgt_N), in_memory):
                many = slice(first, min(first + in_memory, len(tgt_N)))
                for start in range(first, many.stop, at_once):
                    rows = slice(start, min(start + at_once, many.stop))
                    grad = kept[start - first : rows.stop - first]
                    block_nll, block_lse = _loss_and_gradient(project(low_hidden_ND[rows]), tgt_N[rows], eps, out=grad)
                    nll += block_nll
                    lse += block_lse
                    if wants_gradient:
                        grad_hidden_ND[rows] = project_back(grad)
                if wants_gradient:
                    grad_weight_VD += kept[: many.stop - first].T @ low_hidden_ND[many]
            sum_hidden_D, sum_weight_D = hidden_ND.sum(0, dtype=weight_VD.dtype), weight_VD.sum(0)
            loss = (1 - eps) * nll + eps * (lse - sum_hidden_D @ sum_weight_D / len(weight_VD))
            grad_hidden_ND -= eps / len(weight_VD) * sum_weight_D
            grad_weight_VD -= eps / len(weight_VD) * sum_hidden_D
        ctx.save_for_backward(grad_hidden_ND, grad_weight_VD)
        ctx.mark_non_differentiable(nll)
        return loss, nll

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        grad_hidden_ND, grad_weight_VD = ctx.saved_tensors
        return grad_hidden_ND * grads[0], grad_weight_VD * grads[0], None, None, None


def _product(weight_OI: Tensor) -> Callable[[Tensor], Tensor]:
    """x -> x Wᵀ, by the faster library where there are two."""
    if not has_onednn(weight_OI):
        return lambda x_RI: x_RI @ weight_OI.T
    columns_OI = weight_OI.T.contiguous().T  # column by column in memory: what it multiplies fastest with
    return lambda x_RI: onednn_product(x_RI, columns_OI)


def _loss_and_gradient(logits_RV: Tensor, tgt_R: Tensor, eps: float, out: Tensor) -> tuple[Tensor, Tensor]:
    """Sums of the negative log-likelihood and of lse; p - (1 - ε) · one-hot is written to `out`.

    One exponential for all three: with m the largest logit, softmax there is exp(m - lse), so that
    lse = m - log max softmax. What is subtracted is computed in float32 even where `logits_RV` are less.

    Shapes:
        out:    (R, V)
        return: (), ()
    """
    dtype = torch.promote_types(logits_RV.dtype, torch.float32)
    right = torch.arange(len(tgt_R), device=tgt_R.device), tgt_R
    right_R = logits_RV[right].to(dtype)
    largest_R = logits_RV.amax(1).to(dtype)
    torch.softmax(logits_RV, 1, out=out)
    lse_R = largest_R - out.amax(1).to(dtype).log()
    out[right] = ((right_R - lse_R).exp() - (1 - eps)).to(out.dtype)
    return (lse_R - right_R).sum(), lse_R.sum()
