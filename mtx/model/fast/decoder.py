"""Decoding step by step, as the search asks for it.

Slow twin: `Transformer.start` and `Transformer.step`. Test: tests/model/fast/test_decoder.py.
Gains: README.md beside this file.

The letters of the shapes are explained in `mtx.model` and `mtx.model.fast`.
"""

from collections.abc import Iterator
from typing import cast

import torch
from torch import Tensor, nn

from mtx.model.fast.attention import Convert, CrossAttention, JoinedSelfAttention, additive_mask
from mtx.model.fast.cache import FastState, LayerCache
from mtx.model.fast.linear import Linear, pad_rows
from mtx.model.layers import DecoderLayer, FeedForward
from mtx.model.transformer import Transformer

TOKENS_PER_PART = 1024  # Source tokens that are encoded at once on a CPU: their activations stay in its cache


class FastDecoder:
    """A model in the form that decoding is fastest in: it encodes sentences and takes steps, and cannot be trained."""

    def __init__(self, model: Transformer, convert: Convert) -> None:
        """Take over `model`, a copy that nobody else uses; `convert` gives linear maps their fastest form."""
        for layer in [*model.encoder, *model.decoder]:
            layer.self_attention = JoinedSelfAttention(layer.self_attention, convert)
        for layer in model.decoder_layers():
            layer.cross_attention = CrossAttention(layer.cross_attention, convert)  # type: ignore[assignment]
        for parent in list(model.modules()):
            for name, module in list(parent.named_children()):
                if isinstance(module, FeedForward):
                    setattr(parent, name, InPlaceFeedForward(module, convert))
                elif isinstance(module, nn.Dropout):
                    setattr(parent, name, nn.Identity())
        model.output = convert(model.output)  # type: ignore[assignment]
        self.model = model.eval()
        self.num_heads: int = model.decoder_layers()[0].self_attention.num_heads

    def start(self, src_ids: Tensor, src_mask: Tensor) -> FastState:
        """Encode the source; the state before the first target token, with one row per sentence.

        Shapes:
            src_ids, src_mask: (B, S), each sentence with a real token
        """
        memories = [
            self.model.encode(src_ids[rows, :length], src_mask[rows, :length])
            for rows, length in _parts_to_encode(src_mask)
        ]
        layers = tuple(
            LayerCache.start([layer.cross_attention.project_memory(part) for part in memories], src_ids.size(1))
            for layer in self.model.decoder_layers()
        )
        return FastState.start(layers, additive_mask(src_mask, self.num_heads, memories[0].dtype))

    def step(self, prev_ids: Tensor, state: FastState) -> tuple[Tensor, FastState]:
        """Logits of the token after `prev_ids`, and the state one position on.

        Shapes:
            prev_ids: (R,)
            return:   (R, V)
        """
        x_RD = self.model.tgt_input(prev_ids[:, None], first_position=state.length)[:, 0]
        mask_U1S = state.mask_BH1S.flatten(0, 1)
        layers = []
        for layer, cache in zip(self.model.decoder_layers(), state.layers, strict=True):
            x_RD, cache = _step(layer, x_RD, cache, state.num_tail, mask_U1S)
            layers.append(cache)
        return self.model.output(self.model.decoder_norm(x_RD)), state.append(tuple(layers), len(prev_ids))


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


def _step(
    layer: DecoderLayer, x_RD: Tensor, cache: LayerCache, num_tail: int, mask_U1S: Tensor
) -> tuple[Tensor, LayerCache]:
    """One layer at the newest position, the twin of `DecoderLayer.step`."""
    self_attention = cast(JoinedSelfAttention, layer.self_attention)
    cross_attention = cast(CrossAttention, layer.cross_attention)

    def attend_to_past(y_RD: Tensor) -> Tensor:
        nonlocal cache
        q_RHP, kv_2RHP = self_attention.project(y_RD)
        cache = cache.append(num_tail, kv_2RHP)
        return self_attention.attend(q_RHP, cache.prefix_2NBHP, cache.tail_2CRHP[:, : num_tail + 1])

    def attend_to_source(y_RD: Tensor) -> Tensor:
        return cross_attention.attend(y_RD, cache.src_k_BHSP, cache.src_v_BHSP, mask_U1S)

    x_RD = layer.self_residual(x_RD, attend_to_past)
    x_RD = layer.cross_residual(x_RD, attend_to_source)
    return layer.ff_residual(x_RD, layer.feed_forward), cache


def _parts_to_encode(src_mask: Tensor) -> Iterator[tuple[slice, int]]:
    """Sentences to encode at once, and the length that their longest needs; on a CPU a few at a time.

    If sentences are sorted by length, this avoids nearly all padding.
    """
    if src_mask.device.type != "cpu":
        yield slice(0, len(src_mask)), src_mask.size(1)
        return
    lengths: list[int] = (src_mask * torch.arange(1, src_mask.size(1) + 1)).amax(dim=1).clamp(min=1).tolist()
    first = 0
    while first < len(lengths):
        rows = slice(first, first + max(1, TOKENS_PER_PART // max(lengths[first:])))
        yield rows, max(lengths[rows])
        first = rows.stop
