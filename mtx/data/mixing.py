"""In which order the pairs of several sources come: a pure function of (seed, epoch).

A source that is asked for more often than another is read in more permutations of it, one after the other, so that in
the long run each of its pairs comes as often as any other of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Self

import numpy as np

from mtx.config.sources import Source
from mtx.data.prepared.corpus import Corpus
from mtx.data.prepared.ids import Rows
from mtx.errors import ExitCode, UserError


@dataclass(frozen=True, slots=True)
class Mixture:
    """Neighbouring rows of a corpus that come from one source, and how often each of them comes in an epoch."""

    begins: tuple[int, ...]
    """The first row of each source, and the number of all rows."""
    repeats: tuple[float, ...]

    @classmethod
    def of(cls, corpus: Corpus, sources: Sequence[Source], temperature: float) -> Self:
        """Each source as often as its weight says, smaller ones more often if the temperature is above 1.

        Of pairs that are drawn, source i then makes a share in proportion to weight_i * size_i ** (1 / temperature)
        (Arivazhagan et al. 2019, section 4.2), and the largest comes as often as its weight says.

        Raises:
            UserError: the weights are so small that an epoch would hold no pair (USAGE).
        """
        ends = np.cumsum([0, *corpus.source_sizes])
        begins = tuple(corpus.lines.num_before(int(end)) for end in ends)
        sizes = [end - begin for begin, end in pairwise(begins)]
        repeats = [
            source.weight * (max(sizes) / size) ** (1 - 1 / temperature) if size else 0.0
            for source, size in zip(sources, sizes, strict=True)
        ]
        if not any(int(size * times) for size, times in zip(sizes, repeats, strict=True)):
            what = f"the weights of data.train leave no pair of {max(sizes)} in an epoch"
            raise UserError(ExitCode.USAGE, what, do="Raise them: what counts is how they compare.")
        return cls(begins, tuple(repeats))

    def order(self, seed: int, epoch: int) -> Rows:
        """The rows of an epoch in its order, before they are sorted into batches; read-only."""
        return _order(self, seed, epoch)


@lru_cache(maxsize=1)  # asked for when a run is announced, and when it begins: 2 s for 20 million pairs
def _order(mixture: Mixture, seed: int, epoch: int) -> Rows:
    # Of 4 bytes where that will do: for a hundred million pairs it is the largest thing in memory.
    dtype = np.int32 if mixture.begins[-1] < 2**31 else np.int64
    parts: list[Rows] = [
        np.arange(begin, end, dtype=dtype)  # all of them, in any order: all are shuffled after
        if repeats == 1
        else begin + _drawn(number, end - begin, repeats, seed, epoch)
        for number, ((begin, end), repeats) in enumerate(zip(pairwise(mixture.begins), mixture.repeats, strict=True))
    ]
    rows: Rows = parts[0] if len(parts) == 1 else np.concatenate(parts, dtype=dtype)
    np.random.default_rng([seed, epoch]).shuffle(rows)
    rows.flags.writeable = False
    return rows


def _drawn(source: int, size: int, repeats: float, seed: int, epoch: int) -> Rows:
    """The rows of one source in an epoch: the next ones of its permutations, which go on from epoch to epoch."""
    begin, end = int(repeats * size * epoch), int(repeats * size * (epoch + 1))
    drawn = [np.zeros(0, np.int32)]
    for number in range(begin // max(size, 1), -(-end // max(size, 1))):
        permutation = np.random.default_rng([seed, source, number, 1]).permutation(np.arange(size, dtype=np.int32))
        drawn.append(permutation[max(begin - number * size, 0) : end - number * size])
    return np.concatenate(drawn)
