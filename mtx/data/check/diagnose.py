"""Diagnosis of the data of a config: a report of each source, overlaps, and problems that should stop a training."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mtx.config.settings import Config, DataSettings
from mtx.config.sources import Source
from mtx.data.check.alignment import BLOCK
from mtx.data.check.overlap import Overlap, OverlapIndex
from mtx.data.check.scan import RULE_SETTINGS, SeenPairs, SourceReport, scan_source
from mtx.data.sources.base import Pair
from mtx.data.sources.read import expand_folders, read_pairs
from mtx.errors import ExitCode, UserError

MAX_DROPPED, MAX_MISALIGNED, MAX_UNRELATED, MAX_OVERLAP = 0.5, 0.01, 0.5, 0.05
"""Shares of pairs above which there is a problem."""

MIN_PAIRS = 10  # Number of pairs that a source needs for such a share of them to be meaningful


@dataclass(frozen=True, slots=True)
class SetOverlap:
    """The overlap of a dev or test set with other pairs."""

    role: str  # dev or test
    within: str  # Pairs that the set is compared with: train or dev
    overlap: Overlap


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """The results for all data of a config."""

    sources: list[SourceReport]
    overlaps: list[SetOverlap]
    problems: list[str]  # Reasons not to start a training, one line each


def diagnose(config: Config) -> Diagnosis:
    """Read all sources of `config` and examine each pair.

    Memory grows by at most 36 bytes for each pair, see `SeenPairs` and `scan_source`, and by 8 for each sentence and
    n-gram of the dev and test sets.

    Raises:
        UserError: not a single pair of a source can be read (DATA); a package that a rule needs is not installed, or a
            process that shared the work was killed (MACHINE).
    """
    data = config.data
    languages = data.src_lang, data.tgt_lang
    sources = {
        role: expand_folders((source for source in given if source is not None), *languages)
        for role, given in (("train", data.train), ("dev", (data.dev,)), ("test", (data.test,)))
    }
    compared = [(role, within) for within in ("train", "dev") for role in ("dev", "test") if role != within]
    indexes = {
        (role, within): OverlapIndex(_pairs(sources[role], data))
        for role, within in compared
        if sources[role] and sources[within]
    }
    reports = []
    for within in sources:
        seen = SeenPairs()
        own = [index for (_, other), index in indexes.items() if other == within]
        reports += [scan_source(source, within, config, seen, own) for source in sources[within]]
    overlaps = [
        SetOverlap(role, within, index.overlap(_pairs(sources[role], data)))
        for (role, within), index in indexes.items()
    ]
    return Diagnosis(reports, overlaps, list(_problems(reports, overlaps)))


def _pairs(sources: Sequence[Source], data: DataSettings) -> Iterator[Pair]:
    """All pairs of `sources` up to one that can't be read, which its scan will report."""
    for source in sources:
        try:
            yield from read_pairs(source, data.src_lang, data.tgt_lang)
        except UserError as error:
            if error.code != ExitCode.DATA:
                raise
            return


def _problems(reports: Sequence[SourceReport], overlaps: Sequence[SetOverlap]) -> Iterator[str]:
    train = [report for report in reports if report.role == "train"]
    num_pairs, num_dropped = sum(each.num_pairs for each in train), sum(each.num_dropped for each in train)
    if num_dropped == num_pairs:
        yield f"none of {num_pairs:,} training pairs is left to train on"
    elif num_dropped > MAX_DROPPED * num_pairs:
        yield f"{num_dropped:,} of {num_pairs:,} training pairs would be dropped"
    for report in reports:
        yield from _problems_of(report)
    for each in overlaps:
        overlap = each.overlap
        if overlap.both > MAX_OVERLAP * overlap.num_pairs:
            yield f"{overlap.both:,} of {overlap.num_pairs:,} {each.role} pairs are also in {each.within}"


def _problems_of(report: SourceReport) -> Iterator[str]:
    """The problems of one source."""
    if report.error is not None:
        yield f"{report.name}: {report.error}"
    if report.num_pairs == 0 and report.role != "train":
        yield f"{report.name}: the {report.role} set is empty"
    shifts = report.alignment.slips
    if sum(shift.end - shift.begin + 1 for shift in shifts) >= max(BLOCK, MAX_MISALIGNED * report.num_pairs):
        yield f"{report.name}: misaligned {shifts[0]}"
    if report.alignment.num_unrelated > MAX_UNRELATED * report.num_pairs:
        yield f"{report.name}: misaligned {format_unrelated(report)}"
    if report.num_pairs < MIN_PAIRS:
        return
    for finding in report.findings:
        if finding.rule in RULE_SETTINGS and finding.count > MAX_DROPPED * report.num_pairs:
            yield f"{report.name}: {finding.count:,} of {report.num_pairs:,} pairs are {finding.rule}"


def format_unrelated(report: SourceReport) -> str:
    """Format the number of lines that are unrelated, and the first of them."""
    alignment = report.alignment
    counts = f"{alignment.num_unrelated:,} of {report.num_pairs:,} lines"
    return (
        f"{counts}, in blocks from line {alignment.first_unrelated:,} on: lengths of source and target are unrelated, "
        "with any shift"
    )
