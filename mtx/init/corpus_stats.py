"""Statistics of a corpus, collected in one pass over its sources."""

from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import accumulate

import numpy as np

from mtx.config.settings import CleanSettings
from mtx.config.sources import Source
from mtx.data.check.alignment import MAX_LENGTH, compare_lengths
from mtx.data.check.diagnose import misalignments, too_many_dropped
from mtx.data.cleaning.clean import HeldOutKeys, build_cleaner, format_reasons, nothing_kept
from mtx.data.cleaning.rules import size_of
from mtx.data.sources.base import Pair
from mtx.data.sources.read import read_pairs, reader
from mtx.data.sources.variants import Variants
from mtx.init.split import MAX_LETTERS, SAMPLE_SIZE, HashSample
from mtx.system.logs import LOGGER, ProgressLog
from mtx.text.normalization import fold
from mtx.text.writing_systems import script_counts

COMMON = 0.9995  # Share of a text that its common characters make up
LENGTH_PERCENTILE = 0.99  # Share of pairs that `CorpusStats.long_pair` covers
LENGTH_CAP = 1 << 16  # Letters at which lengths are cut, to bound memory
MIN_SHARED_SCRIPTS = 0.5  # Share of letters in common scripts above which two languages can share a vocabulary


@dataclass(frozen=True, slots=True)
class Alphabet:
    """Number of distinct characters in a text."""

    num_all: int
    num_common: int  # Number of the most frequent ones that make up `COMMON` of the text


@dataclass(frozen=True, slots=True)
class CorpusStats:
    """Statistics of a corpus. Lengths are in letters of an alphabet, see `size_of`."""

    num_pairs: int  # Distinct pairs that training can use; estimated in large corpora
    both: Alphabet
    src: Alphabet
    tgt: Alphabet
    are_scripts_related: bool  # Whether the two sides share most of their scripts
    long_pair: int  # 99th percentile of the length of a pair's longer side
    mean_letters: tuple[float, float] = (0.0, 0.0)  # Mean length of a source and of a target sentence
    num_read: int = 0
    dropped: Counter[str] = field(default_factory=Counter)  # Pairs that the default rules drop, by reason
    sample: list[Pair] = field(default_factory=list)  # Uniform; dev and test sets are split off it
    problems: list[str] = field(default_factory=list)  # Misaligned sources and too many dropped pairs, one line each

    @property
    def summary(self) -> str:
        """The statistics in one line."""
        dropped = f", {format_reasons(self.dropped)}" if self.dropped else ""
        src, tgt = self.mean_letters
        return (
            f"{self.num_read:,} pairs, {self.num_pairs:,} distinct ones to train on{dropped}; mean length "
            f"{src:.0f} and {tgt:.0f} letters, 99 % up to {self.long_pair:,}"
        )


def scan(sources: Sequence[Source], src_lang: str, tgt_lang: str, held_out: HeldOutKeys) -> CorpusStats:
    """Read all `sources` except the pairs in `held_out`. Memory grows by 4 bytes for each pair of a source.

    Raises:
        UserError: a source can't be read, or no pair is usable (DATA).
    """
    cleaner = build_cleaner(CleanSettings(), src_lang, tgt_lang, held_out)
    sample, dropped, lengths = HashSample(SAMPLE_SIZE), Counter[str](), Counter[int]()
    chars: tuple[Counter[str], Counter[str]] = (Counter(), Counter())
    num_read, num_letters, progress = 0, [0, 0], ProgressLog("read")
    problems: list[str] = []
    for source in sources:
        lengths_of_sides = array("H"), array("H")
        variants = Variants()
        for pair in read_pairs(source, src_lang, tgt_lang, variants=variants):
            num_read += 1
            progress.update(num_read)
            sizes = [size_of(text) for text in pair]
            for side_lengths, size in zip(lengths_of_sides, sizes, strict=True):
                side_lengths.append(min(size, MAX_LENGTH))
            if fault := cleaner.drop_reason(pair):
                dropped[fault] += 1
                continue
            lengths[min(max(sizes), LENGTH_CAP)] += 1
            for side, (text, size) in enumerate(zip(pair, sizes, strict=True)):
                chars[side].update(text)
                num_letters[side] += size
            sample.add(*(text[: MAX_LETTERS + 1] for text in pair))
        alignment = compare_lengths(*(np.frombuffer(each, np.uint16) for each in lengths_of_sides))
        label, num_pairs = reader(source).label, len(lengths_of_sides[0])
        problems += [f"{label}: {problem}" for problem in misalignments(alignment, num_pairs)]
        for note in variants.notes():
            LOGGER.warning("%s: %s", label, note)
    num_usable = lengths.total()
    if not num_usable:
        raise nothing_kept(num_read, dropped, ", ".join(reader(source).label for source in sources))
    src_chars, tgt_chars = _count_parts(chars[0], fold), chars[1]  # as the tokenizer sees them
    ordered = sorted(lengths)
    totals = accumulate(lengths[length] for length in ordered)
    wanted = LENGTH_PERCENTILE * num_usable
    return CorpusStats(
        num_pairs=sample.num_distinct,
        both=_alphabet(src_chars + tgt_chars),
        src=_alphabet(src_chars),
        tgt=_alphabet(tgt_chars),
        are_scripts_related=_script_overlap(src_chars, tgt_chars) >= MIN_SHARED_SCRIPTS,
        long_pair=next(length for length, total in zip(ordered, totals, strict=True) if total >= wanted),
        mean_letters=(num_letters[0] / num_usable, num_letters[1] / num_usable),
        num_read=num_read,
        dropped=dropped,
        sample=sample.pairs(),
        problems=[*problems, *too_many_dropped(dropped.total(), num_read)],
    )


def _count_parts(chars: Counter[str], parts_of: Callable[[str], Iterable[str]]) -> Counter[str]:
    counts: Counter[str] = Counter()
    for char, count in chars.items():
        for part in parts_of(char):
            counts[part] += count
    return counts


def _alphabet(chars: Counter[str]) -> Alphabet:
    counts = sorted(chars.values(), reverse=True)
    wanted = COMMON * chars.total()
    return Alphabet(len(counts), next((n for n, total in enumerate(accumulate(counts), 1) if total >= wanted), 0))


def _script_overlap(src_chars: Counter[str], tgt_chars: Counter[str]) -> float:
    """The share of letters that both sides have in the same scripts, from 0 to 1; 1 if a side has no letters."""
    src, tgt = _count_parts(src_chars, script_counts), _count_parts(tgt_chars, script_counts)
    if not (src and tgt):
        return 1.0
    return sum(min(src[script] / src.total(), tgt[script] / tgt.total()) for script in src)
