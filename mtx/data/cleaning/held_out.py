"""Training pairs that dev or test hold, too: what `clean.held_out` drops."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Self

from mtx.config.settings import CleanSettings, DataSettings
from mtx.config.sources import Source
from mtx.data.cleaning.rules import Cleaner, text_fault
from mtx.data.cleaning.text_keys import text_keys
from mtx.data.sources.base import Pair
from mtx.data.sources.read import read_pairs

REASON = "in dev or test"


@dataclass(frozen=True, slots=True)
class HeldOutTexts:
    """What stands for the sentences that training must not see; none where it may see all."""

    sides: tuple[frozenset[int], frozenset[int]] = (frozenset(), frozenset())
    pairs: frozenset[int] = frozenset()

    @classmethod
    def of(cls, pairs: Iterable[Pair], rule: str) -> Self:
        """What the `rule` of `clean.held_out` drops for the sake of `pairs`."""
        keys = [text_keys(*pair) for pair in pairs]
        if rule == "side":
            return cls(sides=(frozenset(key[0] for key in keys), frozenset(key[1] for key in keys)))
        return cls(pairs=frozenset(key[2] for key in keys)) if rule == "pair" else cls()

    def fault(self, pair: Pair) -> str | None:
        """Why a training pair is dropped, if it is; case, spaces and punctuation make no difference."""
        if not self.pairs and not self.sides[0]:
            return None
        src, tgt, both = text_keys(*pair)
        return REASON if src in self.sides[0] or tgt in self.sides[1] or both in self.pairs else None


def pair_fault(pair: Pair, held_out: HeldOutTexts, cleaner: Cleaner) -> str | None:
    """Why a training pair is dropped before it is encoded: the first reason that there is."""
    return text_fault(pair) or held_out.fault(pair) or cleaner.fault(pair)


def held_out_sources(data: DataSettings) -> list[Source]:
    """The dev and the test set, as far as there are any."""
    return [source for source in (data.dev, data.test) if source is not None]


def read_held_out(data: DataSettings, clean: CleanSettings, cleaner: Cleaner) -> HeldOutTexts:
    """What must not be trained on by the config's rules.

    Raises:
        UserError: the dev or the test set can't be read (DATA).
    """
    return HeldOutTexts.of(_texts(data, cleaner), clean.held_out) if clean.held_out != "keep" else HeldOutTexts()


def _texts(data: DataSettings, cleaner: Cleaner) -> Iterator[Pair]:
    """The pairs as they are, and as training pairs are mended before they are compared."""
    for source in held_out_sources(data):
        for pair in read_pairs(source, data.src_lang, data.tgt_lang):
            yield pair
            if cleaner.is_repaired:
                yield cleaner.repaired(pair)
