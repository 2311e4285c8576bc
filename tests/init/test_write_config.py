"""Batches that do not fit into the memory are made smaller, and each size is tried once."""

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest

from mtx.init import write_config as proposal
from mtx.init.corpus_stats import Looked
from mtx.init.recipe import Alphabet, Choice, CorpusFacts
from mtx.init.write_config import LARGEST_BATCH, SMALLEST_BATCH


@pytest.mark.parametrize("num_pairs", [9_000, 30_000, 160_000, 10**6, 10**8])
@pytest.mark.parametrize("fits", [0, 1_500, 10**6])
@pytest.mark.parametrize("kind", ["cpu", "cuda"])
def test_each_batch_is_smaller_than_the_one_before(
    num_pairs: int, fits: int, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[int] = []

    def measure(choices: Sequence[Choice], *_: Any) -> Any:
        [tokens] = [choice.value for choice in choices if choice.key == "batch_tokens"]
        tried.append(tokens)
        return SimpleNamespace(num_cuts=int(tokens > fits))

    monkeypatch.setattr(proposal, "_measure", measure)
    alphabet = Alphabet(60, 50)
    looked = Looked(CorpusFacts(num_pairs, alphabet, alphabet, alphabet, True, 200), 1, Counter(), (9.0, 9.0), [])
    choices, _ = proposal._choose(looked, "cpu", kind)
    assert tried[0] <= LARGEST_BATCH
    assert all(SMALLEST_BATCH <= later < sooner for sooner, later in pairwise(tried))
    assert tried[-1] <= max(fits, SMALLEST_BATCH)
    assert ("batch_tokens", tried[-1]) in [(choice.key, choice.value) for choice in choices]
