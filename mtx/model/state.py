"""What the decoder remembers between two steps of decoding.

The letters of the shapes are explained in `mtx.model`; C is the number of positions that a buffer has room for, N a
number of positions that are remembered, E = 2 · P: the key and the value of a head, side by side.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor

ROOM = 16
"""Positions by which a full buffer grows, and the fewest that are settled at once."""

FEW = 0.3
"""Share of rows that is cheaper to move by themselves, read and written twice, than all are to copy."""


@dataclass(frozen=True, slots=True)
class LayerState:
    """What one decoder layer remembers: keys and values.

    The recent past stands position by position, as it comes, in buffers with room for positions to come, so that one
    more is written and nothing copied. A state sees only what was written before it was made; but of two steps from the
    same state the second takes the place of the first, and what `select` leaves out may be written over. What is known
    of the source does not grow: it stands sentence by sentence, values transposed, and is read twice as fast where
    sentences are long.
    """

    settled_NBHE: Tensor
    """The beginning of the past, where the W hypotheses of each sentence agree: once per sentence."""
    recent_CRHE: Tensor
    cross_k_BHSP: Tensor
    """Projected once per sentence and shared by its W hypotheses."""
    cross_v_BHPS: Tensor

    @classmethod
    def start(cls, parts: Sequence[tuple[Tensor, Tensor]], src_length: int) -> Self:
        """The state before the first position, one row a sentence, that remembers keys and values of the source.

        Shapes:
            parts: (B', H, up to `src_length`, P), twice, for some sentences after others
        """
        cross_k_BHSP = _joined([k_BHSP for k_BHSP, _ in parts], 2, src_length)
        cross_v_BHPS = _joined([v_BHSP.mT for _, v_BHSP in parts], 3, src_length)
        num_sentences, num_heads, width, _ = cross_v_BHPS.shape
        recent_CRHE = cross_k_BHSP.new_empty(ROOM, num_sentences, num_heads, 2 * width)
        return cls(recent_CRHE[:0], recent_CRHE, cross_k_BHSP, cross_v_BHPS)

    def grown(self, num_recent: int, k_RD: Tensor, v_RD: Tensor) -> Self:
        """This state, which knows `num_recent` recent positions, with one more."""
        recent_CRHE = _with_room(self.recent_CRHE, num_recent)
        newest_RHE = recent_CRHE[num_recent]
        num_rows, num_heads, both = newest_RHE.shape
        newest_RHE[:, :, : both // 2] = k_RD.view(num_rows, num_heads, -1)
        newest_RHE[:, :, both // 2 :] = v_RD.view(num_rows, num_heads, -1)
        return replace(self, recent_CRHE=recent_CRHE)

    def source(self) -> tuple[Tensor, Tensor]:
        """Keys and values of the source. Shapes: (B, H, S, P), twice."""
        return self.cross_k_BHSP, self.cross_v_BHPS.mT

    def select(self, num_recent: int, rows: "Selection", sentences: "Selection") -> Self:
        """Row r becomes row `rows.from_R[r]`, and sentence b becomes sentence `sentences.from_R[b]`."""
        return replace(
            self,
            recent_CRHE=rows.of_buffer(self.recent_CRHE, num_recent),
            settled_NBHE=sentences.of(self.settled_NBHE, dim=1),
            cross_k_BHSP=sentences.of(self.cross_k_BHSP, dim=0),
            cross_v_BHPS=sentences.of(self.cross_v_BHPS, dim=0),
        )

    def settle(self, count: int) -> Self:
        """The first `count` recent positions, where the hypotheses of each sentence agree, are settled."""
        every = self.recent_CRHE.size(1) // len(self.cross_k_BHSP)  # W
        settled_NBHE = torch.cat([self.settled_NBHE, self.recent_CRHE[:count, ::every]])
        return replace(self, settled_NBHE=settled_NBHE, recent_CRHE=self.recent_CRHE[count:])


def _joined(parts: Sequence[Tensor], dim: int, length: int) -> Tensor:
    """The sentences of all parts together, with zeros along `dim` up to `length`."""
    sizes = list(parts[0].shape)
    sizes[0], sizes[dim] = sum(map(len, parts)), length
    joined, first = parts[0].new_zeros(sizes), 0
    for part in parts:
        joined[first : first + len(part)].narrow(dim, 0, part.size(dim)).copy_(part)
        first += len(part)
    return joined


@dataclass(frozen=True, slots=True)
class Selection:
    """Which rows of the tensors of a state come to stand where.

    Where most of them stay in their places, only the others are written there.
    """

    from_R: Tensor
    """After the selection, place r has what was in place `from_R[r]`."""
    moved: Tensor | None
    """The places that get what they did not have, if these are few; not looked for on a GPU: that would wait for it."""

    @classmethod
    def choose(cls, from_R: Tensor) -> Self:
        """How to get what was in the places `from_R`."""
        if from_R.device.type != "cpu":
            return cls(from_R, None)
        moved = (from_R != torch.arange(len(from_R))).nonzero()[:, 0]
        return cls(from_R, moved if len(moved) <= FEW * len(from_R) else None)

    def of(self, x: Tensor, dim: int) -> Tensor:
        """The selected rows, where they stand along `dim`. Shapes: (R, …) -> (R', …), or (N, R, …) -> (N, R', …)."""
        if self.moved is None:
            return x.index_select(dim, self.from_R)
        if len(self.moved):
            # By `[]`, since `index_select` would first copy all of a tensor that is a part of a larger one.
            x.index_copy_(dim, self.moved, x[(slice(None),) * dim + (self.from_R[self.moved],)])
        return x.narrow(dim, 0, len(self.from_R))

    def of_buffer(self, buffer_CRHE: Tensor, num_recent: int) -> Tensor:
        """The selected rows of the first `num_recent` positions, and room for one more if there was any."""
        if self.moved is not None:
            self.of(buffer_CRHE[:num_recent], dim=1)
            return buffer_CRHE[:, : len(self.from_R)]
        selected_CRHE = buffer_CRHE.new_empty(num_recent + 1, len(self.from_R), *buffer_CRHE.shape[2:])
        torch.index_select(buffer_CRHE[:num_recent], 1, self.from_R, out=selected_CRHE[:num_recent])
        return selected_CRHE


def _with_room(buffer_CRHE: Tensor, num_recent: int) -> Tensor:
    """`buffer_CRHE` itself, or where its first `num_recent` positions fill it, these in a larger one."""
    if num_recent < len(buffer_CRHE):
        return buffer_CRHE
    larger_CRHE = buffer_CRHE.new_empty(num_recent + ROOM, *buffer_CRHE.shape[1:])
    larger_CRHE[:num_recent] = buffer_CRHE
    return larger_CRHE


@dataclass(frozen=True, slots=True)
class DecoderState:
    """What the decoder remembers: a value, held by the search and handed back to `step`.

    Rows are grouped by sentence: rows b·W .. b·W + W - 1 are the hypotheses of sentence b. W is 1 at first.
    Hypotheses differ in what came last: what lies far enough back is one past for all of a sentence. Only the rest is
    put in a new order at each step, whose cost would else grow with the square of the length.
    """

    layers: tuple[LayerState, ...]
    mask_B11S: Tensor
    writers_NR: Tensor
    """Which row wrote each recent position of a row: where two rows have the same writer, they have the same past."""
    length: int
    """Target positions seen so far."""

    @classmethod
    def start(cls, layers: tuple[LayerState, ...], mask_B11S: Tensor) -> Self:
        """The state before the first position."""
        writers_NR = torch.empty(0, mask_B11S.size(0), dtype=torch.long, device=mask_B11S.device)
        return cls(layers, mask_B11S, writers_NR, length=0)

    @property
    def num_recent(self) -> int:
        """Positions that are not settled."""
        return self.writers_NR.size(0)

    def grown(self, layers: tuple[LayerState, ...], num_rows: int) -> Self:
        """The state one position on, with `layers` that know it."""
        newest_1R = torch.arange(num_rows, device=self.writers_NR.device)[None]
        return replace(self, layers=layers, writers_NR=torch.cat([self.writers_NR, newest_1R]), length=self.length + 1)

    def select(self, rows_R: Tensor, sentences_B: Tensor) -> Self:
        """Only these sentences, in this order, and as row r what was row `rows_R[r]`, a hypothesis of its sentence.

        Shapes:
            rows_R:      (R',), as many for each sentence
            sentences_B: (B',)
        """
        rows, sentences = Selection.choose(rows_R), Selection.choose(sentences_B)
        layers = tuple(layer.select(self.num_recent, rows, sentences) for layer in self.layers)
        writers_NR = self.writers_NR.index_select(1, rows_R)
        is_shared = len(rows_R) > len(sentences_B)  # by hypotheses; the past of a single one is best left as it is
        count = _num_agreed(writers_NR, len(sentences_B)) if is_shared and len(writers_NR) >= 2 * ROOM else 0
        if count >= ROOM:
            layers = tuple(layer.settle(count) for layer in layers)
            writers_NR = writers_NR[count:]
        return type(self)(layers, self.mask_B11S.index_select(0, sentences_B), writers_NR, self.length)


def _num_agreed(writers_NR: Tensor, num_sentences: int) -> int:
    """At how many positions all hypotheses of each sentence have the same writer: these are the first ones."""
    if not num_sentences:
        return 0
    writers_NBW = writers_NR.view(len(writers_NR), num_sentences, -1)
    return int((writers_NBW == writers_NBW[:, :, :1]).flatten(1).all(dim=1).sum())
