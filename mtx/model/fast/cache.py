"""The keys and values that fast decoding remembers: in buffers, and once for what hypotheses share.

Slow twin: `mtx.model.cache`. Test: tests/model/fast/test_cache.py, tests/model/fast/test_decoder.py.
Gains: README.md beside this file.

The letters of the shapes are explained in `mtx.model` and `mtx.model.fast`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor

BUFFER_GROWTH = 16  # Positions by which a full buffer grows, and the fewest that join the shared prefix at once

MOVED_SHARE = 0.3
"""Largest share of rows that is moved one by one: these are read and written twice, otherwise all are copied once."""


@dataclass(frozen=True, slots=True)
class LayerCache:
    """The keys and values of one decoder layer.

    Keys and values of the past are the two halves of a buffer with room for more positions, so that appending copies
    nothing. States
    share buffers. Only the newest state is valid: calling `step` twice on one state, or using a state after `select`,
    overwrites data.
    """

    prefix_2NBHP: Tensor
    """The oldest positions, in which the W hypotheses of each sentence agree: stored once per sentence."""
    tail_2CRHP: Tensor  # The positions after the prefix, and room for more
    src_k_BHSP: Tensor  # Stored once per sentence and shared by its W hypotheses
    src_v_BHSP: Tensor

    @classmethod
    def start(cls, parts: Sequence[tuple[Tensor, Tensor]], src_length: int) -> Self:
        """The cache before the first position, with one row per sentence.

        Shapes:
            parts: keys and values (…, H, up to `src_length`, P) of the source, some sentences at a time
        """
        src_k_BHSP, src_v_BHSP = (_padded([part[i] for part in parts], src_length) for i in (0, 1))
        num_sentences, num_heads, _, width = src_k_BHSP.shape
        tail_2CRHP = src_k_BHSP.new_empty(2, BUFFER_GROWTH, num_sentences, num_heads, width)
        return cls(tail_2CRHP[:, :0], tail_2CRHP, src_k_BHSP, src_v_BHSP)

    def append(self, num_tail: int, kv_2RHP: Tensor) -> Self:
        """The cache with one more position after the `num_tail` of its tail."""
        tail_2CRHP = _with_room(self.tail_2CRHP, num_tail)
        tail_2CRHP[:, num_tail] = kv_2RHP
        return replace(self, tail_2CRHP=tail_2CRHP)

    def select(self, num_tail: int, rows: "Selection", sentences: "Selection") -> Self:
        """Row r becomes row `rows.index[r]`, and sentence b becomes sentence `sentences.index[b]`."""
        return replace(
            self,
            tail_2CRHP=rows.of_buffer(self.tail_2CRHP, num_tail),
            prefix_2NBHP=sentences.of(self.prefix_2NBHP, dim=2),
            src_k_BHSP=sentences.of(self.src_k_BHSP, dim=0),
            src_v_BHSP=sentences.of(self.src_v_BHSP, dim=0),
        )

    def extend_prefix(self, count: int) -> Self:
        """The first `count` positions of the tail, in which the hypotheses of each sentence agree, join the prefix."""
        width = self.tail_2CRHP.size(2) // len(self.src_k_BHSP)  # W
        prefix_2NBHP = torch.cat([self.prefix_2NBHP, self.tail_2CRHP[:, :count, ::width]], dim=1)
        return replace(self, prefix_2NBHP=prefix_2NBHP, tail_2CRHP=self.tail_2CRHP[:, count:])


def _padded(parts: Sequence[Tensor], length: int) -> Tensor:
    """The sentences of all parts, with zeros up to `length`. Shapes: return (B, H, length, P)."""
    _, num_heads, _, width = parts[0].shape
    joined, first = parts[0].new_zeros(sum(map(len, parts)), num_heads, length, width), 0
    for part in parts:
        joined[first : first + len(part), :, : part.size(2)] = part
        first += len(part)
    return joined


@dataclass(frozen=True, slots=True)
class Selection:
    """A new order of rows; if few rows change their place, only these are written."""

    index: Tensor  # Position r receives what was at position `index[r]`
    moved: Tensor | None
    """The positions that change, if these are few. None on a GPU, where counting them would wait for it."""

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

    def of_buffer(self, buffer_2CRHP: Tensor, num_tail: int) -> Tensor:
        """The selected rows of the first `num_tail` positions, with room for one more."""
        if self.moved is not None:
            self.of(buffer_2CRHP[:, :num_tail], dim=2)
            return buffer_2CRHP[:, :, : len(self.index)]
        selected_2CRHP = buffer_2CRHP.new_empty(2, num_tail + 1, len(self.index), *buffer_2CRHP.shape[3:])
        for half_CRHP, selected_CRHP in zip(buffer_2CRHP, selected_2CRHP, strict=True):
            torch.index_select(half_CRHP[:num_tail], 1, self.index, out=selected_CRHP[:num_tail])
        return selected_2CRHP


def _with_room(buffer_2CRHP: Tensor, num_tail: int) -> Tensor:
    """The buffer itself, or a larger copy of it if its first `num_tail` positions fill it."""
    if num_tail < buffer_2CRHP.size(1):
        return buffer_2CRHP
    larger_2CRHP = buffer_2CRHP.new_empty(2, num_tail + BUFFER_GROWTH, *buffer_2CRHP.shape[2:])
    larger_2CRHP[:, :num_tail] = buffer_2CRHP
    return larger_2CRHP


@dataclass(frozen=True, slots=True)
class FastState:
    """Memory of a `FastDecoder` between steps.

    Rows are grouped by sentence: rows b·W to b·W + W - 1 are the hypotheses of sentence b. W is 1 at first.
    Hypotheses differ only in their latest tokens. What they share is stored once and never reordered; reordering all
    of the past at each step would make its cost grow with the square of the length.
    """

    layers: tuple[LayerCache, ...]
    mask_BH1S: Tensor  # Added to the scores of cross-attention
    ancestors_NR: Tensor
    """The row that wrote each position of a row's tail: rows with the same ancestor at a position share their past."""
    length: int  # Target positions seen so far

    @classmethod
    def start(cls, layers: tuple[LayerCache, ...], mask_BH1S: Tensor) -> Self:
        """The state before the first position."""
        ancestors_NR = torch.empty(0, len(mask_BH1S), dtype=torch.long, device=mask_BH1S.device)
        return cls(layers, mask_BH1S, ancestors_NR, length=0)

    @property
    def num_tail(self) -> int:
        """Positions that are not in the shared prefix."""
        return self.ancestors_NR.size(0)

    def append(self, layers: tuple[LayerCache, ...], num_rows: int) -> Self:
        """The state one position on, with the caches that know it."""
        newest_1R = torch.arange(num_rows, device=self.ancestors_NR.device)[None]
        return replace(
            self, layers=layers, ancestors_NR=torch.cat([self.ancestors_NR, newest_1R]), length=self.length + 1
        )

    def select(self, rows_R: Tensor, sentences_B: Tensor) -> Self:
        """Only these sentences, in this order; row r becomes what row `rows_R[r]` was, a hypothesis of its sentence.

        Shapes:
            rows_R:      (new R,), the same number for each sentence
            sentences_B: (new B,)
        """
        rows, sentences = Selection.choose(rows_R), Selection.choose(sentences_B)
        layers = tuple(layer.select(self.num_tail, rows, sentences) for layer in self.layers)
        ancestors_NR = self.ancestors_NR.index_select(1, rows_R)
        # A single hypothesis shares its past with no other, and is best left where it is.
        is_shared = len(rows_R) > len(sentences_B)
        may_agree = is_shared and len(ancestors_NR) >= 2 * BUFFER_GROWTH
        count = _num_agreed(ancestors_NR, len(sentences_B)) if may_agree else 0
        if count >= BUFFER_GROWTH:
            layers = tuple(layer.extend_prefix(count) for layer in layers)
            ancestors_NR = ancestors_NR[count:]
        return type(self)(layers, sentences.of(self.mask_BH1S, dim=0), ancestors_NR, self.length)


def _num_agreed(ancestors_NR: Tensor, num_sentences: int) -> int:
    """The number of oldest positions at which all hypotheses of each sentence have the same ancestor."""
    if not num_sentences:
        return 0
    ancestors_NBW = ancestors_NR.view(len(ancestors_NR), num_sentences, -1)
    return int((ancestors_NBW == ancestors_NBW[:, :, :1]).flatten(1).all(dim=1).sum())
