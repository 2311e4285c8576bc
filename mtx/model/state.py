"""What the decoder remembers between two steps of decoding.

The letters of the shapes are explained in `mtx.model`; C is the number of positions that a buffer has room for.
"""

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

ROOM = 16
"""Positions by which a full buffer grows."""


@dataclass(frozen=True, slots=True)
class LayerState:
    """What one decoder layer remembers: keys and values.

    Position by position, as they come: a step's attention then reads memory from end to end, for all rows at once,
    and is 4 times as fast as with the positions of a row side by side. The past stands in buffers with room for
    positions to come, so that one more is written and nothing copied. A state sees only what was written before it
    was made; but of two steps from the same state the second takes the place of the first.
    """

    past_k_CRHP: Tensor
    past_v_CRHP: Tensor
    cross_k_SBHP: Tensor
    """Projected once per sentence and shared by its W hypotheses."""
    cross_v_SBHP: Tensor

    @classmethod
    def start(cls, k_BHSP: Tensor, v_BHSP: Tensor) -> Self:
        """The state before the first position, one row a sentence, that remembers keys and values of the source."""
        cross_k_SBHP, cross_v_SBHP = (x_BHSP.permute(2, 0, 1, 3).contiguous() for x_BHSP in (k_BHSP, v_BHSP))
        past_k_CRHP, past_v_CRHP = (cross_k_SBHP.new_empty(ROOM, *cross_k_SBHP.shape[1:]) for _ in range(2))
        return cls(past_k_CRHP, past_v_CRHP, cross_k_SBHP, cross_v_SBHP)

    def grown(self, length: int, k_RH1P: Tensor, v_RH1P: Tensor) -> Self:
        """This state, which knows `length` positions, with one more."""
        past_k_CRHP = _with_room(self.past_k_CRHP, length)
        past_v_CRHP = _with_room(self.past_v_CRHP, length)
        past_k_CRHP[length], past_v_CRHP[length] = k_RH1P[:, :, 0], v_RH1P[:, :, 0]
        return type(self)(past_k_CRHP, past_v_CRHP, self.cross_k_SBHP, self.cross_v_SBHP)

    def past(self, length: int) -> tuple[Tensor, Tensor]:
        """Keys and values of the first `length` positions. Shapes: (R, H, length, P), twice."""
        return self.past_k_CRHP[:length].permute(1, 2, 0, 3), self.past_v_CRHP[:length].permute(1, 2, 0, 3)

    def source(self) -> tuple[Tensor, Tensor]:
        """Keys and values of the source. Shapes: (B, H, S, P), twice."""
        return self.cross_k_SBHP.permute(1, 2, 0, 3), self.cross_v_SBHP.permute(1, 2, 0, 3)

    def select(self, length: int, rows_R: Tensor, sentences_B: Tensor) -> Self:
        """Row r becomes row `rows_R[r]`, and sentence b becomes sentence `sentences_B[b]`."""
        past_k_CRHP = _select_with_room(self.past_k_CRHP, length, rows_R)
        past_v_CRHP = _select_with_room(self.past_v_CRHP, length, rows_R)
        cross_k_SBHP, cross_v_SBHP = self.cross_k_SBHP, self.cross_v_SBHP
        if len(sentences_B) < cross_k_SBHP.size(1):
            cross_k_SBHP, cross_v_SBHP = (x.index_select(1, sentences_B) for x in (cross_k_SBHP, cross_v_SBHP))
        return type(self)(past_k_CRHP, past_v_CRHP, cross_k_SBHP, cross_v_SBHP)


def _select_with_room(buffer_CRHP: Tensor, length: int, rows_R: Tensor) -> Tensor:
    """The first `length` positions of these rows, and room for one more."""
    selected_CRHP = buffer_CRHP.new_empty(length + 1, len(rows_R), *buffer_CRHP.shape[2:])
    torch.index_select(buffer_CRHP[:length], 1, rows_R, out=selected_CRHP[:length])
    return selected_CRHP


def _with_room(buffer_CRHP: Tensor, length: int) -> Tensor:
    """`buffer_CRHP` itself, or where its first `length` positions fill it, these in a larger one."""
    if length < len(buffer_CRHP):
        return buffer_CRHP
    larger_CRHP = buffer_CRHP.new_empty(length + ROOM, *buffer_CRHP.shape[1:])
    larger_CRHP[:length] = buffer_CRHP
    return larger_CRHP


@dataclass(frozen=True, slots=True)
class DecoderState:
    """What the decoder remembers: a value, held by the search and handed back to `step`.

    Rows are grouped by sentence: rows b·W .. b·W + W - 1 are the hypotheses of sentence b. W is 1 at first.
    """

    layers: tuple[LayerState, ...]
    mask_B11S: Tensor
    length: int
    """Target positions seen so far."""

    def select(self, rows_R: Tensor, sentences_B: Tensor) -> Self:
        """Only these sentences, in this order, and as row r what was row `rows_R[r]`, a hypothesis of its sentence.

        Shapes:
            rows_R:      (R',), as many for each sentence
            sentences_B: (B',), rising
        """
        layers = tuple(layer.select(self.length, rows_R, sentences_B) for layer in self.layers)
        return type(self)(layers, self.mask_B11S.index_select(0, sentences_B), self.length)
