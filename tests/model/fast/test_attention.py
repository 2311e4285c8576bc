"""The fastest kernel and the attention of a step are equation 1, whatever the shape and the mask."""

import itertools
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from mtx.model.attention import MultiHeadAttention, scaled_dot_product_attention
from mtx.model.fast.attention import (
    FUSED_FROM_KEYS,
    PADDED_FROM_SCORES,
    CrossAttention,
    JoinedSelfAttention,
    additive_mask,
    batched_attention,
    fastest_attention,
    softmax,
)
from mtx.model.fast.cache import by_head
from mtx.model.fast.linear import packed

LENGTHS = [
    (5, 8),
    (PADDED_FROM_SCORES, 3),
    (7, FUSED_FROM_KEYS - 1),
    (7, FUSED_FROM_KEYS),
    (FUSED_FROM_KEYS, FUSED_FROM_KEYS),
]


def values_and_gradients(function: Callable[..., Tensor], *inputs: Tensor) -> list[Tensor]:
    inputs = tuple(x.detach().clone().requires_grad_() for x in inputs)
    out = function(*inputs)
    torch.manual_seed(9)
    return [out, *torch.autograd.grad((out * torch.randn_like(out)).sum(), inputs)]


@pytest.mark.parametrize("is_masked", [False, True])
def test_every_kernel_is_equation_1(
    is_masked: bool, precision: tuple[torch.dtype, float], random_mask: Callable[..., Tensor]
) -> None:
    dtype, tolerance = precision
    torch.manual_seed(0)
    for (q, k), num_heads in itertools.product(LENGTHS, (1, 3)):
        inputs = [torch.randn(2, num_heads, length, 6, dtype=dtype) for length in (q, k, k)]
        mask = random_mask(2, num_heads, q, k) if is_masked else None
        found = values_and_gradients(lambda *x, m=mask: fastest_attention(*x, m), *inputs)
        expected = values_and_gradients(lambda *x, m=mask: scaled_dot_product_attention(*x, m), *inputs)
        torch.testing.assert_close(found, expected, atol=tolerance, rtol=tolerance, msg=f"{q} x {k}")


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("num_keys", [1, 7, 15, 16, 31, 40])
@pytest.mark.parametrize("num_queries", [5, PADDED_FROM_SCORES])
def test_softmax_of_short_rows_is_the_softmax(num_queries: int, num_keys: int, dtype: torch.dtype) -> None:
    """Numbers that pad a row take no part, forward or backward."""
    torch.manual_seed(num_keys)
    shape = (3, 2, num_queries, num_keys)
    scores = torch.randn(shape, dtype=torch.float64).to(dtype).requires_grad_()
    wanted = torch.randn(shape, dtype=torch.float64).to(dtype)
    found, expected = softmax(scores), scores.double().softmax(dim=-1)
    tolerance = {torch.float64: 1e-12, torch.float32: 1e-6, torch.bfloat16: 1e-2}[dtype]
    torch.testing.assert_close(found.double(), expected, atol=tolerance, rtol=tolerance)
    gradients = [torch.autograd.grad((out * wanted).sum(), scores)[0].double() for out in (found, expected)]
    torch.testing.assert_close(*gradients, atol=tolerance, rtol=tolerance)


@pytest.mark.parametrize("num_keys", [9, FUSED_FROM_KEYS])
def test_every_kernel_drops_weights_while_training_only(num_keys: int) -> None:
    torch.manual_seed(0)
    q, k, v = torch.randn(3, 2, 2, num_keys, 4)
    dropout = nn.Dropout(0.5)
    assert not torch.equal(fastest_attention(q, k, v, None, dropout), fastest_attention(q, k, v, None, dropout))
    expected = scaled_dot_product_attention(q, k, v, None)
    torch.testing.assert_close(fastest_attention(q, k, v, None, dropout.eval()), expected)


@pytest.mark.parametrize("num_keys", [1, 6, 200])
@pytest.mark.parametrize("num_queries", [1, 3])
@torch.no_grad()
def test_an_added_mask_is_a_mask(num_queries: int, num_keys: int, precision: tuple[torch.dtype, float]) -> None:
    """The attention of a step is equation 1 in each precision, also for keys and values that are not contiguous."""
    dtype, tolerance = precision
    torch.manual_seed(num_keys)
    q = torch.randn(5, 4, num_queries, 8).to(dtype)
    k, v = torch.randn(2, num_keys, 5, 4, 8).to(dtype).permute(0, 2, 3, 1, 4)
    mask = torch.rand(5, num_keys) < 0.5
    mask[:, 0] = True
    added = additive_mask(mask, num_heads=4, dtype=dtype).flatten(0, 1)
    for given, to_add in ((mask[:, None, None], added), (None, None)):
        expected = scaled_dot_product_attention(q, k, v, given)
        found = batched_attention(q.flatten(0, 1), k.flatten(0, 1), v.flatten(0, 1), to_add)
        torch.testing.assert_close(found, expected.flatten(0, 1), atol=tolerance, rtol=tolerance)


@torch.no_grad()
def test_joined_self_attention_is_multi_head_attention(
    precision: tuple[torch.dtype, float], random_mask: Callable[..., Tensor]
) -> None:
    dtype, tolerance = precision
    slow = MultiHeadAttention(12, 3, dropout=0.0).to(dtype)
    x, mask = torch.randn(2, 7, 12, dtype=dtype), random_mask(2, 1, 1, 7)
    found = JoinedSelfAttention(slow, packed)(x, x, mask)
    torch.testing.assert_close(found, slow(x, x, mask), atol=tolerance, rtol=tolerance)


@pytest.mark.parametrize("num_shared", [0, 3])
@pytest.mark.parametrize("width", [1, 4])
@torch.no_grad()
def test_self_attention_of_a_step_is_multi_head_attention(
    num_shared: int, width: int, precision: tuple[torch.dtype, float]
) -> None:
    """At the newest position, whether or not hypotheses share the oldest positions."""
    dtype, tolerance = precision
    slow = MultiHeadAttention(12, 3, dropout=0.0).to(dtype)
    fast = JoinedSelfAttention(slow, packed)
    shared_BND = torch.randn(2, 1, num_shared, 12, dtype=dtype).expand(-1, width, -1, -1).flatten(0, 1)
    x_RTD = torch.cat([shared_BND, torch.randn(2 * width, 5, 12, dtype=dtype)], dim=1)
    q_TRHP, kv_2TRHP = fast.project(x_RTD.transpose(0, 1))
    prefix_2UNP, tail_2GMP = by_head(kv_2TRHP[:, :num_shared, ::width]), by_head(kv_2TRHP[:, num_shared:])
    found = fast.attend(q_TRHP[-1], prefix_2UNP, tail_2GMP)
    torch.testing.assert_close(found, slow(x_RTD[:, -1:], x_RTD, None)[:, 0], atol=tolerance, rtol=tolerance)


@pytest.mark.parametrize("width", [1, 4])
@torch.no_grad()
def test_cross_attention_of_a_step_is_multi_head_attention(
    width: int, precision: tuple[torch.dtype, float], random_mask: Callable[..., Tensor]
) -> None:
    dtype, tolerance = precision
    slow = MultiHeadAttention(12, 3, dropout=0.0).to(dtype)
    fast = CrossAttention(slow, packed)
    query, memory, mask = torch.randn(2, width, 12).to(dtype), torch.randn(2, 7, 12).to(dtype), random_mask(2, 7)
    added = additive_mask(mask, 3, dtype).flatten(0, 1)
    found = fast.attend(query.flatten(0, 1), fast.project_memory(memory).flatten(1, 2), added)
    expected = slow(query, memory, mask[:, None, None]).flatten(0, 1)
    torch.testing.assert_close(found, expected, atol=tolerance, rtol=tolerance)
