"""How much arithmetic an update is, and how much of it this machine can do: together, model FLOPs utilisation.

A FLOP is one addition or one multiplication. Only matrix products count, which are nearly all of an update, and only
real tokens: work on padding, and work done twice, make a step slower and not its number of FLOPs greater (Chowdhery et
al. 2022, appendix B).
"""

import time
from collections.abc import Callable
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

from mtx.config.settings import ModelSettings
from mtx.model.fast.linear import has_onednn, onednn_product
from mtx.system.device import Precision

SHAPES = {"cpu": (4096, 512, 2048), "cuda": (8192, 8192, 8192)}
"""Rows, inputs and outputs of a product that is large enough to show what the device can do, and no larger."""

SECONDS_A_PRODUCT = 0.07


def update_flops(
    settings: ModelSettings, tgt_vocab_size: int, num_src_tokens: int, num_tgt_tokens: int, num_pairs: int
) -> int:
    """FLOPs of an update by so many real tokens, end symbols included: forward and, twice as much, backward.

    Attention is counted as if all sentences of a side were equally long, which those of one batch nearly are, and
    masked self-attention like any other.
    """
    d_model, d_ff = settings.d_model, settings.d_ff
    src_length, tgt_length = num_src_tokens / num_pairs, num_tgt_tokens / num_pairs
    projection, feed_forward = d_model * d_model, 2 * d_model * d_ff

    def attention(length: float) -> float:
        """Scores and mixing of one position that looks at `length` others."""
        return 2 * d_model * length

    encoder = num_src_tokens * (4 * projection + attention(src_length) + feed_forward)
    memory = num_src_tokens * 2 * projection  # keys and values of cross-attention
    decoder = num_tgt_tokens * (6 * projection + attention(tgt_length) + attention(src_length) + feed_forward)
    output = num_tgt_tokens * d_model * tgt_vocab_size
    products = settings.encoder_layers * encoder + settings.decoder_layers * (memory + decoder) + output
    return round(3 * 2 * products)


@cache
def matrix_rate(precision: Precision, shape: tuple[int, int, int] | None = None) -> float:
    """FLOPs a second that this device reaches in a linear layer's product and its two gradient products.

    Measured once per process, the best of many, in about half a second.

    Shapes:
        shape: rows, inputs and outputs of the layer; by default, large ones
    """
    rows, inputs, outputs = shape or SHAPES[precision.device.type]
    # Not zeros, which GPUs multiply faster; and a generator of its own, so that measuring changes no run.
    generator = torch.Generator(precision.device).manual_seed(0)

    def draw(*size: int) -> Tensor:
        return torch.rand(*size, generator=generator, device=precision.device).to(precision.dtype)

    x, weight, bias, grad = draw(rows, inputs), draw(outputs, inputs), draw(outputs), draw(rows, outputs)
    # By the fastest way to each that torch has here.
    to_outputs = [lambda: F.linear(x, weight, bias), lambda: x @ weight.T]
    to_inputs = [lambda: grad @ weight]
    if has_onednn(x):
        to_outputs.append(lambda: onednn_product(x, weight, bias))
        to_inputs.append(lambda: onednn_product(grad, weight.T))
    seconds = [min(map(_best_seconds, ways)) for ways in (to_outputs, to_inputs, [lambda: grad.T @ x])]
    return 3 * 2 * rows * inputs * outputs / sum(seconds)


def _best_seconds(product: Callable[[], Tensor]) -> float:
    device = product().device  # the first call chooses kernels and is not measured
    begin, best = time.perf_counter(), float("inf")
    while time.perf_counter() - begin < SECONDS_A_PRODUCT or best == float("inf"):
        _wait_for(device)
        start = time.perf_counter()
        product()
        _wait_for(device)
        best = min(best, time.perf_counter() - start)
    return best


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
