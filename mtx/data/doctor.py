"""The data doctor: what is in each source, what the rules drop and would drop, and what should stop a training."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np

from mtx.config.settings import CleanSettings, Config, Source
from mtx.data.alignment import BLOCK, Slip, find_slips
from mtx.data.cleaning import build_cleaner, can_tell_languages, size_of, text_fault
from mtx.data.corpus import Pair, is_same_text, read_pairs, source_name
from mtx.data.duplicates import Seen
from mtx.data.held_out import REASON as HELD_OUT
from mtx.data.held_out import read_held_out
from mtx.data.overlap import HeldOut, Overlap
from mtx.data.scripts import script_counts

MAX_EXAMPLES = 3
"""Pairs that are shown for each rule."""
PAIRS_AT_ONCE = 10_000
MAX_HELD_OUT = 200_000
"""Pairs of a dev or test set that are compared with training pairs."""
LENGTH_STEP, NUM_LENGTHS = 10, 41
"""Letters that a bar of the histogram of lengths stands for, and how many bars there are."""

MOST_DROPPED, MOST_SLIPPED, MOST_OVERLAP = 0.5, 0.01, 0.05
"""Shares of pairs from which on something should stop a training."""


@dataclass(frozen=True, slots=True)
class Example:
    """A pair that a rule is about."""

    line: int
    """Counted from 1."""
    src: str
    tgt: str


@dataclass(slots=True)
class Finding:
    """What one rule finds in a source."""

    reason: str
    is_dropped: bool
    """Whether the config asks for it; else it only would drop them."""
    count: int = 0
    examples: list[Example] = field(default_factory=list)


@dataclass(slots=True)
class Side:
    """One language of a source."""

    language: str
    num_letters: int = 0
    num_words: int = 0
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
    """Pairs that the config drops."""
    findings: list[Finding]
    sides: list[Side]
    slips: list[Slip]


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """All that was found."""

    sources: list[Examined]
    overlaps: dict[str, Overlap]
    """Of dev and test with the training pairs."""
    problems: list[str]
    """What should stop a training, a line each."""


def diagnose(config: Config) -> Diagnosis:
    """Read all sources of `config` and look at each pair.

    Raises:
        UserError: one can't be read (DATA).
    """
    data = config.data
    held_out = {
        role: HeldOut(list(islice(read_pairs(source, data.src_lang, data.tgt_lang), MAX_HELD_OUT)))
        for role, source in (("dev", data.dev), ("test", data.test))
        if source is not None
    }
    seen = Seen()
    sources = [_examine(source, "train", config, seen, list(held_out.values())) for source in data.train]
    for role, source in (("dev", data.dev), ("test", data.test)):
        if source is not None:
            sources.append(_examine(source, role, config, Seen(), []))
    overlaps = {role: pairs.overlap() for role, pairs in held_out.items()}
    return Diagnosis(sources, overlaps, list(_problems(config, sources, overlaps)))


def _examine(source: Source, role: str, config: Config, seen: Seen, held_out: Sequence[HeldOut]) -> Examined:
    data, clean = config.data, config.clean if role == "train" else CleanSettings(level="off")
    # All rules look at each pair, those that the config asks for and those that it does not.
    every = CleanSettings(level="strict", max_ratio=min(clean.max_ratio, 9.0), **_language_rule())
    rules = build_cleaner(every, data.src_lang, data.tgt_lang).rules
    wanted = build_cleaner(clean, data.src_lang, data.tgt_lang)
    not_to_see = read_held_out(data, clean, wanted)
    findings = {reason: Finding(reason, reason in wanted.rules) for reason in rules}
    findings["duplicate"] = Finding("duplicate", clean.duplicates != "keep")
    sides = [Side(data.src_lang), Side(data.tgt_lang)]
    scripts: tuple[Counter[str], Counter[str]] = (Counter(), Counter())
    lengths: tuple[list[np.ndarray[Any, Any]], ...] = ([], [])
    num_pairs = num_dropped = 0
    for group in _groups(read_pairs(source, data.src_lang, data.tgt_lang)):
        is_new = seen.add_pairs(group, "pair" if clean.duplicates == "keep" else clean.duplicates, source.tag)
        for number, (pair, new) in enumerate(zip(group, is_new, strict=True), start=num_pairs + 1):
            reasons = _reasons(pair, rules) + ([] if new else ["duplicate"])
            is_seen = not_to_see.fault(pair) is None
            reasons += [] if is_seen else [HELD_OUT]
            for reason in reasons:
                _note(findings.setdefault(reason, Finding(reason, True)), number, pair)
            num_dropped += any(findings[reason].is_dropped for reason in reasons)
            for pairs in held_out if is_seen else ():
                pairs.compare(*pair)
        for side, counter, sizes, texts in zip(sides, scripts, lengths, zip(*group, strict=True), strict=True):
            sizes.append(np.array([size_of(text) for text in texts], np.int32))
            _measure(side, counter, texts, sizes[-1])
        num_pairs += len(group)
    for side, counter in zip(sides, scripts, strict=True):
        side.scripts = dict(counter.most_common(6))
    src_lengths, tgt_lengths = (np.concatenate([np.zeros(0, np.int32), *sizes]) for sizes in lengths)
    found = sorted((finding for finding in findings.values() if finding.count), key=lambda finding: -finding.count)
    slips = find_slips(src_lengths, tgt_lengths)
    return Examined(source_name(source), role, num_pairs, num_dropped, found, sides, slips)


def _language_rule() -> dict[str, Any]:
    return {"language": "drop"} if can_tell_languages() else {}


def _groups(pairs: Iterator[Pair]) -> Iterator[list[Pair]]:
    while group := list(islice(pairs, PAIRS_AT_ONCE)):
        yield group


def _reasons(pair: Pair, rules: dict[str, Any]) -> list[str]:
    """All that there is to be said against a pair."""
    fault = text_fault(pair)
    return [fault] if fault else [reason for reason, rule in rules.items() if rule(*pair)]


def _note(finding: Finding, line: int, pair: Pair) -> None:
    finding.count += 1
    if len(finding.examples) < MAX_EXAMPLES:
        finding.examples.append(Example(line, *pair))


def _measure(side: Side, scripts: Counter[str], texts: Sequence[str], sizes: np.ndarray[Any, Any]) -> None:
    side.num_letters += int(sizes.sum())
    side.num_words += sum(len(text.split()) for text in texts)
    bars = np.bincount(np.minimum(sizes // LENGTH_STEP, NUM_LENGTHS - 1), minlength=NUM_LENGTHS)
    side.histogram = [before + int(more) for before, more in zip(side.histogram, bars, strict=True)]
    scripts.update(script_counts("".join(texts)))


def _problems(config: Config, sources: Sequence[Examined], overlaps: dict[str, Overlap]) -> Iterator[str]:
    train = [source for source in sources if source.role == "train"]
    num_pairs, num_dropped = sum(s.num_pairs for s in train), sum(s.num_dropped for s in train)
    if num_dropped > MOST_DROPPED * num_pairs:
        yield f"{num_dropped:,} of {num_pairs:,} training pairs would be dropped"
    for source in sources:
        slipped = sum(slip.end - slip.begin + 1 for slip in source.slips)
        if slipped >= max(2 * BLOCK, MOST_SLIPPED * source.num_pairs):
            first = source.slips[0]
            yield f"{source.name}: from line {first.begin:,} on the target is {first.shift:+d} lines off"
    for role, held_out in (("dev", config.data.dev), ("test", config.data.test)):
        if held_out is not None and any(is_same_text(held_out, other) for other in config.data.train):
            yield f"the {role} set is a file of the training data"
        elif role in overlaps and len(overlaps[role].both) > MOST_OVERLAP * max(overlaps[role].num_pairs, 1):
            overlap = overlaps[role]
            yield f"{len(overlap.both):,} of {overlap.num_pairs:,} {role} pairs are training pairs, too"
