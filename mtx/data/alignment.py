"""Whether line n of one side translates line n of the other: told from lengths alone, block by block.

The lengths of sentences and of their translations go together (Gale & Church 1993). Where a line is missing on one side
they stop doing so from there on, and do again when one side is shifted.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BLOCK = 200
"""Pairs that are looked at together."""

MAX_SHIFT = 20
"""Lines by which one side may have slipped."""

LOW, GAIN = 0.3, 0.3
"""A block is misaligned if its lengths correlate below the first, and shifted by more than the second better."""

Lengths = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Slip:
    """A stretch in which line n of the source goes with line n + shift of the target."""

    begin: int
    """Its first line, counted from 1."""
    end: int
    """Its last one."""
    shift: int


def find_slips(src_lengths: NDArray[np.integer], tgt_lengths: NDArray[np.integer]) -> list[Slip]:
    """The stretches that look misaligned, in order; lengths of 0 are left out of account."""
    src, tgt = np.log1p(src_lengths.astype(np.float64)), np.log1p(tgt_lengths.astype(np.float64))
    slips: list[Slip] = []
    shift_before = 0
    for begin, shift in _blocks(src, tgt):
        if shift and shift == shift_before:
            slips[-1] = Slip(slips[-1].begin, min(begin + BLOCK, len(src)), shift)
        elif shift:
            first = _change(src, tgt, begin, shift_before, shift)
            slips.append(Slip(first + 1, min(begin + BLOCK, len(src)), shift))
        shift_before = shift
    return slips


def _blocks(src: Lengths, tgt: Lengths) -> Iterator[tuple[int, int]]:
    """Where each block begins, and the shift at which its lengths go together; 0 where they do, or at none."""
    for begin in range(0, len(src) - BLOCK // 2, BLOCK):
        as_it_is = _correlation(src, tgt, begin, 0)
        if as_it_is >= LOW:
            yield begin, 0
            continue
        shifts = [shift for shift in range(-MAX_SHIFT, MAX_SHIFT + 1) if shift]
        found = [_correlation(src, tgt, begin, shift) for shift in shifts]
        best = int(np.argmax(found))
        yield begin, shifts[best] if found[best] > max(as_it_is, 0) + GAIN else 0


def _correlation(src: Lengths, tgt: Lengths, begin: int, shift: int) -> float:
    """Of the lengths of a block of the source with those of the target as many lines further on."""
    end = min(begin + BLOCK, len(src), len(tgt) - shift)
    first = max(begin, -shift)
    one, other = src[first:end], tgt[first + shift : end + shift]
    known = (one > 0) & (other > 0)
    one, other = one[known], other[known]
    if len(one) < BLOCK // 4 or one.std() == 0 or other.std() == 0:
        return 0.0
    return float(np.corrcoef(one, other)[0, 1])


def _change(src: Lengths, tgt: Lengths, begin: int, before: int, after: int) -> int:
    """The line, near the block at `begin`, at which one shift begins to fit better than the one before."""
    first = max(begin - BLOCK, 0, -before, -after)
    last = min(begin + BLOCK, len(src), len(tgt) - before, len(tgt) - after)
    lines = np.arange(first, last)
    # The usual ratio of lengths is the same for both, so that what remains tells which one fits.
    usual = np.median(src[lines] - tgt[lines + after])
    misfit = [np.abs(src[lines] - tgt[lines + shift] - usual) for shift in (before, after)]
    # All lines up to the change are fit by `before`, all from it on by `after`.
    gain = np.concatenate([[0.0], np.cumsum(misfit[1] - misfit[0])])
    return int(first + np.argmax(gain))
