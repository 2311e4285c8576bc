"""Epochs of mixed sources: shares as asked for, every pair as often as its neighbours, a function of seed and epoch."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtx.config.sources import Demo
from mtx.data.mixing import Mixture
from mtx.data.prepared.corpus import Corpus, Ids, Lines
from mtx.errors import ExitCode, UserError

SIZES = st.lists(st.tuples(st.integers(0, 30), st.floats(0.05, 4)), min_size=1, max_size=4)


def mixture_of(sources: list[tuple[int, float]]) -> Mixture:
    begins = np.cumsum([0, *(size for size, _ in sources)]).tolist()
    return Mixture(tuple(begins), tuple(repeats for _, repeats in sources))


@given(SIZES, st.integers(0, 5), st.integers(1, 6))
def test_each_pair_comes_as_often_as_asked_for(sources: list[tuple[int, float]], seed: int, num_epochs: int) -> None:
    mixture = mixture_of(sources)
    rows = np.concatenate([mixture.order(seed, epoch) for epoch in range(num_epochs)])
    counts = np.bincount(rows, minlength=mixture.begins[-1])
    for (begin, end), (size, repeats) in zip(pairwise(mixture.begins), sources, strict=True):
        here = counts[begin:end]
        assert here.sum() == int(repeats * size * num_epochs)
        assert size == 0 or here.max() - here.min() <= 1


@given(SIZES, st.integers(0, 5), st.integers(0, 5))
def test_the_order_is_a_function_of_seed_and_epoch(sources: list[tuple[int, float]], seed: int, epoch: int) -> None:
    orders = []
    for _ in "ab":
        orders.append(mixture_of(sources).order(seed, epoch).tolist())
        mixture_of(sources).order(seed + 1, epoch)  # what was made last is remembered
    assert orders[0] == orders[1]


def test_an_order_is_made_once_and_not_to_be_changed() -> None:
    order = mixture_of([(300, 1.0)]).order(1, 0)
    assert mixture_of([(300, 1.0)]).order(1, 0) is order
    with pytest.raises(ValueError, match="read-only"):
        order[0] = 0


def test_sources_are_mixed_and_no_two_epochs_alike() -> None:
    mixture = mixture_of([(300, 1.0), (100, 2.0)])
    first, second = (mixture.order(1, epoch) for epoch in (0, 1))
    assert first.tolist() != second.tolist()
    assert sorted(first.tolist()) == sorted(second.tolist())
    assert mixture.order(2, 0).tolist() != first.tolist()
    for part in np.split(first, 5):
        assert 20 < np.count_nonzero(part >= 300) < 60, "of 40 expected"
    assert first.dtype == np.int32


def corpus_of(sizes: list[int], dropped_each: int = 0) -> Corpus:
    """A corpus of so many pairs from each source, of which so many more were dropped at its beginning."""
    kept, line = [], 0
    for size in sizes:
        kept += range(line + dropped_each, line + dropped_each + size)
        line += dropped_each + size
    ids = Ids.from_lists([[5]] * len(kept))
    read = tuple(size + dropped_each for size in sizes)
    return Corpus(ids, ids, Lines([np.array(kept)]), {}, 0, "", source_sizes=read)


def test_weights_and_temperature_give_the_shares_of_the_paper() -> None:
    sizes, weights, temperature = [1000, 100, 10], [1.0, 2.0, 1.0], 5.0
    sources = [Demo(demo="train", weight=weight) for weight in weights]
    mixture = Mixture.of(corpus_of(sizes, dropped_each=3), sources, temperature)
    assert mixture.begins == (0, 1000, 1100, 1110)
    order = mixture.order(1, 0)
    shares = np.histogram(order, mixture.begins)[0] / len(order)
    expected = np.array([weight * size ** (1 / temperature) for weight, size in zip(weights, sizes, strict=True)])
    assert shares == pytest.approx(expected / expected.sum(), abs=2e-3)
    assert mixture.repeats[0] == 1, "the largest comes as often as its weight says"


def test_an_epoch_without_a_pair_is_an_error() -> None:
    sizes = [5, 3]
    with pytest.raises(UserError, match=r"the weights of data\.train leave none of 5 pairs in an epoch") as caught:
        Mixture.of(corpus_of(sizes), [Demo(demo="train", weight=0.19)] * 2, 1.0)
    assert caught.value.code == ExitCode.USAGE
    mixture = Mixture.of(corpus_of(sizes), [Demo(demo="train", weight=0.2), Demo(demo="dev", weight=0.19)], 1.0)
    assert len(mixture.order(1, 0)) == 1


def test_without_weights_all_come_once() -> None:
    sources = [Demo(demo="train"), Demo(demo="dev"), Demo(demo="test")]
    mixture = Mixture.of(corpus_of([5, 0, 3]), sources, 1.0)
    assert mixture.repeats == (1.0, 0.0, 1.0)
    assert sorted(mixture.order(1, 0).tolist()) == list(range(8))
