"""Cleaning of one chunk of pairs, the same for training, `mtx data check` and `mtx data clean`."""

from collections.abc import Sequence
from dataclasses import dataclass

from mtx.data.cleaning.held_out import HeldOutKeys
from mtx.data.cleaning.rules import Cleaner, unusable_reason
from mtx.data.sources.base import Pair


@dataclass(frozen=True, slots=True)
class CleanedChunk:
    """The pairs of a chunk, repaired if the config asks for it, and why they are dropped.

    Duplicates are not among the reasons: they are found later, across chunks.
    """

    pairs: Sequence[Pair]
    reasons: list[str | None]  # The first reason to drop each pair; None if it is kept

    @property
    def kept(self) -> list[int]:
        """Indices of the pairs that are kept."""
        return [index for index, reason in enumerate(self.reasons) if reason is None]


def clean_chunk(pairs: Sequence[Pair], cleaner: Cleaner, held_out: HeldOutKeys) -> CleanedChunk:
    """Repair `pairs` and apply the rules to each."""
    pairs = [cleaner.repaired(pair) for pair in pairs]
    return CleanedChunk(pairs, [drop_reason(pair, held_out, cleaner) for pair in pairs])


def drop_reason(pair: Pair, held_out: HeldOutKeys, cleaner: Cleaner) -> str | None:
    """The first reason to drop a training pair before it is encoded."""
    return unusable_reason(pair) or held_out.drop_reason(pair) or cleaner.drop_reason(pair)
