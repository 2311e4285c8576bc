"""A prepared corpus: clean pairs as ids."""

from collections.abc import Sequence
from dataclasses import dataclass

from mtx.data.cleaning.rules import kept_in_words
from mtx.data.prepared.ids import Ids, Lines


@dataclass(frozen=True, slots=True)
class Corpus:
    """Clean pairs as ids, and what became of the others."""

    src: Ids
    tgt: Ids
    lines: Lines
    """Where each pair stood in the input, counted from 0 over all sources."""
    dropped: dict[str, int]
    """How many pairs were dropped, by reason."""
    num_equal: int
    """Kept pairs whose two sides are the same text."""
    key: str
    """sha256 of all that decides the ids: text, tokenizer, options and this code's version."""
    sources: Sequence[Sequence[str]] = ()
    """Name and sha256 of each source."""
    source_sizes: tuple[int, ...] = ()
    """How many pairs each source has, dropped ones too."""

    def __len__(self) -> int:
        return len(self.lines)

    @property
    def num_read(self) -> int:
        return len(self) + sum(self.dropped.values())

    def summary(self) -> str:
        """One line, such as `kept 28,988 of 29,000 pairs: dropped 9 empty, 3 longer than 256 tokens`."""
        return kept_in_words(self.num_read, self.dropped)
