"""A prepared corpus: clean pairs as token ids."""

from collections.abc import Sequence
from dataclasses import dataclass

from mtx.data.cleaning.rules import format_kept
from mtx.data.prepared.ids import Ids, Lines


@dataclass(frozen=True, slots=True)
class Corpus:
    """Clean pairs as token ids, and counts of the others."""

    src: Ids
    tgt: Ids
    lines: Lines  # Where each pair was in the input, counted from 0 over all sources
    dropped: dict[str, int]  # Number of dropped pairs by reason
    num_equal: int  # Kept pairs whose two sides are the same text
    key: str  # sha256 of everything that decides the ids: text, tokenizer, options and the version of this code
    sources: Sequence[Sequence[str]] = ()  # Label and sha256 of each source
    source_sizes: tuple[int, ...] = ()  # Number of pairs of each source, including dropped ones

    def __len__(self) -> int:
        return len(self.lines)

    @property
    def num_read(self) -> int:
        """Number of pairs before cleaning."""
        return len(self) + sum(self.dropped.values())

    def summary(self) -> str:
        """One line, such as `kept 28,988 of 29,000 pairs: dropped 9 empty, 3 longer than 256 tokens`."""
        return format_kept(self.num_read, self.dropped)
