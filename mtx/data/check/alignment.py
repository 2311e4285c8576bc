"""Whether line n of one side translates line n of the other: told from lengths alone, block by block.

The lengths of sentences and of their translations go together (Gale & Church 1993): in blocks of real text they
correlate by 0.75 and more. Where a line is missing on one side they stop doing so from there on, and do again when one
side is shifted.
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

LEAST_SPREAD = 0.1
"""Standard deviation of log lengths below which a block says nothing: all of its lines are about as long."""

NUM_POINTS = 200
"""Of the curve of agreement, at most."""

LONGEST = 65_535
"""Lengths are kept in two bytes: what is longer counts as that."""

Lengths = NDArray[np.uint16]


@dataclass(frozen=True, slots=True)
class Slip:
    """A stretch in which line n of the source goes with line n + shift of the target."""

    begin: int
    """Its first line, counted from 1."""
    end: int
    """Its last one."""
    shift: int

    def __str__(self) -> str:
        shifted = f"n {'+' if self.shift > 0 else '-'} {abs(self.shift)}"
        return f"lines {self.begin:,} to {self.end:,}: line n of the source goes with line {shifted} of the target"


@dataclass(frozen=True, slots=True)
class Alignment:
    """What the lengths say of a source."""

    slips: list[Slip]
    """The stretches that look misaligned, in order."""
    num_unrelated: int
    """Lines in blocks whose lengths do not go together, however they are shifted."""
    first_unrelated: int | None
    """Where the first of these begins, counted from 1."""
    agreement: list[float]
    """The correlation of lengths from the first line to the last, in stretches of equal length."""


def compare_lengths(src: Lengths, tgt: Lengths) -> Alignment:
    """What the lengths of the two sides say, of which those of 0 are left out of account."""
    blocks = list(_blocks(src, tgt))
    unrelated = [block.begin for block in blocks if block.is_unrelated]
    num_unrelated = sum(min(BLOCK, len(src) - begin) for begin in unrelated)
    return Alignment(
        list(_slips(src, tgt, blocks)), num_unrelated, unrelated[0] + 1 if unrelated else None, _curve(blocks)
    )


@dataclass(frozen=True, slots=True)
class _Block:
    begin: int
    agreement: float | None
    """How its lengths correlate as they are; None where that can't be told."""
    shift: int | None
    """The shift at which they go together; None where there is none, or it can't be told."""

    @property
    def is_unrelated(self) -> bool:
        return self.agreement is not None and self.shift is None


def _blocks(src: Lengths, tgt: Lengths) -> Iterator[_Block]:
    """All blocks; what is left over at the end is one if it is half as long."""
    for begin in range(0, len(src) - BLOCK // 2 + 1, BLOCK):
        as_it_is = _correlation(src, tgt, begin, 0)
        if as_it_is is None or as_it_is >= LOW:
            yield _Block(begin, as_it_is, None if as_it_is is None else 0)
            continue
        shifts = [shift for shift in range(-MAX_SHIFT, MAX_SHIFT + 1) if shift]
        found = [_correlation(src, tgt, begin, shift) or 0.0 for shift in shifts]
        best = int(np.argmax(found))
        yield _Block(begin, as_it_is, shifts[best] if found[best] > max(as_it_is, 0) + GAIN else None)


def _correlation(src: Lengths, tgt: Lengths, begin: int, shift: int) -> float | None:
    """Of the lengths of a block of the source with those of the target as many lines further on."""
    end = min(begin + BLOCK, len(src), len(tgt) - shift)
    first = max(begin, -shift)
    one, other = src[first:end], tgt[first + shift : end + shift]
    known = (one > 0) & (other > 0)
    logs = np.log(one[known], dtype=np.float64), np.log(other[known], dtype=np.float64)
    if len(logs[0]) < BLOCK // 4 or min(side.std() for side in logs) < LEAST_SPREAD:
        return None
    return float(np.corrcoef(*logs)[0, 1])


def _slips(src: Lengths, tgt: Lengths, blocks: list[_Block]) -> Iterator[Slip]:
    """The stretches of equal shift, save for those where it is 0; what says nothing belongs to what is around it."""
    first = shift = 0
    last_begin = 0  # of the last block that said something
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
    """The line, from the block at `good` to that at `begin`, at which one shift begins to fit better than another."""
    first = max(good, -before, -after)
    last = min(begin + BLOCK, len(src), len(tgt) - before, len(tgt) - after)
    lowest = first + min(before, after)
    logs = [np.log1p(side, dtype=np.float64) for side in (src[first:last], tgt[lowest : last + max(before, after)])]
    ratios = [logs[0] - logs[1][first + shift - lowest : last + shift - lowest] for shift in (before, after)]
    # The usual ratio of lengths is the same for both, so that what remains tells which one fits.
    usual = np.median(ratios[1][begin - first :])
    misfit = [np.abs(ratio - usual) for ratio in ratios]
    # All lines up to the change are fit by `before`, all from it on by `after`.
    gain = np.concatenate([[0.0], np.cumsum(misfit[1] - misfit[0])])
    return int(first + np.argmax(gain))


def _curve(blocks: list[_Block]) -> list[float]:
    """The agreement of neighbouring blocks, averaged to few points; 0 where nothing can be told."""
    values = np.array([block.agreement or 0.0 for block in blocks])
    if not len(values):
        return []
    return [round(float(part.mean()), 3) for part in np.array_split(values, min(NUM_POINTS, len(values)))]
