"""What the decoder remembers between two steps of decoding.

The letters of the shapes are explained in `mtx.model`; C is the number of positions that a buffer has room for, N a
number of positions that are remembered.
"""

from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor

ROOM = 16
"""Positions by which a full buffer grows, and the fewest that are settled at once."""


@dataclass(frozen=True, slots=True)
class LayerState:
    """What one decoder layer remembers: keys and values.

    Position by position, as they come: a step's attention then reads memory from end to end, for all rows at once,
    and is 4 times as fast as with the positions of a row side by side. The recent past stands in buffers with room for
    positions to come, so that one more is written and nothing copied. A state sees only what was written before it
    was made; but of two steps from the same state the second takes the place of the first.
    """

    settled_k_NBHP: Tensor
    """The beginning of the past, where the W hypotheses of each sentence agree: once per sentence."""
    settled_v_NBHP: Tensor
    recent_k_CRHP: Tensor
    recent_v_CRHP: Tensor
    cross_k_SBHP: Tensor
    """Projected once per sentence and shared by its W hypotheses."""
    cross_v_SBHP: Tensor

    @classmethod
    def start(cls, k_BHSP: Tensor, v_BHSP: Tensor) -> Self:
        """The state before the first position, one row a sentence, that remembers keys and values of the source."""
        cross_k_SBHP, cross_v_SBHP = (x_BHSP.permute(2, 0, 1, 3).contiguous() for x_BHSP in (k_BHSP, v_BHSP))
        nothing_NBHP = cross_k_SBHP[:0]
        recent_k_CRHP, recent_v_CRHP = (cross_k_SBHP.new_empty(ROOM, *cross_k_SBHP.shape[1:]) for _ in range(2))
        return cls(nothing_NBHP, nothing_NBHP, recent_k_CRHP, recent_v_CRHP, cross_k_SBHP, cross_v_SBHP)

    def grown(self, num_recent: int, k_RH1P: Tensor, v_RH1P: Tensor) -> Self:
        """This state, which knows `num_recent` recent positions, with one more."""
        recent_k_CRHP = _with_room(self.recent_k_CRHP, num_recent)
        recent_v_CRHP = _with_room(self.recent_v_CRHP, num_recent)
        recent_k_CRHP[num_recent], recent_v_CRHP[num_recent] = k_RH1P[:, :, 0], v_RH1P[:, :, 0]
        return replace(self, recent_k_CRHP=recent_k_CRHP, recent_v_CRHP=recent_v_CRHP)

    def settled(self) -> tuple[Tensor, Tensor]:
        """Keys and values of the settled positions. Shapes: (B, H, N, P), twice."""
        return self.settled_k_NBHP.permute(1, 2, 0, 3), self.settled_v_NBHP.permute(1, 2, 0, 3)

    def recent(self, num_recent: int) -> tuple[Tensor, Tensor]:
        """Keys and values of the positions after the settled ones. Shapes: (R, H, num_recent, P), twice."""
        recent = (self.recent_k_CRHP, self.recent_v_CRHP)
        k_RHNP, v_RHNP = (x_CRHP[:num_recent].permute(1, 2, 0, 3) for x_CRHP in recent)
        return k_RHNP, v_RHNP

    def source(self) -> tuple[Tensor, Tensor]:
        """Keys and values of the source. Shapes: (B, H, S, P), twice."""
        return self.cross_k_SBHP.permute(1, 2, 0, 3), self.cross_v_SBHP.permute(1, 2, 0, 3)

    def select(self, num_recent: int, rows_R: Tensor, sentences_B: Tensor) -> Self:
        """Row r becomes row `rows_R[r]`, and sentence b becomes sentence `sentences_B[b]`."""
        state = replace(
            self,
            recent_k_CRHP=_select_with_room(self.recent_k_CRHP, num_recent, rows_R),
            recent_v_CRHP=_select_with_room(self.recent_v_CRHP, num_recent, rows_R),
        )
        if len(sentences_B) == self.cross_k_SBHP.size(1):
            return state
        return replace(
            state,
            settled_k_NBHP=self.settled_k_NBHP.index_select(1, sentences_B),
            settled_v_NBHP=self.settled_v_NBHP.index_select(1, sentences_B),
            cross_k_SBHP=self.cross_k_SBHP.index_select(1, sentences_B),
            cross_v_SBHP=self.cross_v_SBHP.index_select(1, sentences_B),
        )

    def settle(self, count: int) -> Self:
        """The first `count` recent positions, where the hypotheses of each sentence agree, are settled."""
        every = self.recent_k_CRHP.size(1) // self.cross_k_SBHP.size(1)  # W
        return replace(
            self,
            settled_k_NBHP=torch.cat([self.settled_k_NBHP, self.recent_k_CRHP[:count, ::every]]),
            settled_v_NBHP=torch.cat([self.settled_v_NBHP, self.recent_v_CRHP[:count, ::every]]),
            recent_k_CRHP=self.recent_k_CRHP[count:],
            recent_v_CRHP=self.recent_v_CRHP[count:],
        )


def _select_with_room(buffer_CRHP: Tensor, num_recent: int, rows_R: Tensor) -> Tensor:
    """The first `num_recent` positions of these rows, and room for one more."""
    selected_CRHP = buffer_CRHP.new_empty(num_recent + 1, len(rows_R), *buffer_CRHP.shape[2:])
    torch.index_select(buffer_CRHP[:num_recent], 1, rows_R, out=selected_CRHP[:num_recent])
    return selected_CRHP


def _with_room(buffer_CRHP: Tensor, num_recent: int) -> Tensor:
    """`buffer_CRHP` itself, or where its first `num_recent` positions fill it, these in a larger one."""
    if num_recent < len(buffer_CRHP):
        return buffer_CRHP
    larger_CRHP = buffer_CRHP.new_empty(num_recent + ROOM, *buffer_CRHP.shape[1:])
    larger_CRHP[:num_recent] = buffer_CRHP
    return larger_CRHP


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
            sentences_B: (B',), rising
        """
        layers = tuple(layer.select(self.num_recent, rows_R, sentences_B) for layer in self.layers)
        writers_NR = self.writers_NR.index_select(1, rows_R)
        count = _num_agreed(writers_NR, len(sentences_B)) if len(writers_NR) >= 2 * ROOM else 0
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
