"""One source looked at from its beginning to its end: what each rule says, what is in it, how its lines go together."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mtx.config.settings import CLEANING, CleanSettings, Config
from mtx.config.sources import Source
from mtx.data.check.alignment import LONGEST, Alignment, compare_lengths
from mtx.data.check.examples import MAX_EXAMPLES, Example, example_of
from mtx.data.check.overlap import HeldOut
from mtx.data.cleaning.duplicates import Hashes, Seen, pair_hashes
from mtx.data.cleaning.held_out import REASON as HELD_OUT
from mtx.data.cleaning.held_out import HeldOutTexts, read_held_out
from mtx.data.cleaning.rules import Cleaner, build_cleaner, can_repair, can_tell_languages, size_of, text_fault
from mtx.data.cleaning.writing_systems import script_counts
from mtx.data.sources.base import Pair
from mtx.data.sources.chunks import Chunk, in_chunks
from mtx.data.sources.read import read_pairs, reader
from mtx.errors import ExitCode, UserError
from mtx.system.parallel import parallel_map

LENGTH_STEP, NUM_LENGTHS = 10, 41
"""Letters that a bar of the histogram of lengths stands for, and how many bars there are."""

MAX_SCRIPTS = 6
"""Scripts of a side that are told, the most frequent ones."""

DUPLICATES = {"pair": "duplicates", "src": "with a source that came before", "tgt": "with a target that came before"}
"""What is said of pairs that are duplicates, by what of them came before."""
MENDED = "with damaged Unicode"

Verdict = Literal["dropped", "would drop", "mended", "would mend", "noted"]


@dataclass(slots=True)
class Finding:
    """What one rule says of a source. A pair may be under several."""

    rule: str
    verdict: Verdict
    """What the config does with such pairs, or would do if it were asked to; dev and test sets are not cleaned."""
    setting: str | None
    """The key of the config that asks for it; None for what is always dropped."""
    count: int = 0
    examples: list[Example] = field(default_factory=list)


@dataclass(slots=True)
class Side:
    """One language of a source."""

    language: str
    num_letters: int = 0
    num_words: int = 0
    longest: int = 0
    """Letters of its longest sentence, cut at 65,535."""
    histogram: list[int] = field(default_factory=lambda: [0] * NUM_LENGTHS)
    """Sentences by length, in steps of `LENGTH_STEP` letters; the last are longer than all."""
    scripts: dict[str, int] = field(default_factory=dict)
    """Letters by script."""


@dataclass(slots=True)
class Examined:
    """A source, looked at from its beginning to its end."""

    name: str
    role: str
    """train, dev or test."""
    num_pairs: int
    num_dropped: int
    """Pairs that the config drops, save for those that are too long in tokens, of which there are none yet."""
    findings: list[Finding]
    sides: list[Side]
    alignment: Alignment
    error: str | None
    """Why it could not be read to its end."""


@dataclass(frozen=True, slots=True)
class Look:
    """What is seen of one group of pairs by itself."""

    places: dict[str, list[int]]
    """Of each rule: the places in the group of the pairs that it is about."""
    is_dropped: NDArray[np.bool_]
    """Whether the config drops them, duplicates aside."""
    is_usable: NDArray[np.bool_]
    """Whether they have text on both sides."""
    hashes: dict[str, Hashes]
    """What stands for each pair and each side, for duplicates."""
    lengths: NDArray[np.uint16]
    """(2, pairs)"""
    num_words: tuple[int, int]
    scripts: tuple[Counter[str], Counter[str]]
    found: list[list[NDArray[np.int64]]]
    """What of each held-out set occurs in them."""


@dataclass(frozen=True, slots=True)
class Examiner:
    """What looks at groups of pairs, one by one and in any process."""

    wanted: Cleaner
    """The rules of the config."""
    every: Cleaner
    """All rules."""
    not_to_see: HeldOutTexts
    """What the config keeps from training since dev or test have it."""
    held_out: Sequence[HeldOut]
    tag: str | None
    """Of the source; pairs of another one are no duplicates."""

    def __call__(self, group: Chunk) -> Look:
        """What is seen of `group`."""
        pairs = [self.wanted.repaired(pair) for pair in group.pairs]
        places: dict[str, list[int]] = {}
        is_dropped = np.zeros(len(pairs), np.bool_)
        is_usable, is_seen = np.ones((2, len(pairs)), np.bool_)
        for place, pair in enumerate(pairs):
            if (fault := text_fault(pair)) is not None:
                reasons = [fault]
            else:
                reasons = [reason for reason, rule in self.every.rules.items() if rule(*pair)]
                if (seen := self.not_to_see.fault(pair)) is not None:
                    reasons.append(seen)
            is_dropped[place] = fault is not None or any(
                reason == HELD_OUT or reason in self.wanted.rules for reason in reasons
            )
            is_usable[place] = fault is None
            is_seen[place] = HELD_OUT not in reasons
            if self.every.is_repaired and fault is None and self._mended(pair, group.pairs[place]):
                reasons.append(MENDED)
            for reason in reasons:
                places.setdefault(reason, []).append(place)
        sides: list[Sequence[str]] = [[pair[side] for pair in pairs] for side in (0, 1)]
        hashes = {kind: pair_hashes(pairs, kind, self.tag) for kind in DUPLICATES}
        to_compare = [pair for pair, is_one in zip(pairs, is_usable & is_seen, strict=True) if is_one]
        return Look(
            places,
            is_dropped,
            is_usable,
            {kind: each for kind, each in hashes.items() if each is not None},
            np.array([[min(size_of(text), LONGEST) for text in texts] for texts in sides], np.uint16),
            (_num_words(sides[0]), _num_words(sides[1])),
            (script_counts("".join(sides[0])), script_counts("".join(sides[1]))),
            [each.find(to_compare) for each in self.held_out],
        )

    def _mended(self, pair: Pair, as_it_was: Pair) -> bool:
        return (pair if self.wanted.is_repaired else self.every.repaired(pair)) != as_it_was


def build_examiner(config: Config, role: str, held_out: Sequence[HeldOut], tag: str | None) -> Examiner:
    """What looks at the pairs of a source that is for `role` and has `tag`: dev and test sets are not cleaned.

    Raises:
        UserError: what a rule of the config needs is not installed (MACHINE).
    """
    clean = settings_for(config, role)
    languages = config.data.src_lang, config.data.tgt_lang
    wanted = build_cleaner(clean, *languages)
    all_rules = {**CLEANING["strict"], "max_ratio": CleanSettings().max_ratio}
    every = CleanSettings(**all_rules, language="drop" if can_tell_languages() else "keep", repair=can_repair())
    # Where the config has a rule, its own limit counts.
    all_rules_as_wanted = build_cleaner(every, *languages).with_rules(wanted.rules)
    return Examiner(wanted, all_rules_as_wanted, read_held_out(config.data, clean, wanted), held_out, tag)


def settings_for(config: Config, role: str) -> CleanSettings:
    """What is dropped of a source that is for `role`."""
    return config.clean if role == "train" else CleanSettings(level="none")


class Known:
    """Which pairs were seen before: 8 bytes for each pair, source, target, and pair that is kept."""

    def __init__(self) -> None:
        self.by_kind = {kind: Seen() for kind in DUPLICATES}
        self.kept = Seen()


def examine(source: Source, role: str, config: Config, known: Known, held_out: Sequence[HeldOut]) -> Examined:
    """Look at all pairs of `source`, and compare them with `known` ones and `held_out` sets.

    Beside these, what grows with the source is 4 bytes for each pair: its lengths.

    Raises:
        UserError: not one pair of it can be read (DATA); see `build_examiner`.
    """
    data, clean = config.data, settings_for(config, role)
    examiner = build_examiner(config, role, held_out, source.tag)
    findings: dict[str, Finding] = {}
    sides = Side(data.src_lang), Side(data.tgt_lang)
    scripts: tuple[Counter[str], Counter[str]] = (Counter(), Counter())
    lengths = [np.zeros((2, 0), np.uint16)]
    num_pairs = num_dropped = 0
    errors: list[str] = []
    pairs = _readable(read_pairs(source, data.src_lang, data.tgt_lang), errors)
    for group, look in parallel_map(in_chunks(pairs), examiner):
        places = dict(look.places)
        usable = np.flatnonzero(look.is_usable)
        for kind, rule in DUPLICATES.items():
            is_new = known.by_kind[kind].add(look.hashes[kind][usable])
            places[rule] = usable[~is_new].tolist()
        for rule, found in places.items():
            finding = findings.setdefault(rule, Finding(rule, *_verdict(rule, role, examiner.wanted, clean)))
            finding.count += len(found)
            for place in found[: MAX_EXAMPLES - len(finding.examples)]:
                finding.examples.append(example_of(num_pairs + place + 1, group.pairs[place]))
        kept = np.flatnonzero(~look.is_dropped)
        num_dropped += len(group.pairs) - len(kept)
        if clean.duplicates != "keep":
            num_dropped += int(np.count_nonzero(~known.kept.add(look.hashes[clean.duplicates][kept])))
        for side, words, sizes in zip(sides, look.num_words, look.lengths, strict=True):
            _measure(side, words, sizes)
        for counts, more in zip(scripts, look.scripts, strict=True):
            counts.update(more)
        for each, hits in zip(held_out, look.found, strict=True):
            each.note(hits)
        lengths.append(look.lengths)
        num_pairs += len(group.pairs)
    for side, counts in zip(sides, scripts, strict=True):
        side.scripts = dict(counts.most_common(MAX_SCRIPTS))
    return Examined(
        reader(source).label,
        role,
        num_pairs,
        num_dropped,
        sorted((each for each in findings.values() if each.count), key=lambda each: (each.verdict, -each.count)),
        list(sides),
        compare_lengths(*np.concatenate(lengths, axis=1)),
        errors[0] if errors else None,
    )


def _readable(pairs: Iterator[Pair], errors: list[str]) -> Iterator[Pair]:
    """All pairs; what ends them before their time, once there are some, goes into `errors`."""
    has_some = False
    try:
        for pair in pairs:
            has_some = True
            yield pair
    except UserError as error:
        if error.code != ExitCode.DATA or not has_some:
            raise
        errors.append(error.lines[0])


def _verdict(rule: str, role: str, wanted: Cleaner, clean: CleanSettings) -> tuple[Verdict, str | None]:
    """What the config does with the pairs that `rule` is about, and the key that asks for it."""
    if rule == MENDED:
        setting, verdicts = "clean.repair=true", _MENDS
        is_wanted = wanted.is_repaired
    elif rule in DUPLICATES.values():
        kind = next(kind for kind, name in DUPLICATES.items() if name == rule)
        setting, verdicts = f"clean.duplicates={kind}", _DROPS
        # A pair that came before has a source and a target that did.
        is_wanted = clean.duplicates == kind or (kind == "pair" and clean.duplicates != "keep")
    elif rule in SETTINGS:
        setting, verdicts = SETTINGS[rule], _DROPS
        is_wanted = rule in wanted.rules
    elif rule == HELD_OUT:
        return "dropped", f"clean.held_out={clean.held_out}"
    else:
        return "dropped", None
    return (verdicts[0] if is_wanted else verdicts[1] if role == "train" else "noted"), setting


_DROPS: tuple[Verdict, Verdict] = ("dropped", "would drop")
_MENDS: tuple[Verdict, Verdict] = ("mended", "would mend")
SETTINGS = {
    "damaged by a wrong encoding": "clean.damage=drop",
    "with markup on one side": "clean.markup=drop",
    "copies": "clean.copies=drop",
    "in another script": "clean.script=drop",
    "with other numbers": "clean.numbers=drop",
    "in another language": "clean.language=drop",
    "of unlike lengths": "clean.max_ratio",
}
"""What asks for each rule; for all others nobody has to."""


def _num_words(texts: Sequence[str]) -> int:
    return sum(len(text.split()) for text in texts)


def _measure(side: Side, num_words: int, sizes: NDArray[Any]) -> None:
    side.num_letters += int(sizes.sum(dtype=np.int64))
    side.num_words += num_words
    side.longest = max(side.longest, int(sizes.max(initial=0)))
    bars = np.bincount(np.minimum(sizes // LENGTH_STEP, NUM_LENGTHS - 1), minlength=NUM_LENGTHS)
    side.histogram = [before + int(more) for before, more in zip(side.histogram, bars, strict=True)]
