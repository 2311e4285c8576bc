"""The data doctor: what is in each source, what the rules drop and would drop, and what should stop a training."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mtx.config.settings import Config, DataSettings
from mtx.config.sources import Source
from mtx.data.check.alignment import BLOCK
from mtx.data.check.overlap import HeldOut, Overlap
from mtx.data.check.scan import SETTINGS, Examined, Known, examine
from mtx.data.sources.base import Pair
from mtx.data.sources.read import expand_folders, read_pairs
from mtx.errors import ExitCode, UserError

MOST_DROPPED, MOST_SLIPPED, MOST_UNRELATED, MOST_OVERLAP = 0.5, 0.01, 0.5, 0.05
"""Shares of pairs above which something should stop a training."""

FEWEST = 10
"""Pairs of a source from which on such a share of them says something about it."""


@dataclass(frozen=True, slots=True)
class Shared:
    """What a dev or test set has in common with other pairs."""

    role: str
    """dev or test."""
    within: str
    """train or dev: what it is compared with."""
    overlap: Overlap


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """All that was found."""

    sources: list[Examined]
    shared: list[Shared]
    problems: list[str]
    """What should stop a training, a line each."""


def diagnose(config: Config) -> Diagnosis:
    """Read all sources of `config` and look at each pair.

    Memory grows by 36 bytes at most for each pair, see `Known` and `examine`, and by 8 for each sentence and n-gram of
    the dev and test sets.

    Raises:
        UserError: of one not a single pair can be read (DATA); a rule needs what is not installed, or a process that
            shared the work was killed (MACHINE).
    """
    data = config.data
    train = expand_folders(data.train, data.src_lang, data.tgt_lang)
    dev, test = (
        () if source is None else expand_folders((source,), *_languages(data)) for source in (data.dev, data.test)
    )
    in_train = {role: HeldOut(_pairs(sources, data)) for role, sources in (("dev", dev), ("test", test)) if sources}
    in_dev = {role: HeldOut(_pairs(sources, data)) for role, sources in (("test", test),) if dev and sources}
    examined = []
    for role, sources, held_out in (("train", train, in_train), ("dev", dev, in_dev), ("test", test, {})):
        known = Known()
        examined += [examine(source, role, config, known, list(held_out.values())) for source in sources]
    of_role = {"dev": dev, "test": test}
    shared = [
        Shared(role, within, each.overlap(_pairs(of_role[role], data)))
        for within, held_out in (("train", in_train), ("dev", in_dev))
        for role, each in held_out.items()
    ]
    return Diagnosis(examined, shared, list(_problems(examined, shared)))


def _languages(data: DataSettings) -> tuple[str, str]:
    return data.src_lang, data.tgt_lang


def _pairs(sources: Sequence[Source], data: DataSettings) -> Iterator[Pair]:
    """All pairs of `sources`, up to where one can't be read: what is wrong there is told when it is examined."""
    for source in sources:
        try:
            yield from read_pairs(source, data.src_lang, data.tgt_lang)
        except UserError as error:
            if error.code != ExitCode.DATA:
                raise
            return


def _problems(sources: Sequence[Examined], shared: Sequence[Shared]) -> Iterator[str]:
    train = [source for source in sources if source.role == "train"]
    num_pairs, num_dropped = sum(each.num_pairs for each in train), sum(each.num_dropped for each in train)
    if num_dropped == num_pairs:
        yield f"none of {num_pairs:,} training pairs is left to train on"
    elif num_dropped > MOST_DROPPED * num_pairs:
        yield f"{num_dropped:,} of {num_pairs:,} training pairs would be dropped"
    for source in sources:
        yield from _problems_of(source)
    for each in shared:
        overlap = each.overlap
        if overlap.both > MOST_OVERLAP * overlap.num_pairs:
            yield f"{overlap.both:,} of {overlap.num_pairs:,} {each.role} pairs are in {each.within}, too"


def _problems_of(source: Examined) -> Iterator[str]:
    """What is wrong with one source."""
    if source.error is not None:
        yield f"{source.name}: {source.error}"
    if source.num_pairs == 0 and source.role != "train":
        yield f"{source.name}: the {source.role} set is empty"
    slips = source.alignment.slips
    if sum(slip.end - slip.begin + 1 for slip in slips) >= max(BLOCK, MOST_SLIPPED * source.num_pairs):
        yield f"{source.name}: misaligned {slips[0]}"
    if source.alignment.num_unrelated > MOST_UNRELATED * source.num_pairs:
        yield f"{source.name}: misaligned {unrelated_in_words(source)}"
    if source.num_pairs < FEWEST:
        return
    for finding in source.findings:
        if finding.rule in SETTINGS and finding.count > MOST_DROPPED * source.num_pairs:
            yield f"{source.name}: {finding.count:,} of {source.num_pairs:,} pairs are {finding.rule}"


def unrelated_in_words(source: Examined) -> str:
    """How many lines have nothing to do with each other, and from where on."""
    of, first = source.alignment, source.alignment.first_unrelated
    what = f"{of.num_unrelated:,} of {source.num_pairs:,} lines, in blocks from line {first:,} on"
    return f"{what}: lengths of source and target do not go together, however shifted"
