"""Provenance: the source and lines of pairs of a corpus."""

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
class SourceLines:
    """Lines of one source, or rows of a data set."""

    source: Source
    lines: list[int]  # Counted from 1

    def __str__(self) -> str:
        lines = ", ".join(map(str, self.lines))
        return f"{reader(self.source).label} {'line' if len(self.lines) == 1 else 'lines'} {lines}"

    def to_json(self) -> dict[str, Any]:
        """The source as in a config, with absolute paths, and the lines."""
        return {"source": self.source.model_dump(mode="json", exclude_none=True), "lines": self.lines}


def source_lines(corpus: Corpus, sources: Sequence[Source], rows: Rows) -> Iterator[SourceLines]:
    """Yield the lines that the pairs `rows` of `corpus` were read from, source by source."""
    lines, start = corpus.lines[rows], 0
    for source, end in zip(sources, accumulate(corpus.source_sizes), strict=True):
        in_source = np.unique(lines[(start <= lines) & (lines < end)])
        if len(in_source):
            yield SourceLines(source, (in_source - start + 1).tolist())
        start = end
