"""Cleaning: the pairs that a config drops, the same for training, `mtx data check` and `mtx data clean`."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from mtx.config.settings import CleanSettings, DataSettings
from mtx.config.sources import Source
from mtx.data.cleaning.hashes import text_keys
from mtx.data.cleaning.rules import Rule, enabled_rules, load_fixer, repair
from mtx.data.sources.base import NoPair, Pair
from mtx.data.sources.read import read_pairs
from mtx.errors import ExitCode, UserError

MAX_SENTENCE_BYTES = 1_000_000  # Longer sentences are always dropped
TOO_LONG, EMPTY = "over 1 MB", "empty"  # Reasons to drop a pair under any config
HELD_OUT = "in dev or test"  # Reason to drop a pair under `clean.held_out`


@dataclass(frozen=True, slots=True)
class HeldOutKeys:
    """Hashes of sentences and pairs that training must not see."""

    keys: tuple[frozenset[int], ...] = ()  # Hashes of sources, targets and pairs

    @classmethod
    def of(cls, pairs: Iterable[Pair], rule: str) -> Self:
        """The keys of `pairs` that the `rule` of `clean.held_out` (side or pair) drops."""
        found = [text_keys(*pair) for pair in pairs]
        kinds = (2,) if rule == "pair" else (0, 1)
        return cls(tuple(frozenset(keys[kind] for keys in found if kind in kinds) for kind in range(3)))

    def __contains__(self, pair: Pair) -> bool:
        """Whether `pair` is held out, regardless of case, spaces and punctuation."""
        if not any(self.keys):
            return False
        return any(key in known for key, known in zip(text_keys(*pair), self.keys, strict=True))


NOTHING = HeldOutKeys()


@dataclass(frozen=True, slots=True)
class Cleaner:
    """The cleaning that a config asks for."""

    rules: dict[str, Rule]  # By the reason that they give for dropping a pair
    is_repaired: bool  # Whether damaged Unicode is repaired
    held_out: HeldOutKeys = NOTHING

    def repaired(self, pair: Pair) -> Pair:
        """`pair`, with damaged Unicode repaired if the config asks for it."""
        return (repair(pair[0]), repair(pair[1])) if self.is_repaired and not isinstance(pair, NoPair) else pair

    def drop_reason(self, pair: Pair) -> str | None:
        """The first reason to drop `pair`, if any; duplicates and pairs with too many tokens are found later."""
        for text in pair:
            if len(text) > MAX_SENTENCE_BYTES // 4 and len(text.encode()) > MAX_SENTENCE_BYTES:
                return TOO_LONG
        if not all(text.strip() for text in pair):
            return pair.reason if isinstance(pair, NoPair) else EMPTY
        if pair in self.held_out:
            return HELD_OUT
        return next((reason for reason, rule in self.rules.items() if rule(*pair)), None)

    def clean(self, pairs: Sequence[Pair]) -> tuple[list[Pair], list[str | None]]:
        """`pairs` after their repair, and for each the first reason to drop it, or None."""
        pairs = [self.repaired(pair) for pair in pairs]
        return pairs, [self.drop_reason(pair) for pair in pairs]

    def kept(self, pairs: Iterable[Pair]) -> Iterator[Pair]:
        """The pairs that are not dropped, repaired."""
        return (pair for pair in map(self.repaired, pairs) if self.drop_reason(pair) is None)


def build_cleaner(clean: CleanSettings, src_lang: str, tgt_lang: str, held_out: HeldOutKeys = NOTHING) -> Cleaner:
    """The cleaner that `clean` asks for.

    Raises:
        UserError: a package that a rule needs is not installed (MACHINE).
    """
    if clean.repair:
        load_fixer()
    return Cleaner(enabled_rules(clean, src_lang, tgt_lang), clean.repair, held_out)


def read_cleaners(data: DataSettings, clean: CleanSettings, sources: Sequence[Source]) -> list[Cleaner]:
    """The cleaner of each of `sources`, which also drops what `clean.held_out` keeps from training.

    Raises:
        UserError: a dev or a test set can't be read (DATA); see `build_cleaner`.
    """
    held_out = read_held_out(data, clean)
    return [build_cleaner(clean, *data.languages_of(source), held_out) for source in sources]


def read_held_out(data: DataSettings, clean: CleanSettings) -> HeldOutKeys:
    """The pairs and sentences that `clean.held_out` keeps from training.

    Raises:
        UserError: a dev or a test set can't be read (DATA); see `build_cleaner`.
    """
    if clean.held_out == "keep":
        return NOTHING
    pairs = (pair for source in data.held_out for pair in read_pairs(source, data.src_lang, data.tgt_lang))
    # Training pairs are compared after their repair.
    cleaner = Cleaner({}, clean.repair)
    return HeldOutKeys.of((each for pair in pairs for each in {pair, cleaner.repaired(pair)}), clean.held_out)


def format_reasons(dropped: Mapping[str, int]) -> str:
    """Format counts by reason: `9 empty, 3 duplicate`."""
    return ", ".join(f"{count:,} {reason}" for reason, count in dropped.items())


def format_kept(num_read: int, dropped: Mapping[str, int]) -> str:
    """Format counts in one line: `kept 28,988 of 29,000 pairs: dropped 9 empty, 3 duplicate`."""
    what = f": dropped {format_reasons(dropped)}" if dropped else ""
    return f"kept {num_read - sum(dropped.values()):,} of {num_read:,} pairs{what}"


def nothing_kept(num_read: int, dropped: Mapping[str, int], where: str) -> UserError:
    """The error for sources of which no pair is left to train on."""
    why = f": dropped {format_reasons(dropped)}" if dropped else ""
    what = f"no pair of sentences to use among {num_read:,}{why}"
    return UserError(ExitCode.DATA, what, where=where, do="Give pairs with text on both sides.")
