"""FLOPs of a training step and FLOP/s of this machine: together they give model FLOPs utilisation.

A FLOP is one addition or one multiplication. Only matrix products count, which are nearly all of a step, and only real
tokens: padding and recomputation make a step slower, but don't raise its FLOPs (Chowdhery et al. 2022, appendix B).
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

SHAPES = {"cpu": (4096, 512, 2048), "cuda": (8192, 8192, 8192)}  # Rows, inputs and outputs that keep a device busy
SECONDS_PER_PRODUCT = 0.07  # Time spent on measuring each product


def step_flops(
    settings: ModelSettings, tgt_vocab_size: int, num_src_tokens: int, num_tgt_tokens: int, num_pairs: int
) -> int:
    """FLOPs of a step on these real tokens, EOS included: the forward pass, and twice as many for the backward pass.

    Attention is counted as if all sentences of a side had the same length, which is nearly true in a batch, and as if
    self-attention were not masked.
    """
    d_model, d_ff = settings.d_model, settings.d_ff
    src_length, tgt_length = num_src_tokens / num_pairs, num_tgt_tokens / num_pairs
    projection, feed_forward = d_model * d_model, 2 * d_model * d_ff
    attention = 2 * d_model  # score and weighted sum, for each position that one attends to
    encoder = num_src_tokens * (4 * projection + attention * src_length + feed_forward)
    memory = num_src_tokens * 2 * projection  # keys and values of cross-attention
    decoder = num_tgt_tokens * (6 * projection + attention * (src_length + tgt_length) + feed_forward)
    output = num_tgt_tokens * d_model * tgt_vocab_size
    products = settings.encoder_layers * encoder + settings.decoder_layers * (memory + decoder) + output
    return round(3 * 2 * products)


@cache
def matrix_rate(precision: Precision, shape: tuple[int, int, int] | None = None) -> float:
    """Measure the FLOP/s that this device reaches in a linear layer's product and its two gradient products.

    Takes about half a second, the best of many tries, and runs once per process. `shape` gives the rows, inputs and
    outputs of the layer; the default is `SHAPES`.
    """
    rows, inputs, outputs = shape or SHAPES[precision.device.type]
    # Not zeros, which GPUs multiply faster. The generator is a separate one, so that measuring changes no run.
    generator = torch.Generator(precision.device).manual_seed(0)

    def draw(*size: int) -> Tensor:
        return torch.rand(*size, generator=generator, device=precision.device).to(precision.dtype)

    x, weight, bias, grad = draw(rows, inputs), draw(outputs, inputs), draw(outputs), draw(rows, outputs)
    # Each product by the fastest library that torch has for it here.
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
    synchronize = torch.get_device_module(device).synchronize  # does nothing on a CPU
    while time.perf_counter() - begin < SECONDS_PER_PRODUCT or best == float("inf"):
        synchronize()
        start = time.perf_counter()
        product()
        synchronize()
        best = min(best, time.perf_counter() - start)
    return best
