"""Sets that are drawn share no sentence with each other, are always the same, and come from everywhere."""

import random
import re
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtx.data.cleaning.held_out import HeldOutTexts
from mtx.init.split import Draw, set_size, split

NOTHING = HeldOutTexts()


def drawn(pairs: list[tuple[str, str]], size: int = 10_000, seed: int = 0) -> list[tuple[str, str]]:
    draw = Draw(size, seed)
    for pair in pairs:
        draw.add(*pair)
    return draw.pairs()


def plain(text: str) -> str:
    """Only its words, in small letters."""
    return " ".join(re.findall(r"\w+", text.casefold()))


texts = st.sampled_from(["a", "A.", "b", "b b", "c!", "c ?", "d", "e", "", " ", "…", "f\ng"])


@given(st.lists(st.tuples(texts, texts), max_size=40), st.integers(0, 5), st.integers(0, 5))
def test_no_sentence_comes_twice(pairs: list[tuple[str, str]], num_dev: int, num_test: int) -> None:
    given_sets = HeldOutTexts.of([("d", "xyz"), ("xyz", "e")], "side")
    dev, test = split(drawn(pairs), (num_dev, num_test), given_sets)
    assert len(dev) <= num_dev
    assert len(test) <= num_test
    for side, held in ((0, "d"), (1, "e")):
        found = [plain(pair[side]) for pair in [*dev, *test]]
        assert len(set(found)) == len(found)
        assert not {"", held} & set(found)
    known = {(plain(src), plain(tgt)) for src, tgt in pairs}
    assert all((plain(src), plain(tgt)) in known for src, tgt in [*dev, *test])
    assert not any("\n" in text for pair in [*dev, *test] for text in pair)


def test_too_few_are_shared_out() -> None:
    pairs = [(f"s{number}", f"t{number}") for number in range(10)]
    assert [len(part) for part in split(pairs, (8, 8), NOTHING)] == [5, 5]
    assert [len(part) for part in split(pairs, (8,), NOTHING)] == [8]
    assert split(pairs, (), NOTHING) == []
    assert split(pairs, (0, 0), NOTHING) == [[], []]


def test_the_same_whatever_the_order_and_how_often() -> None:
    pairs = [(f"source {number}", f"target {number}") for number in range(3_000)]
    shuffled = [*pairs, *pairs[:500]]
    random.Random(1).shuffle(shuffled)
    assert drawn(pairs, 100) == drawn(shuffled, 100)
    assert drawn(pairs, 100) != drawn(pairs, 100, seed=1)


def test_evenly_from_the_whole() -> None:
    """Over many draws each tenth of a corpus gives a tenth of the sample, frequent pairs no more than others."""
    pairs = [(f"s{number}", f"t{number}") for number in range(1_000)]
    corpus = [*pairs[:100] * 20, *pairs]
    tenths: Counter[int] = Counter()
    for seed in range(40):
        sample = drawn(corpus, 50, seed)[:50]
        tenths.update(int(src[1:]) // 100 for src, _ in sample)
    assert tenths.total() == 40 * 50
    assert all(120 < tenths[tenth] < 280 for tenth in range(10)), tenths  # 200 ± 5.6 standard deviations


@pytest.mark.parametrize("num_pairs", [1, 19, 399, 1_000, 1_150, 1_300, 5_000])
def test_different_pairs_are_counted_in_little_memory(num_pairs: int) -> None:
    draw = Draw(200)
    for number in range(num_pairs):
        for _ in range(2):
            draw.add(f"s {number}", f"t {number}")
        assert len(draw._kept) < 400
    if num_pairs < 400:
        assert draw.num_different == num_pairs
    assert draw.num_different == pytest.approx(num_pairs, rel=0.25)  # 3.5 standard deviations of 200


def test_a_set_is_a_twentieth_at_most() -> None:
    assert [set_size(number) for number in (0, 19, 20, 1_000, 40_000, 10**9)] == [0, 0, 1, 50, 2_000, 2_000]


def test_very_long_sentences_are_not_drawn() -> None:
    assert split([("word " * 1_000, "x"), ("y", "z")], (1, 1), NOTHING) == [[], []]
    assert split([("word " * 1_000, "x"), ("y", "z")], (1,), NOTHING) == [[("y", "z")]]
