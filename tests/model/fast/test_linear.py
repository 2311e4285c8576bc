"""Linear maps equal torch's, in values and gradients, by whichever library they are computed."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mtx.model.fast.linear import Linear, has_onednn, joined, packed, pad_rows

SHAPES = [(1,), (7,), (3, 5), (2, 1, 9)]


def values_and_gradients(product: object, *inputs: Tensor | None) -> list[Tensor]:
    leaves = [tensor.detach().requires_grad_() for tensor in inputs if tensor is not None]
    out = product(*leaves)  # type: ignore[operator]
    gradient = torch.linspace(-1, 1, out.numel()).view_as(out)
    return [out, *torch.autograd.grad(out, leaves, gradient)]


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("rows", SHAPES)
def test_it_equals_torch(rows: tuple[int, ...], bias: bool) -> None:
    torch.manual_seed(len(rows))
    linear = Linear(nn.Linear(6, 4, bias=bias))
    x = torch.randn(*rows, 6)
    assert has_onednn(x), "the tests of this machine see the product of oneDNN"
    for dtype in (torch.float32, torch.float64):
        linear, x = linear.to(dtype), x.to(dtype)
        parameters = [parameter.detach() for parameter in linear.parameters()]

        def ours(x: Tensor, *parameters: Tensor, layer: Linear = linear) -> Tensor:
            names = ("weight", "bias")[: len(parameters)]
            return torch.func.functional_call(layer, dict(zip(names, parameters, strict=True)), x)  # type: ignore[no-any-return]

        close = {"atol": 1e-5, "rtol": 1e-5}
        for our, their in zip(
            values_and_gradients(ours, x, *parameters), values_and_gradients(F.linear, x, *parameters), strict=True
        ):
            torch.testing.assert_close(our, their, **close)
        with torch.no_grad():
            torch.testing.assert_close(linear(x), F.linear(x, *parameters), **close)


def test_only_what_needs_a_gradient_gets_one() -> None:
    linear, x = Linear(nn.Linear(3, 2)), torch.randn(4, 3)
    linear.weight.requires_grad_(False)
    linear(x).sum().backward()
    assert x.grad is None
    assert linear.weight.grad is None
    torch.testing.assert_close(linear.bias.grad, torch.full((2,), 4.0))


def test_autocast_multiplies_in_bfloat16() -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert Linear(nn.Linear(3, 2))(torch.randn(4, 3)).dtype == torch.bfloat16


def test_it_has_the_parameters_of_the_given_layer() -> None:
    given, before = nn.Linear(3, 2), torch.get_rng_state()
    fast = Linear(given)
    assert (fast.weight is given.weight, fast.bias is given.bias) == (True, True)
    assert torch.equal(torch.get_rng_state(), before), "drew random numbers in vain"


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@torch.no_grad()
def test_joined_and_packed_maps_are_the_maps_side_by_side(dtype: torch.dtype) -> None:
    torch.manual_seed(3)
    maps, x = [nn.Linear(6, width).to(dtype) for width in (4, 1, 3)], torch.randn(2, 5, 6, dtype=dtype)
    expected = torch.cat([linear(x) for linear in maps], dim=-1)
    torch.testing.assert_close(joined(*maps)(x), expected)
    torch.testing.assert_close(packed(joined(*maps))(x), expected)


def test_products_come_in_few_sizes() -> None:
    """Whatever the number of rows: at most a sixteenth more of them, or 7 in all, zeros, and dropped again."""
    seen: set[int] = set()

    def product(x_RI: Tensor) -> Tensor:
        seen.add(len(x_RI))
        assert num_rows <= len(x_RI) <= max(num_rows * 17 / 16, num_rows + 7)
        assert not x_RI[num_rows:].any()
        return x_RI.cumsum(dim=1)

    for num_rows in range(3000):
        x = torch.full((num_rows, 2), num_rows + 1.0)
        torch.testing.assert_close(pad_rows(product, x), x.cumsum(dim=1), atol=0, rtol=0)
    assert len(seen) <= 9 + 16 + 5 * 16
    assert seen.issuperset(range(9)), "the smallest stay as they are"
    assert all(size % 8 == 0 for size in seen if size > 8)
    num_rows = 2 * 33
    x = torch.randn(2, 33, 3)
    torch.testing.assert_close(pad_rows(product, x), x.cumsum(dim=2))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_search_multiplies_in_few_sizes(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mtx.model.fast.linear.pad_rows", lambda product, x: product(x) + 1)
    linear, x = Linear(nn.Linear(6, 4)).to(dtype), torch.randn(5, 6, dtype=dtype)
    expected = linear(x).detach()
    with torch.inference_mode():
        torch.testing.assert_close(linear(x), expected + 1)
