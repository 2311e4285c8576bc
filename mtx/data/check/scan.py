"""Scan of one source: what each rule finds, lengths and scripts, and how well the lines of both sides correspond."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mtx.config.settings import CLEANING, CleanSettings, Config
from mtx.config.sources import Source
from mtx.data.check.alignment import MAX_LENGTH, Alignment, compare_lengths
from mtx.data.check.overlap import MAX_EXAMPLES, Example, OverlapIndex, example_of
from mtx.data.cleaning.clean import clean_chunk
from mtx.data.cleaning.duplicates import Hashes, HashSet64, pair_hashes
from mtx.data.cleaning.held_out import REASON as HELD_OUT
from mtx.data.cleaning.held_out import HeldOutKeys, read_held_out
from mtx.data.cleaning.rules import (
    UNUSABLE,
    Cleaner,
    build_cleaner,
    can_identify_languages,
    can_repair,
    size_of,
)
from mtx.data.cleaning.writing_systems import script_counts
from mtx.data.sources.base import Pair
from mtx.data.sources.chunks import Chunk, in_chunks
from mtx.data.sources.read import read_pairs, reader
from mtx.errors import ExitCode, UserError
from mtx.system.parallel import parallel_map

LENGTH_STEP, NUM_LENGTHS = 10, 41  # Width of a bar of the histogram of lengths in letters, and number of bars
MAX_SCRIPTS = 6  # Number of scripts reported for a side, the most frequent ones

DUPLICATES = {"pair": "duplicates", "src": "with a source that came before", "tgt": "with a target that came before"}
"""Findings about duplicates, by the part of a pair that occurred before."""

REPAIRED = "with damaged Unicode"

RULE_SETTINGS = {
    "damaged by a wrong encoding": "clean.damage=drop",
    "with markup on one side": "clean.markup=drop",
    "copies": "clean.copies=drop",
    "in another script": "clean.script=drop",
    "with other numbers": "clean.numbers=drop",
    "in another language": "clean.language=drop",
    "of unlike lengths": "clean.max_ratio",
}
"""The setting that enables each rule. Rules not listed are always on."""

Verdict = Literal["dropped", "would drop", "mended", "would mend", "noted"]


@dataclass(slots=True)
class Finding:
    """The pairs of a source that one rule is about. A pair may be in several findings."""

    rule: str
    verdict: Verdict
    """Treatment of such pairs by the config, or if the setting were on. Dev and test sets are not cleaned."""
    setting: str | None  # The config key that enables the rule; None if it is always on
    count: int = 0
    examples: list[Example] = field(default_factory=list)


@dataclass(slots=True)
class Side:
    """Statistics of one language of a source."""

    language: str
    num_letters: int = 0
    num_words: int = 0
    longest: int = 0  # Letters of the longest sentence, at most 65,535
    histogram: list[int] = field(default_factory=lambda: [0] * NUM_LENGTHS)
    """Number of sentences by length, in steps of `LENGTH_STEP` letters; the last bar has all longer ones."""
    scripts: dict[str, int] = field(default_factory=dict)  # Number of letters by script

    def add(self, num_words: int, sizes: NDArray[Any]) -> None:
        """Count sentences of these `sizes` in letters."""
        self.num_letters += int(sizes.sum(dtype=np.int64))
        self.num_words += num_words
        self.longest = max(self.longest, int(sizes.max(initial=0)))
        bars = np.bincount(np.minimum(sizes // LENGTH_STEP, NUM_LENGTHS - 1), minlength=NUM_LENGTHS)
        self.histogram = [before + int(more) for before, more in zip(self.histogram, bars, strict=True)]


@dataclass(slots=True)
class SourceReport:
    """The results of the scan of one source."""

    name: str
    role: str  # train, dev or test
    num_pairs: int
    num_dropped: int  # Pairs that the config drops, except those with too many tokens: there is no tokenizer yet
    findings: list[Finding]
    sides: list[Side]
    alignment: Alignment
    error: str | None  # The error that ended the reading early, if any


@dataclass(frozen=True, slots=True)
class ChunkFindings:
    """Findings about one chunk of pairs, without the others."""

    indices: dict[str, list[int]]  # Indices in the chunk of the pairs that each rule is about
    is_dropped: NDArray[np.bool_]  # Whether the config drops each pair, apart from duplicates
    is_usable: NDArray[np.bool_]  # Whether each pair has text on both sides
    hashes: dict[str, Hashes]  # Hashes of each pair and each side, by kind of duplicates
    lengths: NDArray[np.uint16]  # (2, pairs)
    num_words: tuple[int, int]
    scripts: tuple[Counter[str], Counter[str]]
    overlaps: list[list[NDArray[np.int64]]]  # The parts of each dev or test set that occur, for `OverlapIndex.mark`


@dataclass(frozen=True, slots=True)
class ChunkScanner:
    """Scans chunks of one source, in any process."""

    enabled: Cleaner  # The rules of the config
    every: Cleaner  # All rules
    held_out: HeldOutKeys  # Keys of the sentences that the config keeps from training because dev or test have them
    indexes: Sequence[OverlapIndex]
    tag: str | None  # Tag of the source; pairs with different tags are never duplicates

    def __call__(self, chunk: Chunk) -> ChunkFindings:
        cleaned = clean_chunk(chunk.pairs, self.enabled, self.held_out)
        pairs = cleaned.pairs
        indices: dict[str, list[int]] = {}
        for index, (pair, reason) in enumerate(zip(pairs, cleaned.reasons, strict=True)):
            for rule in self._rules_about(pair, reason, chunk.pairs[index]):
                indices.setdefault(rule, []).append(index)
        is_usable = np.array([reason not in UNUSABLE for reason in cleaned.reasons], np.bool_)
        to_compare = [
            pair for pair, reason in zip(pairs, cleaned.reasons, strict=True) if reason not in (*UNUSABLE, HELD_OUT)
        ]
        sides: list[Sequence[str]] = [[pair[side] for pair in pairs] for side in (0, 1)]
        hashes = {kind: pair_hashes(pairs, kind, self.tag) for kind in DUPLICATES}
        return ChunkFindings(
            indices,
            np.array([reason is not None for reason in cleaned.reasons], np.bool_),
            is_usable,
            {kind: each for kind, each in hashes.items() if each is not None},
            np.array([[min(size_of(text), MAX_LENGTH) for text in texts] for texts in sides], np.uint16),
            (len(" ".join(sides[0]).split()), len(" ".join(sides[1]).split())),
            (script_counts("".join(sides[0])), script_counts("".join(sides[1]))),
            [index.find(to_compare) for index in self.indexes],
        )

    def _rules_about(self, pair: Pair, reason: str | None, original: Pair) -> Iterator[str]:
        """All rules that `pair` breaks, given the first `reason` for which the config drops it."""
        if reason in (*UNUSABLE, HELD_OUT):
            yield str(reason)
        if reason in UNUSABLE:
            return
        for rule, is_broken in self.every.rules.items():
            # A pair without a reason passed all enabled rules.
            if rule == reason or (not (reason is None and rule in self.enabled.rules) and is_broken(*pair)):
                yield rule
        repaired = pair if self.enabled.is_repaired else self.every.repaired(pair)
        if repaired != original:
            yield REPAIRED


def build_scanner(config: Config, role: str, indexes: Sequence[OverlapIndex], tag: str | None) -> ChunkScanner:
    """The scanner of a source with this role and tag. Dev and test sets are not cleaned.

    Raises:
        UserError: a package that a rule of the config needs is not installed (MACHINE).
    """
    clean = settings_for(config, role)
    languages = config.data.src_lang, config.data.tgt_lang
    enabled = build_cleaner(clean, *languages)
    all_rules = {**CLEANING["strict"], "max_ratio": CleanSettings().max_ratio}
    all_rules |= {"language": "drop" if can_identify_languages() else "keep", "repair": can_repair()}
    every = build_cleaner(CleanSettings(**all_rules), *languages)
    held_out = read_held_out(config.data, clean, enabled)
    # For rules that the config enables, its own limits count.
    return ChunkScanner(enabled, every.with_rules(enabled.rules), held_out, indexes, tag)


def settings_for(config: Config, role: str) -> CleanSettings:
    """The rules for a source with this role."""
    return config.clean if role == "train" else CleanSettings(level="none")


class SeenPairs:
    """The pairs scanned so far: 8 bytes for each pair, source, target, and pair that is kept."""

    def __init__(self) -> None:
        self.by_kind = {kind: HashSet64() for kind in DUPLICATES}
        self.kept = HashSet64()


def scan_source(
    source: Source, role: str, config: Config, seen: SeenPairs, indexes: Sequence[OverlapIndex]
) -> SourceReport:
    """Scan all pairs of `source`, compare them with those `seen` before, and mark what `indexes` have of them.

    Apart from these, memory grows by 4 bytes for each pair: its lengths.

    Raises:
        UserError: not a single pair can be read (DATA); see `build_scanner`.
    """
    data, clean = config.data, settings_for(config, role)
    scanner = build_scanner(config, role, indexes, source.tag)
    findings: dict[str, Finding] = {}
    sides = Side(data.src_lang), Side(data.tgt_lang)
    scripts: tuple[Counter[str], Counter[str]] = (Counter(), Counter())
    lengths = [np.zeros((2, 0), np.uint16)]
    num_pairs = num_dropped = 0
    errors: list[str] = []
    pairs = _readable(read_pairs(source, data.src_lang, data.tgt_lang), errors)
    for chunk, part in parallel_map(in_chunks(pairs), scanner):
        indices = dict(part.indices)
        usable = np.flatnonzero(part.is_usable)
        for kind, rule in DUPLICATES.items():
            is_new = seen.by_kind[kind].add(part.hashes[kind][usable])
            indices[rule] = usable[~is_new].tolist()
        for rule, rule_indices in indices.items():
            finding = findings.setdefault(rule, Finding(rule, *_verdict(rule, role, scanner.enabled, clean)))
            finding.count += len(rule_indices)
            for index in rule_indices[: MAX_EXAMPLES - len(finding.examples)]:
                finding.examples.append(example_of(num_pairs + index + 1, chunk.pairs[index]))
        kept = np.flatnonzero(~part.is_dropped)
        num_dropped += len(chunk.pairs) - len(kept)
        if clean.duplicates != "keep":
            num_dropped += int(np.count_nonzero(~seen.kept.add(part.hashes[clean.duplicates][kept])))
        for side, num_words, sizes in zip(sides, part.num_words, part.lengths, strict=True):
            side.add(num_words, sizes)
        for counts, more in zip(scripts, part.scripts, strict=True):
            counts.update(more)
        for index_of_set, overlap in zip(indexes, part.overlaps, strict=True):
            index_of_set.mark(overlap)
        lengths.append(part.lengths)
        num_pairs += len(chunk.pairs)
    for side, counts in zip(sides, scripts, strict=True):
        side.scripts = dict(counts.most_common(MAX_SCRIPTS))
    return SourceReport(
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
    """All pairs up to an error of the data, which goes into `errors`; with no pair before it, it is raised."""
    has_pairs = False
    try:
        for pair in pairs:
            has_pairs = True
            yield pair
    except UserError as error:
        if error.code != ExitCode.DATA or not has_pairs:
            raise
        errors.append(error.lines[0])


def _verdict(rule: str, role: str, enabled: Cleaner, clean: CleanSettings) -> tuple[Verdict, str | None]:
    """Return how the config treats the pairs that `rule` is about, and the key that enables the rule."""
    verdicts: tuple[Verdict, Verdict] = ("dropped", "would drop")
    if rule == REPAIRED:
        setting, verdicts = "clean.repair=true", ("mended", "would mend")
        is_on = enabled.is_repaired
    elif rule in DUPLICATES.values():
        kind = next(kind for kind, name in DUPLICATES.items() if name == rule)
        setting = f"clean.duplicates={kind}"
        # If a pair came before, so did its source and its target.
        is_on = clean.duplicates == kind or (kind == "pair" and clean.duplicates != "keep")
    elif rule in RULE_SETTINGS:
        setting = RULE_SETTINGS[rule]
        is_on = rule in enabled.rules
    else:
        return "dropped", f"clean.held_out={clean.held_out}" if rule == HELD_OUT else None
    return (verdicts[0] if is_on else verdicts[1] if role == "train" else "noted"), setting
