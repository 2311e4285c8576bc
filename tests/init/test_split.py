"""Dev and test sets share no sentence, are reproducible, and sample the corpus uniformly."""

import random
import re
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtx.data.cleaning.clean import HeldOutKeys
from mtx.init.split import HashSample, set_size, split

NOTHING = HeldOutKeys()


def sampled(pairs: list[tuple[str, str]], size: int = 10_000, seed: int = 0) -> list[tuple[str, str]]:
    sample = HashSample(size, seed)
    for pair in pairs:
        sample.add(*pair)
    return sample.pairs()


def plain(text: str) -> str:
    """The words of `text` in lower case."""
    return " ".join(re.findall(r"\w+", text.casefold()))


texts = st.sampled_from(["a", "A.", "b", "b b", "c!", "c ?", "d", "e", "", " ", "…", "f\ng"])


@given(st.lists(st.tuples(texts, texts), max_size=40), st.integers(0, 5), st.integers(0, 5))
def test_no_sentence_comes_twice(pairs: list[tuple[str, str]], num_dev: int, num_test: int) -> None:
    given_sets = HeldOutKeys.of([("d", "xyz"), ("xyz", "e")], "side")
    dev, test = split(sampled(pairs), (num_dev, num_test), given_sets)
    assert len(dev) <= num_dev
    assert len(test) <= num_test
    for side, held in ((0, "d"), (1, "e")):
        found = [plain(pair[side]) for pair in [*dev, *test]]
        assert len(set(found)) == len(found)
        assert not {"", held} & set(found)
    known = {(plain(src), plain(tgt)) for src, tgt in pairs}
    assert all((plain(src), plain(tgt)) in known for src, tgt in [*dev, *test])
    assert not any("\n" in text for pair in [*dev, *test] for text in pair)


def test_too_few_pairs_are_shared_between_the_sets() -> None:
    pairs = [(f"s{number}", f"t{number}") for number in range(10)]
    assert [len(part) for part in split(pairs, (8, 8), NOTHING)] == [5, 5]
    assert [len(part) for part in split(pairs, (8,), NOTHING)] == [8]
    assert split(pairs, (), NOTHING) == []
    assert split(pairs, (0, 0), NOTHING) == [[], []]


def test_order_and_frequency_do_not_change_the_sample() -> None:
    pairs = [(f"source {number}", f"target {number}") for number in range(3_000)]
    shuffled = [*pairs, *pairs[:500]]
    random.Random(1).shuffle(shuffled)
    assert sampled(pairs, 100) == sampled(shuffled, 100)
    assert sampled(pairs, 100) != sampled(pairs, 100, seed=1)


def test_the_sample_is_uniform() -> None:
    """Over many samples, each tenth of a corpus gives a tenth of the pairs, frequent pairs no more than others."""
    pairs = [(f"s{number}", f"t{number}") for number in range(1_000)]
    corpus = [*pairs[:100] * 20, *pairs]
    tenths: Counter[int] = Counter()
    for seed in range(40):
        sample = sampled(corpus, 50, seed)[:50]
        tenths.update(int(src[1:]) // 100 for src, _ in sample)
    assert tenths.total() == 40 * 50
    assert all(120 < tenths[tenth] < 280 for tenth in range(10)), tenths  # 200 ± 5.6 standard deviations


@pytest.mark.parametrize("num_pairs", [1, 19, 399, 1_000, 1_150, 1_300, 5_000])
def test_distinct_pairs_are_counted_in_bounded_memory(num_pairs: int) -> None:
    sample = HashSample(200)
    for number in range(num_pairs):
        for _ in range(2):
            sample.add(f"s {number}", f"t {number}")
        assert len(sample._kept) < 400
    if num_pairs < 400:
        assert sample.num_distinct == num_pairs
    assert sample.num_distinct == pytest.approx(num_pairs, rel=0.25)  # 3.5 standard deviations of 200


def test_a_set_is_a_twentieth_at_most() -> None:
    assert [set_size(number) for number in (0, 19, 20, 1_000, 40_000, 10**9)] == [0, 0, 1, 50, 2_000, 2_000]


def test_very_long_sentences_are_left_out() -> None:
    assert split([("word " * 1_000, "x"), ("y", "z")], (1, 1), NOTHING) == [[], []]
    assert split([("word " * 1_000, "x"), ("y", "z")], (1,), NOTHING) == [[("y", "z")]]
