"""The corpus of numbers: both sides hold the same ones, and the test set has long ones that training never shows."""

from collections import Counter
from itertools import chain, islice

import pytest

from scripts.bench.numbers import draw_pairs, numbers_in

Pairs = dict[str, list[tuple[str, str]]]


@pytest.fixture(scope="module")
def pairs() -> Pairs:
    return {split: list(islice(draw_pairs(split), 500)) for split in ("train", "dev", "test")}


@pytest.mark.parametrize(
    ("text", "numbers"),
    [("From 9:05 to 17:30.", ["905", "1730"]), ("It costs 1.234,50 $ or 12.", ["123450", "12"]), ("none", [])],
)
def test_numbers_are_found_whatever_separates_their_digits(text: str, numbers: list[str]) -> None:
    assert numbers_in(text) == numbers


def test_both_sides_hold_the_same_numbers(pairs: Pairs) -> None:
    for src, tgt in chain(*pairs.values()):
        assert Counter(numbers_in(src)) == Counter(numbers_in(tgt)) != Counter()


def test_training_has_no_long_number_of_the_test_set(pairs: Pairs) -> None:
    long = {
        split: {number for src, _ in of_split for number in numbers_in(src) if len(number) > 2}
        for split, of_split in pairs.items()
    }
    assert not (long["train"] | long["dev"]) & long["test"]
    assert len(long["test"]) > 100
