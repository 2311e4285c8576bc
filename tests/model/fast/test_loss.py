"""The loss and its gradients are those of torch's cross-entropy."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from mtx.model.fast.loss import ROWS_IN_CACHE, ROWS_IN_MEMORY, projected_loss_sum

WIDTH = 6


def draw(num_rows: int, vocab_size: int, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor]:
    """Hidden states, the output matrix and the right tokens."""
    generator = torch.Generator().manual_seed(num_rows * 1000 + vocab_size)
    hidden = torch.randn(num_rows, WIDTH, generator=generator, dtype=dtype, requires_grad=True)
    weight = torch.randn(vocab_size, WIDTH, generator=generator, dtype=dtype, requires_grad=True)
    return hidden, weight, torch.randint(vocab_size, (num_rows,), generator=generator)


@pytest.mark.parametrize("eps", [0.0, 0.1, 0.9])
@pytest.mark.parametrize(
    ("num_rows", "vocab_size"),
    [(1, 5), (7, 50), (ROWS_IN_CACHE, 11), (2 * ROWS_IN_CACHE + 3, 23), (2 * ROWS_IN_MEMORY + 300, 7)],
)
def test_value_and_gradients_are_those_of_cross_entropy_over_real_tokens(
    num_rows: int, vocab_size: int, eps: float
) -> None:
    hidden, weight, tgt = draw(num_rows, vocab_size)
    is_real = torch.arange(num_rows) % 3 != 1
    padded_tgt = torch.where(is_real, tgt, -100)
    expected = F.cross_entropy(hidden @ weight.T, padded_tgt, reduction="sum", label_smoothing=eps, ignore_index=-100)
    expected_grads = torch.autograd.grad(3.5 * expected, (hidden, weight))

    loss, nll = projected_loss_sum(hidden[is_real], weight, tgt[is_real], eps)
    torch.testing.assert_close(loss, expected, rtol=1e-12, atol=1e-12)
    unsmoothed = F.cross_entropy(hidden @ weight.T, padded_tgt, reduction="sum", ignore_index=-100)
    torch.testing.assert_close(nll, unsmoothed, rtol=1e-12, atol=1e-12)
    assert not nll.requires_grad
    # Not 1: the gradient that comes from above is a factor.
    for grad, expected_grad in zip(torch.autograd.grad(3.5 * loss, (hidden, weight)), expected_grads, strict=True):
        torch.testing.assert_close(grad, expected_grad, rtol=1e-10, atol=1e-10)


def test_gradcheck() -> None:
    hidden, weight, tgt = draw(4, 5)
    assert torch.autograd.gradcheck(lambda h, w: projected_loss_sum(h, w, tgt, 0.1)[0], (hidden, weight))


def test_in_bf16_it_stays_close_and_sums_in_float32() -> None:
    hidden, weight, tgt = draw(2 * ROWS_IN_CACHE, 50, torch.float32)
    exact, exact_nll = projected_loss_sum(hidden, weight, tgt, 0.1)
    exact_grads = torch.autograd.grad(exact, (hidden, weight))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss, nll = projected_loss_sum(hidden, weight, tgt, 0.1)
    assert loss.dtype == nll.dtype == torch.float32
    torch.testing.assert_close(loss, exact, rtol=0.02, atol=0)
    torch.testing.assert_close(nll, exact_nll, rtol=0.02, atol=0)
    for grad, exact_grad in zip(torch.autograd.grad(loss, (hidden, weight)), exact_grads, strict=True):
        assert grad.dtype == torch.float32
        assert (grad - exact_grad).norm() < 0.02 * exact_grad.norm()


def test_without_a_gradient_only_the_logits_are_multiplied() -> None:
    hidden, weight, tgt = draw(500, 70)
    expected = projected_loss_sum(hidden, weight, tgt, 0.1)
    for inputs, is_on in (((hidden, weight), False), ((hidden.detach(), weight.detach()), True)):
        with torch.set_grad_enabled(is_on), FlopCounterMode(display=False) as counter:
            torch.testing.assert_close(projected_loss_sum(*inputs, tgt, 0.1), expected)
        assert counter.get_total_flops() == 2 * 500 * WIDTH * 70
