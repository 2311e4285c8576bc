"""Diagnosis of the data of a config: a report of each source, overlaps, and problems that should stop a training."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from mtx.config.settings import Config, DataSettings
from mtx.config.sources import Source
from mtx.data.check.alignment import BLOCK, Alignment, compare_lengths
from mtx.data.check.overlap import Overlap, OverlapIndex
from mtx.data.check.scan import RULE_KEYS, SeenPairs, SourceReport, scan_source
from mtx.data.cleaning.clean import build_cleaner
from mtx.data.cleaning.hashes import HashSet64
from mtx.data.sources.base import Pair
from mtx.data.sources.read import expand_folders, read_pairs
from mtx.errors import ExitCode, UserError
from mtx.text.changes import describe_changes, round_trip_by

# Shares of pairs above which there is a problem.
MAX_DROPPED, MAX_MISALIGNED, MAX_UNRELATED, MAX_OVERLAP = 0.5, 0.01, 0.5, 0.05
FIRST_PAIRS = 1_000  # Pairs of a source that show most problems in less than a second
MIN_PAIRS = 10  # Number of pairs that a source needs for such a share of them to be meaningful


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """The results for all data of a config."""

    problems: list[str]  # Reasons not to start a training, one line each
    sources: list[SourceReport]
    overlaps: list[Overlap]
    notes: Sequence[str] = ()  # Changes that training will make to the text, one line each


def diagnose(config: Config) -> Diagnosis:
    """Read all sources of `config` and examine each pair.

    Memory grows by at most 36 bytes for each pair, see `scan_source`, and by 8 for each sentence and n-gram of the dev
    and test sets.

    Raises:
        UserError: not a single pair of a source can be read (DATA); a package that a rule needs is not installed, or a
            process that shared the work was killed (MACHINE).
    """
    data = config.data
    sources = {
        role: expand_folders(given, data.src_lang, data.tgt_lang)
        for role, given in (("train", data.train), ("dev", data.dev), ("test", data.test))
    }
    indexes = {
        (role, within): OverlapIndex(_pairs(sources[role], data))
        for role, within in (("dev", "train"), ("test", "train"), ("test", "dev"))
        if sources[role] and sources[within]
    }
    reports = []
    for within in sources:
        seen: SeenPairs = defaultdict(HashSet64)
        own = [index for (_, other), index in indexes.items() if other == within]
        reports += [scan_source(source, within, config, seen, own) for source in sources[within]]
    overlaps = [index.overlap(_pairs(sources[roles[0]], data), *roles) for roles, index in indexes.items()]
    return Diagnosis(list(_problems(reports, overlaps)), reports, overlaps, list(_notes(config, sources["train"])))


def _pairs(sources: Sequence[Source], data: DataSettings) -> Iterator[Pair]:
    """All pairs of `sources` up to one that can't be read, which its scan will report."""
    try:
        for source in sources:
            yield from read_pairs(source, data.src_lang, data.tgt_lang)
    except UserError as error:
        if error.code != ExitCode.DATA:
            raise


def _notes(config: Config, train: Sequence[Source]) -> Iterator[str]:
    if config.tokenizer.file is None and config.tokenizer.normalization in ("source", "lossless"):
        return
    pairs = build_cleaner(config.clean, config.data.src_lang, config.data.tgt_lang).kept(_pairs(train, config.data))
    if changes := describe_changes((tgt for _, tgt in pairs), round_trip_by(config.tokenizer)):
        name = "file" if config.tokenizer.file is not None else "normalization"
        yield f"tokenizer.{name} changes {changes}; leave it out to keep all characters"


def _problems(reports: Sequence[SourceReport], overlaps: Sequence[Overlap]) -> Iterator[str]:
    train = [report for report in reports if report.role == "train"]
    num_pairs, num_dropped = sum(each.num_pairs for each in train), sum(each.num_dropped for each in train)
    if num_dropped == num_pairs:
        yield f"none of {num_pairs:,} training pairs is left to train on"
    else:
        yield from too_many_dropped(num_dropped, num_pairs)
    for report in reports:
        yield from (f"{report.name}: {problem}" for problem in _problems_of(report))
    for each in overlaps:
        if each.both > MAX_OVERLAP * each.num_pairs:
            yield f"{each.both:,} of {each.num_pairs:,} {each.role} pairs are also in {each.within}"


def _problems_of(report: SourceReport) -> Iterator[str]:
    """The problems of one source."""
    if report.error is not None:
        yield report.error
    if report.num_pairs == 0 and report.role != "train":
        yield f"the {report.role} set is empty"
    yield from misalignments(report.alignment, report.num_pairs)
    for finding in report.findings:
        is_many = report.num_pairs >= MIN_PAIRS and finding.count > MAX_DROPPED * report.num_pairs
        if is_many and finding.rule in RULE_KEYS:
            yield f"{finding.count:,} of {report.num_pairs:,} pairs are {finding.rule}"


def too_many_dropped(num_dropped: int, num_pairs: int) -> Iterator[str]:
    """Yield the problem that most training pairs would be dropped, if they would."""
    if num_dropped > MAX_DROPPED * num_pairs:
        yield f"{num_dropped:,} of {num_pairs:,} training pairs would be dropped"


def misalignments(alignment: Alignment, num_pairs: int) -> Iterator[str]:
    """Yield the problems of the alignment of a source."""
    shifts = alignment.slips
    if sum(shift.end - shift.begin + 1 for shift in shifts) >= max(BLOCK, MAX_MISALIGNED * num_pairs):
        yield f"misaligned {shifts[0]}"
    if alignment.num_unrelated > MAX_UNRELATED * num_pairs:
        yield f"misaligned {format_unrelated(alignment, num_pairs)}"


def problems_of_first_pairs(config: Config) -> Iterator[str]:
    """Yield the problems that the first pairs of each source show, within seconds. Alignment needs all pairs."""
    data, seen = config.data, defaultdict[str, HashSet64](HashSet64)
    for role, sources in (("train", data.train), ("dev", data.dev), ("test", data.test)):
        for source in expand_folders(sources, data.src_lang, data.tgt_lang):
            report = scan_source(source, role, config, seen, [], FIRST_PAIRS)
            found = _problems_of(replace(report, alignment=compare_lengths(*np.zeros((2, 0), np.uint16))))
            yield from (f"{report.name}: {problem}" for problem in found)


def format_unrelated(alignment: Alignment, num_pairs: int) -> str:
    """Format the number of lines that are unrelated, and the first of them."""
    counts = f"{alignment.num_unrelated:,} of {num_pairs:,} lines"
    where = f"in blocks from line {alignment.first_unrelated:,} on"
    return f"{counts}, {where}: lengths of source and target are unrelated, with any shift"
