"""Mixing of sources: the order of all pairs in an epoch, a pure function of (seed, epoch).

A source that is sampled more often is read in more permutations, one after the other, so that in the long run all of
its pairs occur equally often.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate, pairwise
from typing import Self

import numpy as np

from mtx.config.sources import Source
from mtx.data.prepared.corpus import Corpus, Rows
from mtx.errors import ExitCode, UserError


@dataclass(frozen=True, slots=True)
class Mixture:
    """The rows of each source in a corpus, and how often they occur in an epoch."""

    begins: tuple[int, ...]  # First row of each source, then the number of all rows
    repeats: tuple[float, ...]

    @classmethod
    def of(cls, corpus: Corpus, sources: Sequence[Source], temperature: float) -> Self:
        """Repeat each source by its weight, and smaller ones more often if the temperature is above 1.

        The share of source i among all pairs of an epoch is proportional to weight_i * size_i ** (1 / temperature)
        (Arivazhagan et al. 2019, section 4.2); the largest source is repeated exactly by its weight.

        Raises:
            UserError: the weights are so small that an epoch would have no pair (USAGE).
        """
        begins = tuple(map(corpus.lines.num_before, accumulate(corpus.source_sizes, initial=0)))
        sizes = [end - begin for begin, end in pairwise(begins)]
        repeats = [
            source.weight * (max(sizes) / size) ** (1 - 1 / temperature) if size else 0.0
            for source, size in zip(sources, sizes, strict=True)
        ]
        if not any(int(size * times) for size, times in zip(sizes, repeats, strict=True)):
            what = f"the weights of data.train leave none of {max(sizes)} pairs in an epoch"
            raise UserError(ExitCode.USAGE, what, do="Raise them: only their ratios matter.")
        return cls(begins, tuple(repeats))

    @lru_cache(maxsize=1)  # noqa: B019 - needed twice at the start of a run: 2 s for 20 million pairs
    def order(self, seed: int, epoch: int) -> Rows:
        """The rows of an epoch in order, before they are sorted into batches; read-only."""
        # 4 bytes if they suffice: for a hundred million pairs this is the largest array in memory.
        dtype = np.int32 if self.begins[-1] < 2**31 else np.int64
        parts: list[Rows] = [
            np.arange(begin, end, dtype=dtype)  # in any order: all rows are shuffled below
            if repeats == 1
            else begin + _sampled(number, end - begin, repeats, seed, epoch)
            for number, ((begin, end), repeats) in enumerate(zip(pairwise(self.begins), self.repeats, strict=True))
        ]
        rows: Rows = parts[0] if len(parts) == 1 else np.concatenate(parts, dtype=dtype)
        np.random.default_rng([seed, epoch]).shuffle(rows)
        rows.flags.writeable = False
        return rows


def _sampled(source: int, size: int, repeats: float, seed: int, epoch: int) -> Rows:
    """The rows of one source in an epoch: the next ones of its permutations, which continue from epoch to epoch."""
    begin, end = int(repeats * size * epoch), int(repeats * size * (epoch + 1))
    sampled = [np.zeros(0, np.int32)]
    for number in range(begin // max(size, 1), -(-end // max(size, 1))):
        permutation = np.random.default_rng([seed, source, number, 1]).permutation(np.arange(size, dtype=np.int32))
        sampled.append(permutation[max(begin - number * size, 0) : end - number * size])
    return np.concatenate(sampled)
