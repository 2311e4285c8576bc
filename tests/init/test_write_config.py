"""The batch is halved until it fits into the memory, and each size is tried once."""

from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest

from mtx.init import write_config as module
from mtx.init.corpus_stats import Alphabet, CorpusStats
from mtx.init.recipe import Settings
from mtx.init.write_config import MAX_BATCH, MIN_BATCH


@pytest.mark.parametrize("num_pairs", [9_000, 30_000, 160_000, 10**6, 10**8])
@pytest.mark.parametrize("fits", [0, 1_500, 10**6])
@pytest.mark.parametrize("kind", ["cpu", "cuda"])
def test_each_batch_is_smaller_than_the_one_before(
    num_pairs: int, fits: int, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[int] = []

    def measure(recipe: dict[str, Settings], *_: Any) -> Any:
        tokens, _reason = recipe["train"]["batch_tokens"]
        tried.append(tokens)
        return SimpleNamespace(num_splits=int(tokens > fits))

    monkeypatch.setattr(module, "_estimate", measure)
    alphabet = Alphabet(60, 50)
    stats = CorpusStats(num_pairs, alphabet, alphabet, alphabet, True, 200)
    recipe, _ = module._fit_to_memory(stats, "cpu", kind)
    assert tried[0] <= MAX_BATCH
    assert all(MIN_BATCH <= later < sooner for sooner, later in pairwise(tried))
    assert tried[-1] <= max(fits, MIN_BATCH)
    assert recipe["train"]["batch_tokens"][0] == tried[-1]
