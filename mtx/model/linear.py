"""Linear maps, where nearly all of a model's time goes. The letters of the shapes are explained in `mtx.model`."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

TORCH_HAS_ONEDNN = bool(torch.backends.mkldnn.is_available())  # type: ignore[no-untyped-call]
"""Whether torch was built with oneDNN."""

DIGITS = 4
"""Binary digits of a number of rows before nothing but zeros: 8 numbers from one power of two to the next."""
ROWS_AT_ONCE = 8
"""A larger number of rows is a multiple of it, as fast as one of fewer rows: they share what is read of the weights."""


class Linear(nn.Module):
    """y = x Wᵀ + b, as torch's own, but by the faster of the two libraries that torch has for it on a CPU.

    In float32 torch multiplies with MKL, which on CPUs of other makers than its own is slower than oneDNN, torch's
    library for bf16 (by 5 to 30 % here). Fresh matrices are Glorot-uniform, biases 0; `weight` is one to share instead.

    Shapes:
        weight: (O, I), bias: (O,) or None
        x:      (…, I)
        return: (…, O)
    """

    def __init__(
        self, in_features: int, out_features: int, *, bias: bool = True, weight: nn.Parameter | None = None
    ) -> None:
        super().__init__()
        if weight is None:
            weight = nn.Parameter(nn.init.xavier_uniform_(torch.empty(out_features, in_features)))
        self.weight = weight
        self.bias = nn.Parameter(torch.zeros(out_features)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        """Shapes: (…, I) -> (…, O)."""
        return _linear(x, self.weight, self.bias)


def side_by_side(x: Tensor, *maps: Linear) -> Tensor:
    """Several maps of the same `x` in one product, their outputs one after another: wider, it is faster than several.

    Shapes:
        return: (…, sum of the maps' O)
    """
    biases: list[Tensor] = [linear.bias for linear in maps if linear.bias is not None]
    return _linear(x, torch.cat([linear.weight for linear in maps]), torch.cat(biases) if biases else None)


def _linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    if x.device.type != "cpu" or torch.compiler.is_compiling():  # a compiler chooses for itself
        return F.linear(x, weight, bias)
    product = onednn_product if has_onednn(x) else F.linear
    if not torch.is_grad_enabled():
        return in_few_sizes(lambda x_RI: product(x_RI, weight, bias), x)
    if product is F.linear:
        return F.linear(x, weight, bias)
    out: Tensor = _OneDnnLinear.apply(x, weight, bias)  # type: ignore[no-untyped-call]
    return out


def in_few_sizes(product: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """`product` of the rows of `x`, for searches, where nearly each step has another number of rows.

    Each number is a program of its own for oneDNN, which takes a millisecond to make and up to half a megabyte to keep.
    So rows of zeros are added up to the next number with few `DIGITS`, at most an eighth, and their products dropped.

    Shapes:
        product: (R, I) -> (R, O), row by row
        x:       (…, I)
        return:  (…, O)
    """
    x_RI = x if x.dim() == 2 else x.reshape(-1, x.size(-1))
    num_rows = len(x_RI)
    step = 2 ** max(0, num_rows.bit_length() - DIGITS)
    num_missing = -num_rows % max(step, ROWS_AT_ONCE if num_rows > ROWS_AT_ONCE else 1)
    if num_missing:
        full_RI = x_RI.new_empty(num_rows + num_missing, x_RI.size(1))
        full_RI[:num_rows] = x_RI
        full_RI[num_rows:] = 0
        y_RO = product(full_RI)[:num_rows]
    else:
        y_RO = product(x_RI)
    return y_RO if x.dim() == 2 else y_RO.view(*x.shape[:-1], y_RO.size(1))


def has_onednn(x: Tensor) -> bool:
    """Whether to multiply `x` by oneDNN: float32 on a CPU, outside autocast, where torch was built with it."""
    return (
        x.device.type == "cpu"
        and x.dtype == torch.float32
        and TORCH_HAS_ONEDNN
        and not torch.is_autocast_enabled("cpu")
    )


def onednn_product(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x Wᵀ + b by oneDNN, without a gradient. Shapes: (…, I), (O, I), (O,) -> (…, O)."""
    out: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
    return out


class _OneDnnLinear(torch.autograd.Function):
    """torch offers oneDNN's product without its gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        return onednn_product(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        grad = grads[0]
        rows = grad.flatten(0, -2)
        grad_x = onednn_product(grad, weight.T) if ctx.needs_input_grad[0] else None
        # The sum over rows is MKL's: oneDNN would copy both sides first.
        grad_weight = rows.T @ x.flatten(0, -2) if ctx.needs_input_grad[1] else None
        grad_bias = rows.sum(dim=0) if ctx.needs_input_grad[2] else None
        return grad_x, grad_weight, grad_bias
