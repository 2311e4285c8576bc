"""The written-out attention equals torch's, in values and in gradients, whatever the shape and the mask."""

import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mtx.model.attention import MultiHeadAttention, causal_mask, scaled_dot_product_attention

LENGTHS = [(1, 1), (1, 33), (33, 1), (5, 8), (13, 13), (33, 33), (7, 128)]
MASKS = ["none", "keys", "each", "causal"]
CASES = [(q, k, kind) for (q, k), kind in itertools.product(LENGTHS, MASKS) if kind != "causal" or q == k]
HEADS = [1, 2, 3, 8]


@pytest.fixture
def make_mask(random_mask: Callable[..., Tensor]) -> Callable[..., Tensor | None]:
    """Draws a mask of a kind for 2 sentences: of the keys alone, or of each query and head its own."""

    def make_mask(kind: str, num_heads: int, q: int, k: int) -> Tensor | None:
        if kind == "none":
            return None
        if kind == "causal":
            return causal_mask(q)
        return random_mask(2, 1, 1, k) if kind == "keys" else random_mask(2, num_heads, q, k)

    return make_mask


def values_and_gradients(function: Callable[..., Tensor], *inputs: Tensor) -> list[Tensor]:
    inputs = tuple(x.detach().clone().requires_grad_() for x in inputs)
    out = function(*inputs)
    torch.manual_seed(9)
    return [out, *torch.autograd.grad((out * torch.randn_like(out)).sum(), inputs)]


@pytest.mark.parametrize("num_heads", HEADS)
def test_equation_1_equals_torch(
    num_heads: int, precision: tuple[torch.dtype, float], make_mask: Callable[..., Tensor | None]
) -> None:
    dtype, tolerance = precision
    torch.manual_seed(num_heads)
    for q, k, kind in CASES:
        query, key, value = (torch.randn(2, num_heads, length, 6, dtype=dtype) for length in (q, k, k))
        mask = make_mask(kind, num_heads, q, k)
        ours = values_and_gradients(lambda *x, m=mask: scaled_dot_product_attention(*x, m), query, key, value)
        theirs = values_and_gradients(
            lambda *x, m=mask: F.scaled_dot_product_attention(*x, attn_mask=m), query, key, value
        )
        torch.testing.assert_close(ours, theirs, atol=tolerance, rtol=tolerance, msg=f"{q} x {k}, mask: {kind}")
        if dtype == torch.float64:
            torch.testing.assert_close(ours[0], theirs[0], atol=1e-12, rtol=1e-12)


@pytest.mark.parametrize("num_heads", HEADS)
def test_many_heads_equal_torch(
    num_heads: int,
    precision: tuple[torch.dtype, float],
    make_mask: Callable[..., Tensor | None],
    twins: Callable[..., Any],
) -> None:
    dtype, tolerance = precision
    torch.manual_seed(num_heads)
    d_model = 4 * num_heads
    for (q, k, kind), is_self in itertools.product(CASES, (False, True)):
        if is_self and q != k:
            continue
        ours = MultiHeadAttention(d_model, num_heads, dropout=0.0).to(dtype)
        theirs = nn.MultiheadAttention(d_model, num_heads, batch_first=True).to(dtype)
        pair = twins(ours, theirs)
        query = torch.randn(2, q, d_model, dtype=dtype)
        memory = query if is_self else torch.randn(2, k, d_model, dtype=dtype)
        mask = make_mask(kind, num_heads, q, k)
        # torch's mask: True = hidden, and the heads of a sentence one after the other.
        hidden = None if mask is None else ~mask.expand(2, num_heads, q, k).reshape(-1, q, k)

        out = ours(query, memory, mask)
        expected, weights = theirs(query, memory, memory, attn_mask=hidden, average_attn_weights=False)
        close = {"atol": tolerance, "rtol": tolerance, "msg": f"{q} x {k}, mask: {kind}, is_self: {is_self}"}
        torch.testing.assert_close(out, expected, **close)
        torch.testing.assert_close(ours.weights(query, memory, mask), weights, **close)
        torch.testing.assert_close(ours.weights(query, memory, mask).sum(-1), torch.ones_like(weights[..., 0]), **close)

        gradient = torch.randn_like(out)
        out.backward(gradient)
        expected.backward(gradient)
        pair.assert_same_gradients(50 * tolerance)  # sums over as many as 256 positions


def test_the_causal_mask_hides_later_positions() -> None:
    assert causal_mask(4)[0, 0].tolist() == [[k <= q for k in range(4)] for q in range(4)]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_attending_to_nothing_gives_zeros_and_spoils_no_gradient(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    mask = torch.ones(2, 1, 3, 5, dtype=torch.bool)
    mask[0, 0, 1] = False
    inputs = [torch.randn(2, 2, length, 4, dtype=dtype) for length in (3, 5, 5)]
    out, *gradients = values_and_gradients(lambda *x: scaled_dot_product_attention(*x, mask), *inputs)
    assert (out[0, :, 1] == 0).all()
    assert all(gradient.isfinite().all() for gradient in gradients)
    assert (gradients[0][0, :, 1] == 0).all()

    attention = MultiHeadAttention(8, 2, dropout=0.0).to(dtype)
    nn.init.normal_(attention.out_proj.bias)
    query = torch.randn(2, 3, 8, dtype=dtype)
    memory = torch.randn(2, 5, 8, dtype=dtype)
    out, *gradients = values_and_gradients(lambda q, m: attention(q, m, mask), query, memory)
    torch.testing.assert_close(out[0, 1], attention.out_proj.bias, atol=0, rtol=0)
    assert all(gradient.isfinite().all() for gradient in gradients)
    assert (attention.weights(query, memory, mask)[0, :, 1] == 0).all()


def test_bfloat16_is_float32_less_some_digits(make_mask: Callable[..., Tensor | None]) -> None:
    torch.manual_seed(0)
    attention = MultiHeadAttention(32, 4, dropout=0.0)
    for kind, autocast in itertools.product(MASKS, (False, True)):
        x = torch.randn(2, 19, 32)
        mask = make_mask(kind, 4, 19, 19)
        if autocast:
            with torch.autocast("cpu", dtype=torch.bfloat16):
                out = attention(x, x, mask)
        else:
            rounded = MultiHeadAttention(32, 4, dropout=0.0)
            rounded.load_state_dict(attention.state_dict())
            out = rounded.bfloat16()(x.bfloat16(), x.bfloat16(), mask)
        assert out.dtype == torch.bfloat16
        torch.testing.assert_close(out.float(), attention(x, x, mask), atol=2e-2, rtol=2e-2)


def test_weights_are_dropped_while_training_only() -> None:
    torch.manual_seed(0)
    dropping, plain = MultiHeadAttention(8, 2, dropout=0.5), MultiHeadAttention(8, 2, dropout=0.0)
    dropping.load_state_dict(plain.state_dict())
    x = torch.randn(2, 9, 8)
    assert not torch.equal(dropping(x, x, None), dropping(x, x, None))
    assert torch.equal(dropping.eval()(x, x, None), plain(x, x, None))
