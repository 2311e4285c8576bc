"""Models that only translate: a copy with its matrices in the form that decoding multiplies fastest with."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mtx.model.layers import DecoderLayer, EncoderLayer
from mtx.model.linear import TORCH_HAS_ONEDNN, Linear, has_onednn, in_few_sizes, onednn_product
from mtx.model.transformer import Transformer

SOME_ROWS = 64
"""Rows of x that matrices in float32 are laid out for; any number is multiplied, and those from 16 to 512 alike."""


Int8Product = Callable[[Tensor], Tensor]
"""x̂ -> s_w · x̂ ŵᵀ. Shapes: (R, I) int8 -> (R, O) float32."""


@dataclass(frozen=True, slots=True)
class Int8Arithmetic:
    """How a machine multiplies whole numbers: by its own instructions where it has them, or in place of them."""

    product_of_few: Callable[[Tensor, Tensor], Int8Product]
    product_of_many: Callable[[Tensor, Tensor], Int8Product]
    """Made of ŵ (O, I) and s_w (O,)."""
    many: int = 0
    """Rows times outputs from which on the second pays: oneDNN's calls cost 15 microseconds beforehand."""
    largest_weight: int = 127

    @classmethod
    def of_this_machine(cls) -> "Int8Arithmetic":
        """The fastest one, as far as torch can tell what the machine has."""
        if TORCH_HAS_ONEDNN and hasattr(torch.cpu, "get_capabilities"):
            capabilities = torch.cpu.get_capabilities()
            if capabilities.get("avx512_vnni"):
                return cls(plain_int8_product, onednn_int8_product, 2**17)
            if capabilities.get("avx2"):
                # Its instruction adds two products in 16 bits. Weights of 7 bits can't overflow them; one number after
                # another, as torch's own product goes there, takes 30 times as long.
                return cls(float_int8_product, onednn_int8_product, 2**15, largest_weight=63)
        return cls(float_int8_product, float_int8_product)


class Int8Linear(nn.Module):
    """y = x Wᵀ + b in whole numbers: each row of W and each row of x is scaled so that its largest number is ±127.

    With w = s_w · ŵ and x = s_x · x̂ the product is s_x s_w · x̂ ŵᵀ, exact but for the rounding to x̂ and ŵ: at most
    half a step, 1/254 of the largest number of the row (of W 1/126 where `Int8Arithmetic` says so). Scales of W are
    found once, those of x for each x.

    Shapes:
        x:      (…, I)
        return: (…, O)
    """

    def __init__(self, linear: Linear, arithmetic: Int8Arithmetic | None = None) -> None:
        super().__init__()
        arithmetic = arithmetic or Int8Arithmetic.of_this_machine()
        rounded_OI, scale_O1 = round_rows(linear.weight.detach(), arithmetic.largest_weight)
        self.product_of_few = arithmetic.product_of_few(rounded_OI, scale_O1[:, 0])
        self.product_of_many = arithmetic.product_of_many(rounded_OI, scale_O1[:, 0])
        self.most_rows = arithmetic.many // linear.weight.size(0)
        self.bias = None if linear.bias is None else linear.bias.detach()

    def forward(self, x: Tensor) -> Tensor:
        """Shapes: (…, I) -> (…, O)."""
        return in_few_sizes(self._map, x)

    def _map(self, x_RI: Tensor) -> Tensor:
        rounded_RI, scale_R1 = round_rows(x_RI)
        product = self.product_of_few if len(rounded_RI) <= self.most_rows else self.product_of_many
        y_RO = product(rounded_RI).to(x_RI.dtype)
        if self.bias is None:
            return y_RO.mul_(scale_R1)
        return torch.addcmul(self.bias, y_RO, scale_R1, out=y_RO)


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
    # The transpose, row by row, is what the product reads fastest when x has few rows.
    weight_IO = weight_OI.T.contiguous()
    return lambda x_RI: torch._int_mm(x_RI, weight_IO).to(scale_O.dtype).mul_(scale_O)


def float_int8_product(weight_OI: Tensor, scale_O: Tensor) -> Int8Product:
    """The product in float32: its sums of whole numbers are exact up to 2^24, and err in the last bit beyond."""
    weight_OI = weight_OI.to(scale_O.dtype)
    product = onednn_product if has_onednn(weight_OI) else F.linear
    packed = _packed(weight_OI)
    return lambda x_RI: product(x_RI.to(scale_O.dtype), packed).mul_(scale_O)


def round_rows(x_RI: Tensor, largest: int = 127) -> tuple[Tensor, Tensor]:
    """Each row as whole numbers up to ±largest, and its scale; a row of zeros stays one. Shapes: (R, I), (R, 1)."""
    scale_R1 = x_RI.abs().amax(dim=1, keepdim=True).div_(largest).clamp_min_(torch.finfo(x_RI.dtype).tiny)
    return (x_RI / scale_R1).round_().to(torch.int8), scale_R1


def for_inference(model: Transformer, dtype: torch.dtype) -> Transformer:
    """A copy of `model` that multiplies in `dtype`: bfloat16 and float16 through and through, int8 in linear maps only.

    float32 leaves all numbers as they are. What needs no other form is not copied: `model` lends it.
    """
    if dtype in (torch.bfloat16, torch.float16):
        copy = deepcopy(model).to(dtype)
    else:
        copy = deepcopy(model, {id(parameter): parameter for parameter in model.parameters()})
    are_joined: set[nn.Module] = set()
    for layer in list(copy.modules()):
        if isinstance(layer, EncoderLayer | DecoderLayer):
            own = layer.self_attention
            own.joined_proj = _join(own.q_proj, own.k_proj, own.v_proj)
            are_joined |= {own.q_proj, own.k_proj, own.v_proj}
        if isinstance(layer, DecoderLayer):
            cross = layer.cross_attention
            cross.joined_proj = _join(cross.k_proj, cross.v_proj)
            are_joined |= {cross.k_proj, cross.v_proj}
    for parent in list(copy.modules()):
        for name, module in list(parent.named_children()):
            if isinstance(module, Linear) and module not in are_joined:
                setattr(parent, name, _fast(module, dtype))
    return copy.eval()


def _fast(linear: Linear, dtype: torch.dtype) -> nn.Module:
    """The same map in the form that is multiplied with fastest."""
    if dtype == torch.int8:
        return Int8Linear(linear)
    if not has_onednn(linear.weight):
        return linear
    # What is tied to the embedding comes apart from it, which is looked up row by row.
    packed = nn.Parameter(_packed(linear.weight.detach()), requires_grad=False)
    fast = Linear(packed.size(1), packed.size(0), weight=packed)
    fast.bias = linear.bias
    return fast


def _packed(weight_OI: Tensor) -> Tensor:
    """The same matrix in blocks, as oneDNN reads it; itself where it is not oneDNN that does."""
    if not has_onednn(weight_OI):
        return weight_OI
    packed: Tensor = torch.ops.mkldnn._reorder_linear_weight(weight_OI, SOME_ROWS)
    return packed


def _join(*maps: Linear) -> Linear:
    """Maps of the same x as one, their outputs one after another: one larger product, and x is rounded once."""
    weight = nn.Parameter(torch.cat([linear.weight for linear in maps]), requires_grad=False)
    joined = Linear(weight.size(1), weight.size(0), weight=weight)
    biases: list[Tensor] = [linear.bias for linear in maps if linear.bias is not None]
    joined.bias = nn.Parameter(torch.cat(biases), requires_grad=False)
    return joined
