"""Dropout with cheap masks is dropout: how many zeros, which scale, which gradient, from whose randomness."""

import math

import pytest
import torch

from mtx.model.fast.dropout import Dropout

PROBABILITIES = [0.001, 0.1, 0.3, 0.5, 0.75, 0.9, 0.999]


def rounded(p: float) -> float:
    """`p` as the module uses it on a CPU: a multiple of 1/256, never 0 nor 1."""
    return min(max(round(p * 256), 1), 255) / 256


@pytest.mark.parametrize("p", PROBABILITIES)
def test_share_scale_and_gradient(p: float) -> None:
    torch.manual_seed(1)
    count = 200_003  # no multiple of the eight decisions of one draw
    x = torch.rand(count) + 1
    x.requires_grad_()
    out = Dropout(p)(x)
    out.backward(torch.ones(count))

    is_zero = out == 0
    share = rounded(p)
    deviation = math.sqrt(share * (1 - share) / count)
    assert abs(is_zero.double().mean() - share) < 4 * deviation
    # Neighbours are decided apart, inside a draw and across draws.
    assert abs((is_zero[1:] & is_zero[:-1]).double().mean() - share**2) < 6 * deviation

    scale = 1 / (1 - share)
    expected = torch.where(is_zero, 0, x.detach() * scale)
    torch.testing.assert_close(out.detach(), expected, atol=0, rtol=1e-7)
    torch.testing.assert_close(x.grad, torch.where(is_zero, 0.0, scale), atol=0, rtol=1e-7)
    assert abs(out.mean() / x.mean() - 1) < 5 * scale * deviation


@pytest.mark.parametrize("dropout", [Dropout(0.0), Dropout(0.0).eval(), Dropout(0.9).eval()])
def test_changes_nothing_where_there_is_nothing_to_drop(dropout: Dropout) -> None:
    x = torch.randn(3, 5)
    before = torch.get_rng_state()
    assert torch.equal(dropout(x), x)
    assert torch.equal(torch.get_rng_state(), before), "drew random numbers in vain"


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [(), (1,), (0, 4), (3, 5, 7)])
def test_any_shape_and_type(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    out = Dropout(0.5)(torch.ones(shape, dtype=dtype))
    assert (out.shape, out.dtype) == (shape, dtype)
    assert set(out.flatten().tolist()) <= {0.0, 2.0}


def test_strides_do_not_matter() -> None:
    x = torch.randn(6, 4)
    torch.manual_seed(0)
    expected = Dropout(0.5)(x.t().contiguous())
    torch.manual_seed(0)
    assert torch.equal(Dropout(0.5)(x.t()), expected)


def test_randomness_is_torchs() -> None:
    x = torch.ones(1000)
    torch.manual_seed(5)
    first, second = Dropout(0.5)(x), Dropout(0.5)(x)
    torch.manual_seed(5)
    assert torch.equal(Dropout(0.5)(x), first)
    assert torch.equal(Dropout(0.5)(x), second)
    assert not torch.equal(first, second)
