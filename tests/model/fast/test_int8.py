"""Products in whole numbers err by their rounding alone."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from mtx.model.fast.int8 import (
    Int8Arithmetic,
    Int8Linear,
    float_int8_product,
    onednn_int8_product,
    plain_int8_product,
    round_rows,
)

ARITHMETICS = {
    "this machine": Int8Arithmetic.of_this_machine(),
    "torch alone": Int8Arithmetic(plain_int8_product, plain_int8_product),
    "float": Int8Arithmetic(float_int8_product, float_int8_product),
    "7 bits": Int8Arithmetic(float_int8_product, onednn_int8_product, 2**12, largest_weight=63),
}


@pytest.mark.parametrize("outputs", [40, 9000])
@pytest.mark.parametrize("name", ARITHMETICS)
def test_int8_errs_by_its_rounding_alone(outputs: int, name: str) -> None:
    """Against exact sums of the rounded numbers, and within half a step of each factor against the true ones."""
    torch.manual_seed(0)
    arithmetic = ARITHMETICS[name]
    linear = nn.Linear(300, outputs)
    nn.init.normal_(linear.bias)
    nn.init.constant_(linear.weight[0], 0.1)
    x = torch.randn(5, 3, 300) * torch.tensor([1e-3, 1.0, 1e3]).view(1, 3, 1)
    x[0, 1] = 0.1  # with the first output the largest sums of all: they may not overflow
    out = Int8Linear(linear, arithmetic)(x)

    x_hat, x_scale = round_rows(x.flatten(0, 1))
    w_hat, w_scale = round_rows(linear.weight.detach(), arithmetic.largest_weight)
    exact = (x_hat.double() * x_scale.double()) @ (w_hat.double() * w_scale.double()).T + linear.bias.double()
    torch.testing.assert_close(out.flatten(0, 1).double(), exact, atol=1e-4, rtol=1e-5)

    rows, weight = x.flatten(0, 1).double(), linear.weight.detach().double()
    bound = 0.5 * (x_scale @ weight.abs().sum(1)[None].float() + rows.abs().sum(1)[:, None] @ w_scale.T.double())
    bound = bound + 0.25 * 300 * x_scale @ w_scale.T
    assert ((out.flatten(0, 1) - rows @ weight.T - linear.bias).abs() <= bound + 1e-4).all()


@pytest.mark.parametrize(
    ("capabilities", "largest", "product_of_few"),
    [
        ({"avx2": True, "avx512_vnni": True}, 127, plain_int8_product),
        ({"avx2": True, "avx512_vnni": False}, 63, float_int8_product),
        ({}, 127, float_int8_product),
    ],
)
def test_int8_is_what_the_machine_is_fast_at(
    capabilities: dict[str, bool], largest: int, product_of_few: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    arithmetic = Int8Arithmetic.of_this_machine()
    assert (arithmetic.largest_weight, arithmetic.product_of_few) == (largest, product_of_few)


def test_int8_multiplies_in_few_sizes() -> None:
    """Rows that were added to reach one of them leave no trace."""
    seen: list[int] = []

    def noting_product(weight_OI: Tensor, scale_O: Tensor) -> Callable[[Tensor], Tensor]:
        product = float_int8_product(weight_OI, scale_O)

        def noted(x_RI: Tensor) -> Tensor:
            seen.append(len(x_RI))
            return product(x_RI)

        return noted

    linear, x = nn.Linear(6, 3), torch.randn(2, 33, 6)
    fast = Int8Linear(linear, Int8Arithmetic(noting_product, noting_product))
    torch.testing.assert_close(fast(x)[1, -1], fast(x[1, -1:])[0])
    assert seen == [72, 1]


def test_rounded_rows() -> None:
    rounded, scale = round_rows(torch.tensor([[0.0, 0.0], [-2.0, 1.0], [1e-30, 5e-31]]))
    assert rounded.tolist()[:2] == [[0, 0], [-127, 64]]
    assert rounded[2].tolist() == [127, 64]
    assert round_rows(torch.tensor([[-2.0, 0.99]]), 63)[0].tolist() == [[-63, 31]]
    assert scale.isfinite().all()
    assert rounded.dtype == torch.int8
