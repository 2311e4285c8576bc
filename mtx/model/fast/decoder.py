"""Decoding step by step, as the search asks for it. Slow twin: `Transformer.start` and `Transformer.step`."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from mtx.model.fast.attention import Convert, CrossAttention, JoinedSelfAttention, additive_mask
from mtx.model.fast.cache import FastState, LayerCache
from mtx.model.fast.linear import Linear, pad_rows
from mtx.model.layers import FeedForward
from mtx.model.transformer import Transformer

TOKENS_PER_PART = 1024  # Source tokens that are encoded at once on a CPU: their activations stay in its cache


class FastDecoder:
    """A model in the form that decoding is fastest in: it encodes sentences and takes steps, and cannot be trained."""

    def __init__(self, model: Transformer, convert: Convert) -> None:
        """Take over `model`, a copy that nobody else uses."""
        for layer in [*model.encoder, *model.decoder]:
            layer.self_attention = JoinedSelfAttention(layer.self_attention, convert)
            layer.feed_forward = InPlaceFeedForward(layer.feed_forward, convert)
        for layer in model.decoder_layers():
            layer.cross_attention = CrossAttention(layer.cross_attention, convert)  # type: ignore[assignment]
        model.output = convert(model.output)  # type: ignore[assignment]
        self.model = model.eval()

    def start(self, src_ids: Tensor, src_mask: Tensor) -> FastState:
        """Encode sentences, each with a real token; the state before the first target token. Shapes: (B, S)."""
        layers: list[Any] = list(self.model.decoder)
        num_heads, weight = layers[0].cross_attention.num_heads, self.model.tgt_input.embedding.weight
        width = weight.size(1) // num_heads
        src_L2BHSP = weight.new_zeros(len(layers), 2, len(src_ids), num_heads, src_ids.size(1), width)
        for rows, length in _parts_to_encode(src_mask):
            memory = self.model.encode(src_ids[rows, :length], src_mask[rows, :length])
            for layer, src_2BHSP in zip(layers, src_L2BHSP, strict=True):
                src_2BHSP[:, rows, :, :length] = layer.cross_attention.project_memory(memory)
        return FastState.start(src_L2BHSP, additive_mask(src_mask, num_heads, weight.dtype))

    def step(self, prev_ids: Tensor, state: FastState) -> tuple[Tensor, FastState]:
        """Logits of the token after `prev_ids`, and the state one position on. Shapes: (R,) -> (R, V)."""
        x_RD = self.model.tgt_input(prev_ids[:, None], first_position=state.length)[:, 0]
        state = state.append()
        mask_U1S = state.mask_BH1S.flatten(0, 1)
        for layer, cache in zip(self.model.decoder, state.layers(), strict=True):
            x_RD = _step(layer, x_RD, cache, mask_U1S)
        return self.model.output(self.model.decoder_norm(x_RD)), state


class InPlaceFeedForward(nn.Module):
    """The feed-forward sub-layer with one tensor of its inner width, padded once; for decoding, without gradients."""

    def __init__(self, feed_forward: FeedForward, convert: Convert) -> None:
        super().__init__()
        self.inner, self.outer = convert(feed_forward.inner), convert(feed_forward.outer)

    def forward(self, x: Tensor) -> Tensor:
        """Shapes: (…, D) in and out."""
        if isinstance(self.inner, Linear):
            return pad_rows(lambda x_RD: self.outer(self.inner(x_RD).relu_()), x)
        return self.outer(self.inner(x).relu_())  # type: ignore[no-any-return]


def _step(layer: Any, x_RD: Tensor, cache: LayerCache, mask_U1S: Tensor) -> Tensor:
    """One layer at the newest position, the twin of `DecoderLayer.step`."""

    def attend_to_past(y_RD: Tensor) -> Tensor:
        q_RHP, kv_2RHP = layer.self_attention.project(y_RD)
        cache.newest_2RHP.copy_(kv_2RHP)
        return layer.self_attention.attend(q_RHP, cache.prefix_2UNP, cache.tail_2GMP)  # type: ignore[no-any-return]

    x_RD = layer.self_residual(x_RD, attend_to_past)
    x_RD = layer.cross_residual(x_RD, lambda y_RD: layer.cross_attention.attend(y_RD, cache.src_2USP, mask_U1S))
    return layer.ff_residual(x_RD, layer.feed_forward)  # type: ignore[no-any-return]


def _parts_to_encode(src_mask: Tensor) -> Iterator[tuple[slice, int]]:
    """Sentences to encode at once, few on a CPU, and the length of their longest: little padding if they are sorted."""
    if src_mask.device.type != "cpu":
        yield slice(0, len(src_mask)), src_mask.size(1)
        return
    lengths: list[int] = (src_mask * torch.arange(1, src_mask.size(1) + 1)).amax(dim=1).clamp(min=1).tolist()
    first = 0
    while first < len(lengths):
        rows = slice(first, first + max(1, TOKENS_PER_PART // max(lengths[first:])))
        yield rows, max(lengths[rows])
        first = rows.stop
