"""Linear maps in whole numbers of eight bits, for decoding on a CPU. Slow twin: `torch.nn.Linear`, but for rounding."""

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mtx.model.fast.linear import TORCH_HAS_ONEDNN, has_onednn, onednn_product, pack, padded_size

Int8Product = Callable[[Tensor], Tensor]  # x̂ -> s_w · x̂ ŵᵀ. Shapes: (R, I) int8 -> (R, O) float32.


class Int8Arithmetic(NamedTuple):
    """Integer matrix products of this machine, by its int8 instructions or by a substitute."""

    product_of_few: Callable[[Tensor, Tensor], Int8Product]  # Made of ŵ (O, I) and s_w (O,)
    product_of_many: Callable[[Tensor, Tensor], Int8Product]
    many: int = 0  # Rows times outputs from which on the second pays: oneDNN's calls cost 15 microseconds beforehand
    largest_weight: int = 127

    @classmethod
    def of_this_machine(cls) -> "Int8Arithmetic":
        """The fastest one, as far as torch can tell what the machine has."""
        if TORCH_HAS_ONEDNN and hasattr(torch.cpu, "get_capabilities"):
            capabilities = torch.cpu.get_capabilities()
            if capabilities.get("avx512_vnni"):
                return cls(plain_int8_product, onednn_int8_product, 2**17)
            if capabilities.get("avx2"):
                # Its instruction adds two products in 16 bits, which weights of 7 bits can't overflow. torch's own
                # product, which multiplies number by number there, takes 30 times as long.
                return cls(float_int8_product, onednn_int8_product, 2**15, largest_weight=63)
        return cls(float_int8_product, float_int8_product)


class Int8Linear(nn.Module):
    """y = x Wᵀ + b in whole numbers: each row of W and each row of x is scaled so that its largest number is ±127.

    With w = s_w · ŵ and x = s_x · x̂ the product is s_x s_w · x̂ ŵᵀ, exact but for the rounding to x̂ and ŵ: at most
    half a step, 1/254 of the largest number of the row (of W 1/126 where `Int8Arithmetic` says so). Scales of W are
    found once, those of x for each x.
    """

    def __init__(self, linear: nn.Linear, arithmetic: Int8Arithmetic | None = None) -> None:
        super().__init__()
        arithmetic = arithmetic or Int8Arithmetic.of_this_machine()
        rounded_OI, scale_O1 = round_rows(linear.weight.detach(), arithmetic.largest_weight)
        self.product_of_few = arithmetic.product_of_few(rounded_OI, scale_O1[:, 0])
        self.product_of_many = arithmetic.product_of_many(rounded_OI, scale_O1[:, 0])
        self.most_rows = arithmetic.many // linear.weight.size(0)
        self.bias = None if linear.bias is None else linear.bias.detach()

    def forward(self, x: Tensor) -> Tensor:
        """Shapes: (…, I) -> (…, O)."""
        x_RI = x if x.dim() == 2 else x.reshape(-1, x.size(-1))
        rounded_RI, scale_R1 = round_rows(x_RI, num_rows=padded_size(len(x_RI)))
        product = self.product_of_few if len(rounded_RI) <= self.most_rows else self.product_of_many
        y_RO = product(rounded_RI)[: len(x_RI)].to(x.dtype)
        y_RO = y_RO.mul_(scale_R1) if self.bias is None else torch.addcmul(self.bias, y_RO, scale_R1, out=y_RO)
        return y_RO if x.dim() == 2 else y_RO.view(*x.shape[:-1], y_RO.size(1))


def onednn_int8_product(weight_OI: Tensor, scale_O: Tensor) -> Int8Product:
    """The product by oneDNN, which scales the sums while it has them at hand."""
    packed = torch.ops.onednn.qlinear_prepack(weight_OI.contiguous(), None)
    zero_points_O = torch.zeros(len(scale_O), dtype=torch.int32)

    def product(x_RI: Tensor) -> Tensor:
        # The instructions want the left side without signs: x̂ + 128, which is one bit in another place.
        shifted_RI = x_RI.view(torch.uint8).bitwise_xor(128)
        y_RO: Tensor = torch.ops.onednn.qlinear_pointwise(
            shifted_RI, 1.0, 128, packed, scale_O, zero_points_O, None, 1.0, 0, torch.float32, "none", [], ""
        )
        return y_RO

    return product


def plain_int8_product(weight_OI: Tensor, scale_O: Tensor) -> Int8Product:
    """The product by torch alone, for machines with instructions for it."""
    weight_IO = weight_OI.T.contiguous()  # read fastest when x has few rows
    return lambda x_RI: torch._int_mm(x_RI, weight_IO).to(scale_O.dtype).mul_(scale_O)


def float_int8_product(weight_OI: Tensor, scale_O: Tensor) -> Int8Product:
    """The product in float32: its sums of whole numbers are exact up to 2^24, and err in the last bit beyond."""
    weight_OI = weight_OI.to(scale_O.dtype)
    product = onednn_product if has_onednn(weight_OI) else F.linear
    packed = pack(weight_OI)
    return lambda x_RI: product(x_RI.to(scale_O.dtype), packed).mul_(scale_O)


def round_rows(x_RI: Tensor, largest: int = 127, num_rows: int | None = None) -> tuple[Tensor, Tensor]:
    """Each row as whole numbers up to ±largest, and its scale. Shapes: (num_rows or R, I), R of them set; (R, 1)."""
    scale_R1 = x_RI.abs().amax(dim=1, keepdim=True).div_(largest).clamp_min_(torch.finfo(x_RI.dtype).tiny)
    rounded_RI = torch.empty(num_rows or len(x_RI), x_RI.size(1), dtype=torch.int8, device=x_RI.device)
    rounded_RI[: len(x_RI)] = (x_RI / scale_R1).round_()
    return rounded_RI, scale_R1
