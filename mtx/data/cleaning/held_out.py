"""Training pairs that occur in the dev or test set, which `clean.held_out` drops."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Self

from mtx.config.settings import CleanSettings, DataSettings
from mtx.config.sources import Source
from mtx.data.cleaning.rules import Cleaner
from mtx.data.cleaning.text_keys import text_keys
from mtx.data.sources.base import Pair
from mtx.data.sources.read import read_pairs

REASON = "in dev or test"


@dataclass(frozen=True, slots=True)
class HeldOutKeys:
    """Hashes of sentences and pairs that training must not see."""

    sides: tuple[frozenset[int], frozenset[int]] = (frozenset(), frozenset())
    pairs: frozenset[int] = frozenset()

    @classmethod
    def of(cls, pairs: Iterable[Pair], rule: str) -> Self:
        """The keys of `pairs` that the `rule` of `clean.held_out` (side, pair or keep) drops."""
        keys = [text_keys(*pair) for pair in pairs]
        if rule == "side":
            return cls(sides=(frozenset(key[0] for key in keys), frozenset(key[1] for key in keys)))
        return cls(pairs=frozenset(key[2] for key in keys)) if rule == "pair" else cls()

    def drop_reason(self, pair: Pair) -> str | None:
        """The reason to drop a training pair, if it is held out regardless of case, spaces and punctuation."""
        if not self.pairs and not self.sides[0]:
            return None
        src, tgt, both = text_keys(*pair)
        return REASON if src in self.sides[0] or tgt in self.sides[1] or both in self.pairs else None


def held_out_sources(data: DataSettings) -> list[Source]:
    """The dev and the test set, if given."""
    return [source for source in (data.dev, data.test) if source is not None]


def read_held_out(data: DataSettings, clean: CleanSettings, cleaner: Cleaner) -> HeldOutKeys:
    """The keys of all that the config's `clean.held_out` keeps from training.

    Raises:
        UserError: the dev or the test set can't be read (DATA).
    """
    return HeldOutKeys.of(_held_out_pairs(data, cleaner), clean.held_out) if clean.held_out != "keep" else HeldOutKeys()


def _held_out_pairs(data: DataSettings, cleaner: Cleaner) -> Iterator[Pair]:
    """The pairs as they are and repaired, since training pairs are compared after their repair."""
    for source in held_out_sources(data):
        for pair in read_pairs(source, data.src_lang, data.tgt_lang):
            yield pair
            if cleaner.is_repaired:
                yield cleaner.repaired(pair)
