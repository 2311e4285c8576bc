"""Linear maps by oneDNN, on CPUs in float32. Slow twin: `torch.nn.Linear`."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

TORCH_HAS_ONEDNN = bool(torch.backends.mkldnn.is_available())  # type: ignore[no-untyped-call]
SIGNIFICANT_BITS = 5  # Row counts are rounded up to this many leading bits: 16 sizes from one power of two to the next
ROWS_PER_PASS = 8  # Row counts above this are multiples of it: oneDNN reads the weights once for so many rows
PACKED_FOR_ROWS = 64  # Rows of x that a packed matrix is laid out for; any number works, 16 to 512 give the same layout


class Linear(nn.Linear):
    """y = x Wᵀ + b with the parameters of a given layer, by the faster of two libraries that torch has on a CPU.

    In float32 torch multiplies with MKL, which is slower than oneDNN on other makers' CPUs than Intel's (by 5 to 30 %
    on Zen 4).
    """

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__(linear.in_features, linear.out_features, bias=linear.bias is not None, device="meta")
        self.weight, self.bias = linear.weight, linear.bias

    def forward(self, x: Tensor) -> Tensor:
        if x.device.type != "cpu" or torch.compiler.is_compiling():  # a compiler chooses its own products
            return F.linear(x, self.weight, self.bias)
        if not torch.is_grad_enabled():
            product = onednn_product if has_onednn(x) else F.linear
            return pad_rows(lambda x_RI: product(x_RI, self.weight, self.bias), x)
        product = _OneDnnLinear.apply if has_onednn(x) else F.linear
        return product(x, self.weight, self.bias)


def joined(*linears: nn.Linear) -> nn.Linear:
    """Several maps of the same x as one, their outputs side by side; for decoding, without gradients."""
    joined = nn.Linear(linears[0].in_features, sum(linear.out_features for linear in linears), device="meta")
    joined.weight = nn.Parameter(torch.cat([linear.weight.detach() for linear in linears]), requires_grad=False)
    joined.bias = nn.Parameter(torch.cat([linear.bias.detach() for linear in linears]), requires_grad=False)
    return joined


def packed(linear: nn.Linear) -> Linear:
    """The same map with its matrix in the blocks that oneDNN reads; for decoding, without gradients."""
    fast = Linear(linear)
    fast.weight = nn.Parameter(pack(linear.weight.detach()), requires_grad=False)
    return fast


def pack(weight_OI: Tensor) -> Tensor:
    """The same matrix in the blocks that oneDNN reads; unchanged where oneDNN does not multiply it."""
    if not has_onednn(weight_OI):
        return weight_OI
    return torch.ops.mkldnn._reorder_linear_weight(weight_OI, PACKED_FOR_ROWS)  # type: ignore[no-any-return]


def pad_rows(product: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """`product` of x, to which zero rows are added, at most a sixteenth or 7, so that it comes in few sizes.

    In a search nearly every step has another number of rows. For oneDNN each number is a program of its own, which
    takes a millisecond to compile and half a megabyte to keep. Shapes: product (R, I) -> (R, O), x (…, I) -> (…, O).
    """
    x_RI = x if x.dim() == 2 else x.reshape(-1, x.size(-1))
    num_rows = len(x_RI)
    num_missing = padded_size(num_rows) - num_rows
    if num_missing:
        y_RO = product(torch.cat([x_RI, x_RI.new_zeros(num_missing, x_RI.size(1))]))[:num_rows]
    else:
        y_RO = product(x_RI)
    return y_RO if x.dim() == 2 else y_RO.view(*x.shape[:-1], y_RO.size(1))


def padded_size(num_rows: int) -> int:
    """The number of rows that a product of `num_rows` is padded to."""
    fewest = ROWS_PER_PASS if num_rows > ROWS_PER_PASS else 1
    return num_rows + -num_rows % max(fewest, 1 << max(0, num_rows.bit_length() - SIGNIFICANT_BITS))


def has_onednn(x: Tensor) -> bool:
    """Whether to multiply `x` by oneDNN: float32 on a CPU, outside autocast, if torch was built with oneDNN."""
    is_plain = x.device.type == "cpu" and x.dtype == torch.float32 and not torch.is_autocast_enabled("cpu")
    return is_plain and TORCH_HAS_ONEDNN


def onednn_product(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x Wᵀ + b by oneDNN, without a gradient. Shapes: (…, I), (O, I), (O,) -> (…, O)."""
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")  # type: ignore[no-any-return]


class _OneDnnLinear(torch.autograd.Function):
    """The gradient that torch does not define for oneDNN's product."""

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
        # By MKL: oneDNN would first copy both factors of this sum over rows.
        grad_weight = rows.T @ x.flatten(0, -2) if ctx.needs_input_grad[1] else None
        grad_bias = rows.sum(dim=0) if ctx.needs_input_grad[2] else None
        return grad_x, grad_weight, grad_bias
