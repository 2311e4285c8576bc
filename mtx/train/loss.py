"""Label-smoothed cross-entropy, summed over real tokens.

The letters of the shapes are explained in `mtx.model`; N is the number of real target tokens.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

ROWS_AT_A_TIME = 256
"""Rows of the logits that are in memory at once: enough for the matrix product, few enough for the cache."""


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
    """

    @staticmethod
    def forward(
        ctx: Any, hidden_ND: Tensor, weight_VD: Tensor, tgt_N: Tensor, eps: float, wants_gradient: bool
    ) -> tuple[Tensor, Tensor]:
        device = hidden_ND.device.type
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else weight_VD.dtype
        low_hidden_ND, low_weight_VD = hidden_ND.to(dtype), weight_VD.to(dtype)
        grad_hidden_ND = torch.empty_like(low_hidden_ND)
        grad_weight_VD = torch.zeros_like(weight_VD)
        loss, nll = weight_VD.new_zeros(()), weight_VD.new_zeros(())
        with torch.autocast(device, enabled=False):
            for start in range(0, len(tgt_N), ROWS_AT_A_TIME):
                rows = slice(start, start + ROWS_AT_A_TIME)
                hidden, tgt = low_hidden_ND[rows], tgt_N[rows, None]
                logits = (hidden @ low_weight_VD.T).to(weight_VD.dtype)
                lse = logits.logsumexp(dim=1, keepdim=True)
                block_nll = (lse - logits.gather(1, tgt)).sum()
                nll += block_nll
                loss += (1 - eps) * block_nll + eps * (lse - logits.mean(dim=1, keepdim=True)).sum()
                if wants_gradient:
                    grad = logits.sub_(lse).exp_().sub_(eps / logits.size(1))
                    grad.scatter_add_(1, tgt, grad.new_full(tgt.shape, eps - 1))
                    grad = grad.to(dtype)
                    torch.mm(grad, low_weight_VD, out=grad_hidden_ND[rows])
                    grad_weight_VD += grad.T @ hidden
        ctx.save_for_backward(grad_hidden_ND.to(hidden_ND.dtype), grad_weight_VD)
        ctx.mark_non_differentiable(nll)
        return loss, nll

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        grad_hidden_ND, grad_weight_VD = ctx.saved_tensors
        return grad_hidden_ND * grads[0], grad_weight_VD * grads[0], None, None, None
