"""Output layer and label-smoothed cross-entropy in one, block by block.

Slow twin: `torch.nn.functional.cross_entropy` of all logits. N counts real target tokens, M the rows whose gradients
are kept, R the rows of one block.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from mtx.model.fast.linear import has_onednn, onednn_product

ROWS_IN_CACHE = 256  # Rows of logits computed at once on a CPU: enough for the matrix product, few enough for the cache
ROWS_ON_GPU = 8192  # On a GPU: enough to keep it busy, at 256 MiB for 16,000 tokens in bf16
ROWS_IN_MEMORY = 4 * ROWS_IN_CACHE  # Rows of gradients kept, so that the matrix's is summed in few, large products


def projected_loss_sum(hidden_ND: Tensor, weight_VD: Tensor, tgt_N: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """Cross-entropy of hidden_ND Wᵀ with label smoothing ε, without ever holding all logits.

    Returns sums over tokens, in nats: the loss and, without a gradient, the negative log-likelihood.
    """
    # Inside the function autograd is off, and all inputs seem to need a gradient.
    wants_gradient = torch.is_grad_enabled() and (hidden_ND.requires_grad or weight_VD.requires_grad)
    return _ProjectedLoss.apply(hidden_ND, weight_VD, tgt_N, eps, wants_gradient)  # type: ignore[no-any-return, no-untyped-call]


class _ProjectedLoss(torch.autograd.Function):
    """Forms the gradient in the forward pass, since the logits exist only there."""

    @staticmethod
    def forward(
        ctx: Any, hidden_ND: Tensor, weight_VD: Tensor, tgt_N: Tensor, eps: float, wants_gradient: bool
    ) -> tuple[Tensor, Tensor]:
        device = hidden_ND.device.type
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else weight_VD.dtype
        low_hidden_ND, low_weight_VD = hidden_ND.to(dtype), weight_VD.to(dtype)
        grad_hidden_ND = torch.empty_like(hidden_ND)
        grad_weight_VD = torch.zeros_like(weight_VD)
        loss, nll = weight_VD.new_zeros(()), weight_VD.new_zeros(())
        at_once, in_memory = (ROWS_IN_CACHE, ROWS_IN_MEMORY) if device == "cpu" else (ROWS_ON_GPU, ROWS_ON_GPU)
        kept_MV = low_hidden_ND.new_empty(min(in_memory, len(tgt_N)), len(weight_VD))
        with torch.autocast(device, enabled=False):
            project, project_back = _product(low_weight_VD), _product(low_weight_VD.T)
            for large in zip(*(torch.split(x, in_memory) for x in (low_hidden_ND, tgt_N, grad_hidden_ND)), strict=True):
                low_hidden_MD, grad_MV = large[0], kept_MV[: len(large[0])]
                blocks = zip(*(torch.split(x, at_once) for x in (*large, grad_MV)), strict=True)
                for low_hidden_RD, tgt_R, grad_hidden_RD, grad_RV in blocks:
                    block_loss, block_nll = _loss_and_gradient(project(low_hidden_RD), tgt_R, eps, out=grad_RV)
                    loss += block_loss
                    nll += block_nll
                    if wants_gradient:
                        grad_hidden_RD.copy_(project_back(grad_RV))
                if wants_gradient:
                    grad_weight_VD += grad_MV.T @ low_hidden_MD
        ctx.save_for_backward(grad_hidden_ND, grad_weight_VD)
        ctx.mark_non_differentiable(nll)
        return loss, nll

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        grad_hidden_ND, grad_weight_VD = ctx.saved_tensors
        return grad_hidden_ND * grads[0], grad_weight_VD * grads[0], None, None, None


def _product(weight_OI: Tensor) -> Callable[[Tensor], Tensor]:
    """x -> x Wᵀ, by the faster of the libraries that torch has for it."""
    if not has_onednn(weight_OI):
        return lambda x_RI: x_RI @ weight_OI.T
    columns_OI = weight_OI.T.contiguous().T  # stored column by column, the order that oneDNN multiplies fastest
    return lambda x_RI: onednn_product(x_RI, columns_OI)


def _loss_and_gradient(logits_RV: Tensor, tgt_R: Tensor, eps: float, out: Tensor) -> tuple[Tensor, Tensor]:
    """The sums of the loss and of the negative log-likelihood; the logits' gradient is written to `out`.

    With p = softmax(logits), per token:

        nll  = lse - logit[tgt]
        loss = (1 - ε) · nll + ε · (lse - mean of logits)
        ∂loss/∂logits = p - (1 - ε) · one-hot - ε / V

    One exponential serves all of it: the softmax of the largest logit m is exp(m - lse), so lse = m - log(max p).
    Differences are taken in float32 even if the logits have fewer bits. Shapes: out (R, V), return (), ().
    """
    dtype = torch.promote_types(logits_RV.dtype, torch.float32)
    right = torch.arange(len(tgt_R), device=tgt_R.device), tgt_R
    right_R = logits_RV[right].to(dtype)
    largest_R = logits_RV.amax(1).to(dtype)
    torch.softmax(logits_RV, 1, out=out)
    lse_R = largest_R - out.amax(1).to(dtype).log()
    nll = (lse_R - right_R).sum()
    out -= eps / logits_RV.size(1)
    out[right] = ((right_R - lse_R).exp() - (1 - eps) - eps / logits_RV.size(1)).to(out.dtype)
    mean_R = logits_RV.sum(1).to(dtype) / logits_RV.size(1)  # summed in float32, in bf16 too
    return (1 - eps) * nll + eps * (lse_R - mean_R).sum(), nll
