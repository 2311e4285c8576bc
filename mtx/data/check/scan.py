"""Scan of one source: what each rule finds, lengths and scripts, and how well the lines of both sides correspond."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from itertools import compress, islice
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from mtx.config.settings import CleanSettings, Config
from mtx.config.sources import Source
from mtx.data.check.alignment import MAX_LENGTH, Alignment, compare_lengths
from mtx.data.check.overlap import MAX_EXAMPLES, Example, OverlapIndex, example_of
from mtx.data.cleaning.clean import HELD_OUT, Cleaner, build_cleaner, read_cleaners
from mtx.data.cleaning.hashes import Hashes, HashSet64, pair_hashes
from mtx.data.cleaning.rules import RULES, size_of
from mtx.data.sources.base import NoPair, Pair
from mtx.data.sources.read import Chunk, in_chunks, read_pairs, reader
from mtx.data.sources.variants import Variants
from mtx.errors import ExitCode, UserError
from mtx.system.parallel import parallel_map
from mtx.text.writing_systems import script_counts

LENGTH_STEP, NUM_LENGTHS = 10, 41  # Width of a bar of the histogram of lengths in letters, and number of bars
MAX_SCRIPTS = 6  # Number of scripts reported for a side, the most frequent ones
REPAIRED = "with damaged Unicode"
RULE_KEYS = {reason: key for key, (reason, _) in RULES.items()}  # Keys under `clean`, by the reason that a rule gives
WITHOUT_LIMIT = [key for key in RULES if "drop" in get_args(CleanSettings.model_fields[key].annotation)]  # keep or drop
# Findings about duplicates, by the part of a pair that occurred before.
DUPLICATES = {"pair": "duplicates", "src": "with a source that came before", "tgt": "with a target that came before"}

Verdict = Literal["dropped", "would drop", "mended", "would mend", "noted"]
SeenPairs = defaultdict[str, HashSet64]  # The pairs scanned so far: by part (pair, src, tgt), and those kept


@dataclass(slots=True)
class Finding:
    """The pairs of a source that one rule is about. A pair may be in several findings."""

    rule: str
    verdict: Verdict  # Treatment by the config, or if the setting were on. Dev and test sets are not cleaned.
    setting: str | None  # The config key that enables the rule; None if it is always on
    count: int = 0
    examples: list[Example] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Side:
    """Statistics of one language of a source."""

    language: str
    num_letters: int
    num_words: int
    longest: int  # Letters of the longest sentence, at most 65,535
    histogram: list[int]  # Number of sentences by length, in `LENGTH_STEP` letters; the last bar has all longer ones
    scripts: dict[str, int]  # Number of letters by script

    @classmethod
    def of(cls, language: str, sizes: Sequence[NDArray[np.uint16]], num_words: int, scripts: Counter[str]) -> "Side":
        """The statistics of sentences of these `sizes` in letters, in several arrays."""
        bars = np.zeros(NUM_LENGTHS, np.int64)
        for part in sizes:
            bars += np.bincount(np.minimum(part // LENGTH_STEP, NUM_LENGTHS - 1), minlength=NUM_LENGTHS)
        num_letters = sum(int(part.sum(dtype=np.int64)) for part in sizes)
        longest = max(int(part.max(initial=0)) for part in sizes)
        return cls(language, num_letters, num_words, longest, bars.tolist(), dict(scripts.most_common(MAX_SCRIPTS)))


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


class ChunkFindings(NamedTuple):
    """Findings about one chunk of pairs, without the others."""

    indices: dict[str, list[int]]  # Indices in the chunk of the pairs that each rule is about
    reasons: list[str | None]  # The first reason to drop each pair, apart from duplicates
    hashes: dict[str, Hashes]  # Hashes of each pair and each side, by kind of duplicates
    lengths: NDArray[np.uint16]  # (2, pairs)
    num_words: list[int]  # Number of words of each side
    scripts: list[Counter[str]]
    overlaps: list[list[NDArray[np.int64]]]  # The parts of each dev or test set that occur, for `OverlapIndex.mark`


@dataclass(frozen=True, slots=True)
class ChunkScanner:
    """Scans chunks of one source, in any process."""

    enabled: Cleaner  # The rules of the config
    every: Cleaner  # All rules
    indexes: Sequence[OverlapIndex]
    tag: str | None  # Tag of the source; pairs with different tags are never duplicates

    def __call__(self, chunk: Chunk) -> ChunkFindings:
        pairs, reasons = self.enabled.clean(chunk.pairs)
        indices: dict[str, list[int]] = {}
        for index, (pair, reason, original) in enumerate(zip(pairs, reasons, chunk.pairs, strict=True)):
            for rule in self._rules_about(pair, reason, original):
                indices.setdefault(rule, []).append(index)
        comparable = [not _is_unusable(reason) and reason != HELD_OUT for reason in reasons]
        to_compare = list(compress(pairs, comparable))
        sides = [[pair[side] for pair in pairs] for side in (0, 1)]
        return ChunkFindings(
            indices,
            reasons,
            {kind: pair_hashes(pairs, kind, self.tag) for kind in DUPLICATES},
            np.array([[min(size_of(text), MAX_LENGTH) for text in texts] for texts in sides], np.uint16),
            [len(" ".join(texts).split()) for texts in sides],
            [script_counts("".join(texts)) for texts in sides],
            [index.find(to_compare) for index in self.indexes],
        )

    def _rules_about(self, pair: Pair, reason: str | None, original: Pair) -> Iterator[str]:
        """All rules that `pair` breaks, given the first `reason` for which the config drops it."""
        if reason == HELD_OUT or _is_unusable(reason):
            yield str(reason)
        if _is_unusable(reason):
            return
        for rule, is_broken in self.every.rules.items():
            # A pair without a reason passed all enabled rules.
            if rule == reason or (not (reason is None and rule in self.enabled.rules) and is_broken(*pair)):
                yield rule
        repaired = pair if self.enabled.is_repaired else self.every.repaired(pair)
        if repaired != original:
            yield REPAIRED


def _is_unusable(reason: str | None) -> bool:
    """Whether every config drops pairs for this reason: they are empty, over 1 MB, or could not be read."""
    return reason is not None and reason not in RULE_KEYS and reason != HELD_OUT


def _all_rules(languages: tuple[str, str]) -> Cleaner:
    """All rules whose packages are installed, with their usual limits."""
    settings: dict[str, Any] = {"repair": find_spec("ftfy") is not None, **dict.fromkeys(WITHOUT_LIMIT, "drop")}
    if find_spec("py3langid") is None:
        settings["language"] = "keep"
    return build_cleaner(CleanSettings(**settings), *languages)


def scan_source(
    source: Source,
    role: str,
    config: Config,
    seen: SeenPairs,
    indexes: Sequence[OverlapIndex],
    max_pairs: int | None = None,
) -> SourceReport:
    """Scan all pairs of `source`, or the first `max_pairs`. Compare them with those `seen` before, and mark `indexes`.

    `seen` grows by 8 bytes for each pair, source, target, and pair that is kept; the lengths of a pair take 4 more.

    Raises:
        UserError: not a single pair can be read (DATA); a package that a rule needs is not installed (MACHINE).
    """
    data = config.data
    clean = config.clean if role == "train" else CleanSettings(level="none")  # dev and test sets are not cleaned
    [enabled], languages = read_cleaners(data, clean, [source]), data.languages_of(source)
    every = _all_rules(languages)
    every = replace(every, rules=every.rules | enabled.rules)  # for rules that the config enables, its own limits count
    scanner = ChunkScanner(enabled, every, indexes, source.tag)
    findings: dict[str, Finding] = {}
    num_words, scripts = [0, 0], [Counter[str](), Counter[str]()]
    lengths = [np.zeros((2, 0), np.uint16)]
    num_pairs = num_dropped = 0
    errors: list[str] = []
    variants = Variants()
    pairs = _readable(read_pairs(source, data.src_lang, data.tgt_lang, data.on_bad_row, variants), errors)
    for chunk, part in parallel_map(in_chunks(islice(pairs, max_pairs)), scanner):
        indices = dict(part.indices)
        usable = np.flatnonzero([not _is_unusable(reason) for reason in part.reasons])
        for kind, rule in DUPLICATES.items():
            is_new = seen[kind].add(part.hashes[kind][usable])
            indices[rule] = usable[~is_new].tolist()
        for rule, rule_indices in indices.items():
            finding = findings.setdefault(rule, Finding(rule, *_verdict(rule, role, enabled, clean)))
            finding.count += len(rule_indices)
            for index in rule_indices[: MAX_EXAMPLES - len(finding.examples)]:
                finding.examples.append(example_of(num_pairs + index + 1, chunk.pairs[index]))
        kept = np.flatnonzero([reason is None for reason in part.reasons])
        num_dropped += len(chunk.pairs) - len(kept)
        if clean.duplicates != "keep":
            num_dropped += int(np.count_nonzero(~seen["kept"].add(part.hashes[clean.duplicates][kept])))
        for side in (0, 1):
            num_words[side] += part.num_words[side]
            scripts[side] += part.scripts[side]
        for index_of_set, overlap in zip(indexes, part.overlaps, strict=True):
            index_of_set.mark(overlap)
        lengths.append(part.lengths)
        num_pairs += len(chunk.pairs)
    sizes = [[part[side] for part in lengths] for side in (0, 1)]
    sides = list(map(Side.of, languages, sizes, num_words, scripts))
    for note in variants.notes():
        findings[note] = Finding(note, "noted", None, num_pairs)
    found = sorted((each for each in findings.values() if each.count), key=lambda each: (each.verdict, -each.count))
    alignment, error = compare_lengths(*np.concatenate(lengths, axis=1)), errors[0] if errors else None
    return SourceReport(reader(source).label, role, num_pairs, num_dropped, found, sides, alignment, error)


def _readable(pairs: Iterator[Pair], errors: list[str]) -> Iterator[Pair]:
    """All pairs up to an error of the data, which goes into `errors`; with no pair before it, it is raised."""
    has_pairs = False
    try:
        for pair in pairs:
            has_pairs = has_pairs or not isinstance(pair, NoPair)
            yield pair
    except UserError as error:
        if error.code != ExitCode.DATA or not has_pairs:
            raise
        errors.append(error.lines[0])


def _verdict(rule: str, role: str, cleaner: Cleaner, clean: CleanSettings) -> tuple[Verdict, str | None]:
    """Return how the config treats the pairs that `rule` is about, and the key that enables the rule."""
    keys = {name: key for key, name in DUPLICATES.items()} | RULE_KEYS
    if rule == HELD_OUT:
        return "dropped", f"clean.held_out={clean.held_out}"
    if rule == REPAIRED:
        setting, is_on = "clean.repair=true", cleaner.is_repaired
    elif rule not in keys:  # unusable
        return "dropped", None
    elif rule in DUPLICATES.values():
        # If a pair came before, so did its source and its target.
        setting = f"clean.duplicates={keys[rule]}"
        is_on = clean.duplicates == keys[rule] or (keys[rule] == "pair" and clean.duplicates != "keep")
    else:
        setting = f"clean.{keys[rule]}" + ("=drop" if keys[rule] in WITHOUT_LIMIT else "")
        is_on = rule in cleaner.rules
    if not is_on and role != "train":
        return "noted", setting
    if rule == REPAIRED:
        return "mended" if is_on else "would mend", setting
    return "dropped" if is_on else "would drop", setting
