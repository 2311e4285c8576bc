"""Keys and values of fast decoding: one buffer for all layers, shared by hypotheses. Slow twin: `mtx.model.cache`."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple, Self

import torch
from torch import Tensor

BUFFER_GROWTH = 16  # Positions by which a full buffer grows, and the fewest that join the shared prefix at once
MOVED_SHARE = 0.3  # Rows up to this share are moved one by one, read and written twice; else all are copied once


class LayerCache(NamedTuple):
    """Keys and values of one layer: views of the buffers of a `FastState`."""

    newest_2RHP: Tensor  # The last position of the tail, for the layer to write
    tail_2GMP: Tensor
    prefix_2UNP: Tensor
    src_2USP: Tensor


@dataclass(frozen=True, slots=True)
class FastState:
    """Memory of a `FastDecoder` between steps.

    Rows are grouped by sentence: rows b·W to b·W + W - 1 are the hypotheses of sentence b. W is 1 at first.
    Hypotheses differ only in their latest tokens. What they share is stored once and never reordered; reordering all
    of the past at each step would make its cost grow with the square of the length.

    States share buffers: only the newest is valid, and only until a `step` or `select` makes the next.
    """

    src_L2BHSP: Tensor  # Stored once per sentence and shared by its W hypotheses
    mask_BH1S: Tensor  # Added to the scores of cross-attention
    prefix_L2NBHP: Tensor  # The oldest positions, in which the W hypotheses of each sentence agree: once per sentence
    tail_L2CRHP: Tensor  # The positions after the prefix, and room for more
    ancestors_MR: Tensor  # The row that wrote each position of a row's tail: rows that agree in one share their past
    length: int = 0  # Target positions seen so far

    @classmethod
    def start(cls, src_L2BHSP: Tensor, mask_BH1S: Tensor) -> Self:
        """The state before the first position, with one row per sentence."""
        num_layers, _, num_sentences, num_heads, _, width = src_L2BHSP.shape
        tail_L2CRHP = src_L2BHSP.new_empty(num_layers, 2, BUFFER_GROWTH, num_sentences, num_heads, width)
        ancestors_MR = torch.empty(0, num_sentences, dtype=torch.long, device=mask_BH1S.device)
        return cls(src_L2BHSP, mask_BH1S, tail_L2CRHP[:, :, :0], tail_L2CRHP, ancestors_MR)

    def append(self) -> Self:
        """The state one position on, with room for the keys and values of that position."""
        tail_L2CRHP, num_tail = self.tail_L2CRHP, len(self.ancestors_MR)
        if num_tail == tail_L2CRHP.size(2):
            num_layers, _, _, *size = tail_L2CRHP.shape
            tail_L2CRHP = tail_L2CRHP.new_empty(num_layers, 2, num_tail + BUFFER_GROWTH, *size)
            tail_L2CRHP[:, :, :num_tail] = self.tail_L2CRHP
        newest_1R = torch.arange(tail_L2CRHP.size(3), device=tail_L2CRHP.device)[None]
        ancestors_MR = torch.cat([self.ancestors_MR, newest_1R])
        return replace(self, tail_L2CRHP=tail_L2CRHP, ancestors_MR=ancestors_MR, length=self.length + 1)

    def layers(self) -> Iterator[LayerCache]:
        """The keys and values of each layer."""
        tail_L2MRHP = self.tail_L2CRHP[:, :, : len(self.ancestors_MR)]
        return map(
            LayerCache,
            tail_L2MRHP[:, :, -1].unbind(),
            by_head(tail_L2MRHP).unbind(),
            by_head(self.prefix_L2NBHP).unbind(),
            self.src_L2BHSP.flatten(2, 3).unbind(),
        )

    def select(self, rows_R: Tensor, sentences_B: Tensor) -> Self:
        """Only these sentences, in this order; row r becomes what row `rows_R[r]` was, a hypothesis of its sentence."""
        rows, sentences = Selection.choose(rows_R), Selection.choose(sentences_B)
        ancestors_MR = self.ancestors_MR.index_select(1, rows_R)
        prefix_L2NBHP = sentences.of(self.prefix_L2NBHP, dim=3)
        tail_L2CRHP = rows.of_buffer(self.tail_L2CRHP, len(ancestors_MR))
        # A single hypothesis shares its past with no other, and is best left where it is.
        if len(rows_R) > len(sentences_B) and len(ancestors_MR) >= 2 * BUFFER_GROWTH:
            ancestors_MBW = ancestors_MR.view(len(ancestors_MR), len(sentences_B), -1)
            count = int((ancestors_MBW == ancestors_MBW[:, :, :1]).flatten(1).all(dim=1).sum())
            if count >= BUFFER_GROWTH:  # at the oldest positions, the hypotheses of each sentence agree
                newly_shared = tail_L2CRHP[:, :, :count, :: ancestors_MBW.size(2)]
                prefix_L2NBHP = torch.cat([prefix_L2NBHP, newly_shared], dim=2)
                tail_L2CRHP, ancestors_MR = tail_L2CRHP[:, :, count:], ancestors_MR[count:]
        src_L2BHSP, mask_BH1S = sentences.of(self.src_L2BHSP, dim=2), sentences.of(self.mask_BH1S, dim=0)
        return type(self)(src_L2BHSP, mask_BH1S, prefix_L2NBHP, tail_L2CRHP, ancestors_MR, self.length)


def by_head(x_NRHP: Tensor) -> Tensor:
    """Keys or values of each head. Shapes: (…, N, R, H, P) -> (…, RH, N, P)."""
    return x_NRHP.flatten(-3, -2).transpose(-3, -2)


@dataclass(frozen=True, slots=True)
class Selection:
    """A new order of rows; if few rows change their place, only these are written."""

    index: Tensor  # Position r receives what was at position `index[r]`
    moved: Tensor | None  # The positions that change, if few. None on a GPU: counting them would wait for it

    @classmethod
    def choose(cls, index: Tensor) -> Self:
        """The cheaper way to bring rows into the order `index`."""
        if index.device.type != "cpu":
            return cls(index, None)
        moved = (index != torch.arange(len(index))).nonzero()[:, 0]
        return cls(index, moved if len(moved) <= MOVED_SHARE * len(index) else None)

    def of(self, x: Tensor, dim: int) -> Tensor:
        """The selected rows of x along `dim`; may overwrite x."""
        if self.moved is None:
            return x.index_select(dim, self.index)
        if len(self.moved):
            # By `[]`, since `index_select` would first copy all of a tensor that is a part of a larger one.
            x.index_copy_(dim, self.moved, x[(slice(None),) * dim + (self.index[self.moved],)])
        return x.narrow(dim, 0, len(self.index))

    def of_buffer(self, buffer_L2CRHP: Tensor, num_tail: int) -> Tensor:
        """The selected rows of the first `num_tail` positions, with room for one more."""
        if self.moved is not None:
            self.of(buffer_L2CRHP[:, :, :num_tail], dim=3)
            return buffer_L2CRHP[:, :, :, : len(self.index)]
        num_layers, _, _, _, *size = buffer_L2CRHP.shape
        selected_L2CRHP = buffer_L2CRHP.new_empty(num_layers, 2, num_tail + 1, len(self.index), *size)
        for half_CRHP, selected_CRHP in zip(buffer_L2CRHP.flatten(0, 1), selected_L2CRHP.flatten(0, 1), strict=True):
            torch.index_select(half_CRHP[:num_tail], 1, self.index, out=selected_CRHP[:num_tail])
        return selected_L2CRHP
