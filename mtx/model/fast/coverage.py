"""Coverage: how much attention the tokens of a source have got from the translation so far.

It is the attention of the decoder's last layer, the mean over its heads, summed over the steps taken.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Self

import torch
from torch import Tensor

from mtx.model.fast.decoder import FastDecoder
from mtx.model.transformer import Transformer


class AttentionRecorder:
    """An attention kernel that keeps the weights which it computed last, as the mean over the heads."""

    def __init__(self, kernel: Callable[..., Tensor], num_heads: int) -> None:
        self.kernel, self.num_heads = kernel, num_heads
        self.weights_RS = torch.empty(0)

    def __call__(self, q: Tensor, k: Tensor, v: Tensor, *others: Any) -> Tensor:
        """Attend as the kernel does. Shapes: k (…, heads, S, P)."""
        identity = torch.eye(k.size(-2), dtype=k.dtype, device=k.device).expand(*k.shape[:-1], -1)
        weights = self.kernel(q, k, identity, *others)
        self.weights_RS = weights.view(-1, self.num_heads, *weights.shape[-2:]).float().mean(dim=1).flatten(0, 1)
        return self.kernel(q, k, v, *others)


@dataclass(frozen=True, slots=True)
class CoverageState:
    """The state of a decoder, and the coverage of the source by the tokens of each row."""

    inner: Any
    coverage_RS: Tensor  # 1 for padding, as if it were covered

    def select(self, rows_R: Tensor, sentences_B: Tensor) -> Self:
        inner = self.inner.select(rows_R, sentences_B)
        return replace(self, inner=inner, coverage_RS=self.coverage_RS.index_select(0, rows_R))


class CoverageDecoder:
    """A decoder whose states know the coverage of the source."""

    def __init__(self, decoder: FastDecoder | Transformer) -> None:
        """Take over `decoder`, a copy that nobody else uses."""
        self.decoder = decoder
        model = decoder.model if isinstance(decoder, FastDecoder) else decoder
        attention = model.decoder_layers()[-1].cross_attention
        self._recorder = AttentionRecorder(attention.kernel, attention.num_heads)
        attention.kernel = self._recorder

    def start(self, src_ids: Tensor, src_mask: Tensor) -> CoverageState:
        return CoverageState(self.decoder.start(src_ids, src_mask), (~src_mask).float())

    def step(self, prev_ids: Tensor, state: CoverageState) -> tuple[Tensor, CoverageState]:
        logits_RV, inner = self.decoder.step(prev_ids, state.inner)
        return logits_RV, CoverageState(inner, state.coverage_RS + self._recorder.weights_RS)
