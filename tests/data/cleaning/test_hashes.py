"""Hashes seen before are recognized, whatever order they arrive in."""

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mtx.data.cleaning.hashes import GROWTH, HashSet64, hash_of


@given(st.lists(st.lists(st.integers(0, 40).map(lambda number: number * 2**58 % 2**64 + number), max_size=30)))
def test_the_same_as_a_set(groups: list[list[int]]) -> None:
    seen, known = HashSet64(), set[int]()
    for group in groups:
        expected = []
        for number in group:
            expected.append(number not in known)
            known.add(number)
        assert seen.add(np.array(group, np.uint64)).tolist() == expected


def test_runs_stay_few() -> None:
    seen, random = HashSet64(), np.random.default_rng(1)
    for _ in range(300):
        assert seen.add(random.integers(0, 2**64, 500, np.uint64)).all()
    for runs in seen._parts:
        sizes = [len(run) for run in runs]
        assert all(longer >= GROWTH * shorter for longer, shorter in pairwise(sizes))
        assert all((np.diff(run.astype(object)) > 0).all() for run in runs)


def test_hashes_tell_texts_apart() -> None:
    texts = [("a", "b"), ("b", "a"), ("ab", ""), ("", "ab"), ("a",), ("b",), ("é", "e"), ("e", "é")]
    assert len({hash_of(*text) for text in texts}) == len(texts)
    assert hash_of("a", "b") == hash_of("a", "b") < 2**64
