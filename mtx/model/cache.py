"""The keys and values that step-by-step decoding remembers. The letters of the shapes are explained in `mtx.model`."""

from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class LayerCache:
    """The keys and values that one decoder layer attends to: target positions so far, and the source."""

    past_k_BHTP: Tensor
    past_v_BHTP: Tensor
    src_k_BHSP: Tensor
    src_v_BHSP: Tensor

    @classmethod
    def start(cls, src_k_BHSP: Tensor, src_v_BHSP: Tensor) -> Self:
        """The cache before the first target position."""
        return cls(src_k_BHSP[:, :, :0], src_v_BHSP[:, :, :0], src_k_BHSP, src_v_BHSP)

    def append(self, k_BH1P: Tensor, v_BH1P: Tensor) -> Self:
        """The cache with one more target position."""
        past_k_BHTP = torch.cat([self.past_k_BHTP, k_BH1P], dim=2)
        past_v_BHTP = torch.cat([self.past_v_BHTP, v_BH1P], dim=2)
        return replace(self, past_k_BHTP=past_k_BHTP, past_v_BHTP=past_v_BHTP)

    def select(self, rows: Tensor) -> Self:
        """Row i becomes what row `rows[i]` was."""
        return type(self)(self.past_k_BHTP[rows], self.past_v_BHTP[rows], self.src_k_BHSP[rows], self.src_v_BHSP[rows])


@dataclass(frozen=True, slots=True)
class DecoderState:
    """Memory of the decoder between steps: a value that the search keeps, reorders and hands back to `step`.

    A row of the batch is a hypothesis of some sentence. Each row keeps its own copy of the source.
    """

    layers: tuple[LayerCache, ...]
    src_mask: Tensor  # (B, S), True = real token
    length: int = 0  # Target positions seen so far

    def append(self, layers: tuple[LayerCache, ...]) -> Self:
        """The state one position on, with the caches that know it."""
        return replace(self, layers=layers, length=self.length + 1)

    def select(self, rows: Tensor, sentences: Tensor) -> Self:
        """Row i becomes what row `rows[i]` was; which sentences are left follows from the rows.

        Shapes:
            rows:      (new B,)
            sentences: (sentences that are left,), needed only by states that keep the source once for each sentence
        """
        layers = tuple(layer.select(rows) for layer in self.layers)
        return replace(self, layers=layers, src_mask=self.src_mask[rows])
