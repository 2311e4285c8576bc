"""The layers equal torch's with the same weights; the parts that torch lacks equal their formulas."""

import math
from collections.abc import Callable
from typing import Any, Literal

import pytest
import torch
from torch import Tensor, nn

from mtx.model.attention import MultiHeadAttention, causal_mask
from mtx.model.layers import DecoderLayer, EncoderLayer, FeedForward, InputLayer, Residual, sinusoids

D_MODEL, NUM_HEADS, D_FF = 12, 3, 20
Norm = Literal["pre", "post"]


def residuals(count: int, norm: Norm) -> list[Residual]:
    return [Residual(D_MODEL, 0.0, norm) for _ in range(count)]


def attention() -> MultiHeadAttention:
    return MultiHeadAttention(D_MODEL, NUM_HEADS, 0.0)


def encoder_layer(norm: Norm) -> EncoderLayer:
    return EncoderLayer(attention(), FeedForward(D_MODEL, D_FF, 0.0), residuals(2, norm))


def decoder_layer(norm: Norm) -> DecoderLayer:
    return DecoderLayer(attention(), attention(), FeedForward(D_MODEL, D_FF, 0.0), residuals(3, norm))


# --- encoder and decoder layer ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("norm", ["pre", "post"])
@pytest.mark.parametrize("kind", ["encoder", "decoder"])
def test_equals_torch(
    kind: str,
    norm: Norm,
    precision: tuple[torch.dtype, float],
    random_mask: Callable[..., Tensor],
    twins: Callable[..., Any],
) -> None:
    dtype, tolerance = precision
    torch.manual_seed(0)
    options = {"dropout": 0.0, "batch_first": True, "norm_first": norm == "pre", "dtype": dtype}
    x = torch.randn(5, 7, D_MODEL, dtype=dtype, requires_grad=True)
    memory = torch.randn(5, 9, D_MODEL, dtype=dtype, requires_grad=True)
    if kind == "encoder":
        pair = twins(encoder_layer(norm).to(dtype), nn.TransformerEncoderLayer(D_MODEL, NUM_HEADS, D_FF, **options))
        mask, inputs = random_mask(5, 7), [x]
        out = pair.ours(x, mask[:, None, None])
        expected = pair.theirs(x, src_key_padding_mask=~mask)
    else:
        pair = twins(decoder_layer(norm).to(dtype), nn.TransformerDecoderLayer(D_MODEL, NUM_HEADS, D_FF, **options))
        mask, inputs = random_mask(5, 9), [x, memory]
        out = pair.ours(x, memory, mask[:, None, None], causal_mask(7))
        hidden = torch.ones(7, 7, dtype=torch.bool).triu(1)
        expected = pair.theirs(x, memory, tgt_mask=hidden, memory_key_padding_mask=~mask)
    torch.testing.assert_close(out, expected, atol=tolerance, rtol=tolerance)

    gradient = torch.randn_like(out)
    of_inputs = torch.autograd.grad(out, inputs, gradient, retain_graph=True)
    expected_of_inputs = torch.autograd.grad(expected, inputs, gradient, retain_graph=True)
    torch.testing.assert_close(of_inputs, expected_of_inputs, atol=10 * tolerance, rtol=10 * tolerance)
    out.backward(gradient)
    expected.backward(gradient)
    pair.assert_same_gradients(10 * tolerance)


# --- feed-forward and residual ---------------------------------------------------------------------------------------


def test_feed_forward_is_equation_2() -> None:
    torch.manual_seed(0)
    module = FeedForward(4, 9, 0.0).double()
    x = torch.randn(2, 3, 4, dtype=torch.float64)
    inner = (x @ module.inner.weight.T + module.inner.bias).clamp(min=0)
    torch.testing.assert_close(module(x), inner @ module.outer.weight.T + module.outer.bias, atol=1e-12, rtol=0)


@pytest.mark.parametrize("norm", ["pre", "post"])
def test_residual_connection(norm: Norm) -> None:
    torch.manual_seed(0)
    residual = Residual(6, 0.0, norm).double()
    nn.init.normal_(residual.norm.weight)
    nn.init.normal_(residual.norm.bias)
    x = torch.randn(2, 3, 6, dtype=torch.float64)

    def normalise(y: Tensor) -> Tensor:
        centred = y - y.mean(-1, keepdim=True)
        deviation = (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt()
        return centred / deviation * residual.norm.weight + residual.norm.bias

    expected = x + normalise(x).sin() if norm == "pre" else normalise(x + x.sin())
    torch.testing.assert_close(residual(x, torch.sin), expected, atol=1e-12, rtol=0)


@pytest.mark.parametrize("norm", ["pre", "post"])
def test_dropout_is_on_the_sublayer_and_not_on_the_stream(norm: Norm) -> None:
    torch.manual_seed(0)
    residual = Residual(64, 0.5, norm)
    seen: list[Tensor] = []
    residual.norm.register_forward_hook(lambda module, args, out: seen.append(args[0]))
    x = torch.full((1, 1, 64), 100.0)
    out = residual(x, lambda y: torch.ones_like(y))
    assert set((out if norm == "pre" else seen[0]).flatten().tolist()) == {100.0, 102.0}


# --- positions and embeddings ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("d_model", [2, 4, 16, 62])
def test_sinusoids_are_the_closed_formula(d_model: int) -> None:
    table = sinusoids(40, d_model)
    half = d_model // 2
    for position in range(40):
        angles = [position * 10000 ** (-i / max(half - 1, 1)) for i in range(half)]
        expected = [math.sin(angle) for angle in angles] + [math.cos(angle) for angle in angles]
        assert table[position].tolist() == pytest.approx(expected, abs=1e-6), position


@pytest.mark.parametrize("pad_id", [0, 1, 7])
def test_input_is_the_scaled_embedding_plus_its_position(pad_id: int) -> None:
    torch.manual_seed(0)
    layer = InputLayer(nn.Embedding(30, 16), pad_id, 0.0)
    ids = torch.randint(0, 30, (3, 11))
    positions = sinusoids(100, 16)
    expected = 4.0 * layer.embedding.weight[ids] + positions[pad_id + 1 : pad_id + 12]
    torch.testing.assert_close(layer(ids), expected, atol=1e-6, rtol=0)
    torch.testing.assert_close(layer(ids[:, 5:], first_position=5), expected[:, 5:], atol=1e-6, rtol=0)


def test_input_is_dropped_out_as_a_whole() -> None:
    torch.manual_seed(0)
    layer = InputLayer(nn.Embedding(30, 64), 0, 0.5)
    ids = torch.randint(0, 30, (4, 9))
    out, whole = layer(ids), layer.eval()(ids)
    assert 0.4 < (out == 0).float().mean() < 0.6
    torch.testing.assert_close(out, torch.where(out == 0, 0, 2 * whole))


def test_no_length_is_too_long() -> None:
    """The table grows, in inference mode too, and trains on afterwards."""
    torch.manual_seed(0)
    layer = InputLayer(nn.Embedding(5, 8), 0, 0.1).eval()
    ids = torch.randint(0, 5, (1, 1500))
    with torch.inference_mode():
        for length in (511, 512, 1500):
            expected = layer.embedding(ids[:, :length]) * math.sqrt(8) + sinusoids(1501, 8)[1 : length + 1]
            torch.testing.assert_close(layer(ids[:, :length]), expected, atol=1e-6, rtol=0)
        torch.testing.assert_close(layer(ids[:, :1], first_position=4000)[0, 0], layer(ids[:, :1], 4000)[0, 0])
    layer.train()(ids).square().sum().backward()
    gradient = layer.embedding.weight.grad
    assert gradient is not None
    assert gradient.abs().min() > 0
    assert "table" not in str(list(layer.state_dict()))


# --- gradients -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("norm", ["pre", "post"])
def test_gradients_are_those_of_finite_differences(norm: Norm, random_mask: Callable[..., Tensor]) -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 3, D_MODEL, dtype=torch.float64, requires_grad=True)
    memory = torch.randn(2, 2, D_MODEL, dtype=torch.float64, requires_grad=True)
    encoder, decoder = encoder_layer(norm).double(), decoder_layer(norm).double()
    own, cross = random_mask(2, 1, 1, 3), random_mask(2, 1, 1, 2)
    assert torch.autograd.gradcheck(lambda x: encoder(x, own), (x,), atol=1e-6, fast_mode=True)
    assert torch.autograd.gradcheck(
        lambda x, m: decoder(x, m, cross, causal_mask(3)), (x, memory), atol=1e-6, fast_mode=True
    )
