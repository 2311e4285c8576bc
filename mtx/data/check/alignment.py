"""Alignment: whether line n of one side translates line n of the other, judged by lengths alone, block by block.

The lengths of sentences and of their translations correlate (Gale & Church 1993), in blocks of real text by 0.75 and
more. After a line that is missing on one side they no longer do, until that side is shifted.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

BLOCK = 200  # Number of pairs in a block, for which one correlation is computed
MAX_SHIFT = 20  # Largest shift of one side that is tried, in lines
LOW, GAIN = 0.3, 0.3  # A block is misaligned if its lengths correlate by less than LOW, and when shifted by GAIN more

LEAST_SPREAD = 0.1  # Standard deviation of log lengths below which they are nearly equal, so that a block tells nothing
NUM_POINTS = 200  # Largest number of points of the curve of agreement
MAX_LENGTH = 65_535  # Lengths are stored in two bytes and cut at this value

Lengths = NDArray[np.uint16]


@dataclass(frozen=True, slots=True)
class Slip:
    """A range of lines in which line n of the source corresponds to line n + shift of the target."""

    begin: int  # First line, counted from 1
    end: int  # Last line
    shift: int

    def __str__(self) -> str:
        shifted = f"n {'+' if self.shift > 0 else '-'} {abs(self.shift)}"
        return f"lines {self.begin:,} to {self.end:,}: line n of the source corresponds to line {shifted} of the target"


@dataclass(frozen=True, slots=True)
class Alignment:
    """The alignment of a source, judged by lengths."""

    slips: list[Slip]  # The ranges of lines that look shifted, in order
    num_unrelated: int  # Number of lines in blocks whose lengths do not correlate with any shift
    first_unrelated: int | None  # First of these lines, counted from 1
    agreement: list[float]  # Correlation of lengths from the first line to the last, averaged over equal ranges


def compare_lengths(src: Lengths, tgt: Lengths) -> Alignment:
    """Judge the alignment by the lengths of the two sides, ignoring lengths of 0."""
    blocks = list(_blocks(src, tgt))
    unrelated = [block.begin for block in blocks if block.agreement is not None and block.shift is None]
    num_unrelated = sum(min(BLOCK, len(src) - begin) for begin in unrelated)
    first_unrelated = unrelated[0] + 1 if unrelated else None
    return Alignment(list(_slips(src, tgt, blocks)), num_unrelated, first_unrelated, _curve(blocks))


class _Block(NamedTuple):
    begin: int
    agreement: float | None  # Correlation of the lengths without a shift; None if unknown
    shift: int | None  # The shift with which they correlate; None if there is none, or it can't be told


def _blocks(src: Lengths, tgt: Lengths) -> Iterator[_Block]:
    """All blocks; the rest at the end is one if it has at least half the length."""
    for begin in range(0, len(src) - BLOCK // 2 + 1, BLOCK):
        unshifted = _correlation(src, tgt, begin, 0)
        shift = None if unshifted is None else 0
        if unshifted is not None and unshifted < LOW:
            correlations = [_correlation(src, tgt, begin, shift) or 0.0 for shift in range(-MAX_SHIFT, MAX_SHIFT + 1)]
            best = int(np.argmax(correlations))
            shift = best - MAX_SHIFT if correlations[best] > max(unshifted, 0) + GAIN else None
        yield _Block(begin, unshifted, shift)


def _correlation(src: Lengths, tgt: Lengths, begin: int, shift: int) -> float | None:
    """Correlation of the lengths of a source block with those of the target `shift` lines further on."""
    end = min(begin + BLOCK, len(src), len(tgt) - shift)
    first = max(begin, -shift)
    one, other = src[first:end], tgt[first + shift : end + shift]
    known = (one > 0) & (other > 0)
    logs = [np.log(side[known], dtype=np.float64) for side in (one, other)]
    if len(logs[0]) < BLOCK // 4 or min(side.std() for side in logs) < LEAST_SPREAD:
        return None
    return float(np.corrcoef(logs[0], logs[1])[0, 1])


def _slips(src: Lengths, tgt: Lengths, blocks: list[_Block]) -> Iterator[Slip]:
    """The ranges of equal shift other than 0. Blocks that tell nothing belong to the range around them."""
    first = shift = 0
    last_begin = 0  # of the last block with a known shift
    for block in blocks:
        if block.shift is None:
            continue
        if block.shift != shift:
            change = _change(src, tgt, last_begin, block.begin, shift, block.shift)
            if shift:
                yield Slip(first + 1, change, shift)
            first, shift = change, block.shift
        last_begin = block.begin
    if shift:
        yield Slip(first + 1, len(src), shift)


def _change(src: Lengths, tgt: Lengths, good: int, begin: int, before: int, after: int) -> int:
    """The line between the blocks at `good` and `begin` from which the shift `after` fits better than `before`."""
    first = max(good, -before, -after)
    last = min(begin + BLOCK, len(src), len(tgt) - before, len(tgt) - after)
    lowest = first + min(before, after)
    logs = [np.log1p(side, dtype=np.float64) for side in (src[first:last], tgt[lowest : last + max(before, after)])]
    ratios = [logs[0] - logs[1][first + shift - lowest : last + shift - lowest] for shift in (before, after)]
    # The usual ratio of lengths is the same for both shifts, so the deviation from it tells which shift fits.
    usual = np.median(ratios[1][begin - first :])
    misfit = [np.abs(ratio - usual) for ratio in ratios]
    # Lines up to the change fit `before`, lines from it on fit `after`.
    gain = np.concatenate([[0.0], np.cumsum(misfit[1] - misfit[0])])
    return int(first + np.argmax(gain))


def _curve(blocks: list[_Block]) -> list[float]:
    """The agreement of neighbouring blocks, averaged to at most NUM_POINTS points; 0 if unknown."""
    values = np.array([block.agreement or 0.0 for block in blocks])
    parts = np.array_split(values, min(NUM_POINTS, len(values) or 1))
    return [round(float(part.mean()), 3) for part in parts if len(part)]
