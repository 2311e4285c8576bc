"""A missing line is found where it is missing; text that is aligned is left in peace."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtx.data.check.alignment import BLOCK, MAX_LENGTH, MAX_SHIFT, NUM_POINTS, Lengths, compare_lengths

CLOSE = 15
"""Lines by which a shift may be told too early or too late: neighbours are often about as long."""


def real_looking(num_lines: int, seed: int, noise: float = 0.2) -> tuple[Lengths, Lengths]:
    """Lengths of sentences and of their translations, which correlate by about 0.9, as in Multi30k."""
    random = np.random.default_rng(seed)
    src = random.lognormal(4, 0.45, num_lines)
    tgt = 1.2 * src * random.lognormal(0, noise, num_lines)
    return np.clip(src, 1, MAX_LENGTH).astype(np.uint16), np.clip(tgt, 1, MAX_LENGTH).astype(np.uint16)


@settings(max_examples=40)
@given(st.integers(0, 2**32 - 1), st.integers(0, 3000), st.floats(0.05, 0.45))
def test_aligned_text_gives_no_slip(seed: int, num_lines: int, noise: float) -> None:
    alignment = compare_lengths(*real_looking(num_lines, seed, noise))
    assert alignment.slips == []
    assert (alignment.num_unrelated, alignment.first_unrelated) == (0, None)
    assert all(value > 0.5 for value in alignment.agreement)


@pytest.mark.slow
@settings(max_examples=40)
@given(st.integers(0, 2**32 - 1), st.integers(BLOCK, 3000), st.integers(1, MAX_SHIFT), st.booleans())
def test_lines_that_are_missing_on_one_side_are_found(seed: int, place: int, missing: int, in_target: bool) -> None:
    sides = list(real_looking(4000, seed))
    sides[in_target] = np.delete(sides[in_target], slice(place, place + missing))
    length = min(map(len, sides))
    [slip] = compare_lengths(sides[0][:length], sides[1][:length]).slips
    assert slip.shift == (-missing if in_target else missing)
    assert abs(slip.begin - (place + 1)) <= CLOSE + missing
    assert slip.end == length


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1), st.integers(300, 1500), st.integers(1000, 2000))
def test_a_shift_ends_where_a_line_is_missing_on_the_other_side(seed: int, place: int, distance: int) -> None:
    src, tgt = real_looking(5000, seed)
    src, tgt = np.delete(src, place), np.delete(tgt, place + distance)
    [slip] = compare_lengths(src, tgt).slips
    assert slip.shift == 1
    assert abs(slip.begin - (place + 1)) <= CLOSE
    assert abs(slip.end - (place + distance)) <= CLOSE


def test_shifts_add_up() -> None:
    src, tgt = real_looking(6000, 5)
    tgt = np.delete(tgt, [1000, 3000, 3001])
    slips = compare_lengths(src[: len(tgt)], tgt).slips
    assert [slip.shift for slip in slips] == [-1, -3]
    assert slips[0].end + 1 == slips[1].begin
    assert abs(slips[1].begin - 3001) <= CLOSE
    assert str(slips[0]).startswith("lines ")
    assert str(slips[0]).endswith(": line n of the source corresponds to line n - 1 of the target")


def test_a_stretch_that_says_nothing_does_not_end_a_shift() -> None:
    src, tgt = real_looking(6000, 6)
    tgt = np.delete(tgt, 1000)
    src = src[:-1].copy()
    tgt[3000:3600] = 50
    [slip] = compare_lengths(src, tgt).slips
    assert slip.end == len(src)


def test_sides_that_have_nothing_to_do_with_each_other() -> None:
    src, tgt = real_looking(3000, 7)
    mixed = tgt.copy()
    mixed[1000:] = np.random.default_rng(1).permutation(mixed[1000:])
    alignment = compare_lengths(src, mixed)
    assert alignment.slips == []
    assert (alignment.num_unrelated, alignment.first_unrelated) == (2000, 1001)
    assert all(value > 0.5 for value in alignment.agreement[:5])
    assert all(value < 0.3 for value in alignment.agreement[5:])


@pytest.mark.parametrize("length", [0, 1, BLOCK // 2 - 1, BLOCK // 2, 3 * BLOCK])
def test_what_is_all_as_long_or_empty_says_nothing(length: int) -> None:
    for value in (0, 40):
        same = np.full(length, value, np.uint16)
        alignment = compare_lengths(same, same)
        assert (alignment.slips, alignment.num_unrelated) == ([], 0)


def test_what_is_nearly_all_as_long_says_nothing() -> None:
    random = np.random.default_rng(3)
    src, tgt = (random.integers(48, 53, 2000).astype(np.uint16) for _ in range(2))
    alignment = compare_lengths(src, tgt)
    assert (alignment.slips, alignment.num_unrelated) == ([], 0)


def test_empty_lines_are_left_out_of_account() -> None:
    src, tgt = real_looking(2000, 8)
    random = np.random.default_rng(2)
    src[random.random(2000) < 0.3] = 0
    tgt[random.random(2000) < 0.3] = 0
    alignment = compare_lengths(src, tgt)
    assert (alignment.slips, alignment.num_unrelated) == ([], 0)
    assert min(alignment.agreement) > 0.5


def test_the_curve_has_few_points() -> None:
    assert len(compare_lengths(*real_looking(NUM_POINTS * BLOCK * 2, 9)).agreement) == NUM_POINTS
    assert len(compare_lengths(*real_looking(3 * BLOCK, 9)).agreement) == 3
