"""What the decoder remembers between two steps of decoding.

The letters of the shapes are explained in `mtx.model`; C is the number of positions that a buffer has room for.
"""

from dataclasses import dataclass
from typing import Self

from torch import Tensor

ROOM = 16
"""Positions by which a full buffer grows: few enough to be copied along, enough that growing is rare."""


@dataclass(frozen=True, slots=True)
class LayerState:
    """What one decoder layer remembers.

    Keys and values of the past stand in buffers with room for positions to come, so that one more position is
    written and nothing copied. A state sees only what was written before it was made; but of two steps from the same
    state the second takes the place of the first.
    """

    past_k_RHCP: Tensor
    past_v_RHCP: Tensor
    cross_k_BHSP: Tensor
    """Projected once per sentence and shared by its W hypotheses."""
    cross_v_BHSP: Tensor

    @classmethod
    def empty(cls, cross_k_BHSP: Tensor, cross_v_BHSP: Tensor, num_rows: int) -> Self:
        """The state before the first position."""
        num_heads, head_size = cross_k_BHSP.size(1), cross_k_BHSP.size(3)
        buffers = (cross_k_BHSP.new_empty(num_rows, num_heads, ROOM, head_size) for _ in range(2))
        return cls(*buffers, cross_k_BHSP, cross_v_BHSP)

    def grown(self, length: int, k_RH1P: Tensor, v_RH1P: Tensor) -> Self:
        """This state, which knows `length` positions, with one more."""
        past = []
        for buffer, newest in ((self.past_k_RHCP, k_RH1P), (self.past_v_RHCP, v_RH1P)):
            if length == buffer.size(2):
                larger = buffer.new_empty(*buffer.shape[:2], length + ROOM, buffer.size(3))
                larger[:, :, :length] = buffer
                buffer = larger
            buffer[:, :, length : length + 1] = newest
            past.append(buffer)
        return type(self)(past[0], past[1], self.cross_k_BHSP, self.cross_v_BHSP)

    def select(self, rows_R: Tensor, sentences_B: Tensor) -> Self:
        """Row r becomes row `rows_R[r]`, and sentence b becomes sentence `sentences_B[b]`."""
        cross_k_BHSP, cross_v_BHSP = self.cross_k_BHSP, self.cross_v_BHSP
        if len(sentences_B) < len(cross_k_BHSP):
            cross_k_BHSP, cross_v_BHSP = (x.index_select(0, sentences_B) for x in (cross_k_BHSP, cross_v_BHSP))
        past_k_RHCP, past_v_RHCP = (x.index_select(0, rows_R) for x in (self.past_k_RHCP, self.past_v_RHCP))
        return type(self)(past_k_RHCP, past_v_RHCP, cross_k_BHSP, cross_v_BHSP)


@dataclass(frozen=True, slots=True)
class DecoderState:
    """What the decoder remembers: a value, held by the search and handed back to `step`.

    Rows are grouped by sentence: rows b·W .. b·W + W - 1 are the hypotheses of sentence b.
    """

    layers: tuple[LayerState, ...]
    mask_B11S: Tensor
    length: int
    """Target positions seen so far."""

    def select(self, rows_R: Tensor, sentences_B: Tensor) -> Self:
        """Only these sentences, in this order, and as row r what was row `rows_R[r]`, a hypothesis of its sentence.

        Shapes:
            rows_R:      (R',)
            sentences_B: (B',), rising
        """
        layers = tuple(layer.select(rows_R, sentences_B) for layer in self.layers)
        return type(self)(layers, self.mask_B11S.index_select(0, sentences_B), self.length)
