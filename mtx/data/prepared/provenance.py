"""Where pairs of a corpus came from, in the words of whoever looks them up there."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np

from mtx.config.sources import Source
from mtx.data.prepared.corpus import Corpus
from mtx.data.prepared.ids import Rows
from mtx.data.sources.read import reader


@dataclass(frozen=True, slots=True)
class Origin:
    """Lines of one source, or rows of a data set."""

    source: Source
    lines: list[int]
    """Counted from 1."""

    def __str__(self) -> str:
        lines = ", ".join(map(str, self.lines))
        return f"{reader(self.source).label} {'line' if len(self.lines) == 1 else 'lines'} {lines}"

    def to_json(self) -> dict[str, Any]:
        """The source as in a config, its paths absolute, and the lines."""
        return {"source": self.source.model_dump(mode="json", exclude_none=True), "lines": self.lines}


def origins(corpus: Corpus, sources: Sequence[Source], rows: Rows) -> Iterator[Origin]:
    """Where the pairs `rows` of `corpus` stand in its `sources`, in the order of these."""
    lines, start = corpus.lines[rows], 0
    for source, end in zip(sources, accumulate(corpus.source_sizes), strict=True):
        here = np.unique(lines[(start <= lines) & (lines < end)])
        if len(here):
            yield Origin(source, (here - start + 1).tolist())
        start = end
