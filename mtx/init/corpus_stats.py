"""A corpus looked at once, from its beginning to its end, for what a recipe needs to know of it."""

import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mtx.config.settings import CleanSettings
from mtx.config.sources import Source
from mtx.data.cleaning.held_out import HeldOutTexts, pair_fault
from mtx.data.cleaning.rules import build_cleaner, nothing_kept, reasons_in_words, size_of
from mtx.data.sources.read import Pair, read_pairs, source_name
from mtx.init.recipe import COMMON, Alphabet, CorpusFacts
from mtx.init.split import MAX_LETTERS, SET_SIZE, SPARE, Draw
from mtx.system.logs import ProgressLog

LONG = 99
"""Of so many in a hundred pairs the longest is what counts."""

MOST_LETTERS = 1 << 16
"""Longer sides count as so long."""

RELATED = 0.5
"""The share of the letters in common scripts from which on two languages are written alike."""


@dataclass(frozen=True, slots=True)
class Looked:
    """What was found."""

    facts: CorpusFacts
    num_read: int
    dropped: Counter[str]
    """Pairs that training will drop by its own rules, by reason."""
    mean_letters: tuple[float, float]
    """Of a sentence of each side, as many as it had in an alphabet."""
    drawn: list[Pair]
    """An even sample of the pairs, to split dev and test sets off."""

    @property
    def summary(self) -> str:
        """One line for people."""
        dropped = f", {reasons_in_words(self.dropped)}" if self.dropped else ""
        src, tgt = self.mean_letters
        return (
            f"{self.num_read:,} pairs, {self.facts.num_pairs:,} different ones to train on{dropped}; "
            f"{src:.0f} and {tgt:.0f} letters on average, {LONG} % up to {self.facts.longest_letters:,}"
        )


def look(sources: Sequence[Source], src_lang: str, tgt_lang: str, held_out: HeldOutTexts) -> Looked:
    """Read all `sources`, but for what is `held_out` of them; memory does not grow with their size.

    Raises:
        UserError: (DATA) one can't be read, or there is no pair that can be used.
    """
    cleaner = build_cleaner(CleanSettings(), src_lang, tgt_lang)
    draw, dropped = Draw(2 * SPARE * SET_SIZE), Counter[str]()
    chars: tuple[Counter[str], Counter[str]] = (Counter(), Counter())
    lengths: Counter[int] = Counter()
    num_read, num_letters, progress = 0, [0, 0], ProgressLog("read")
    for source in sources:
        for pair in read_pairs(source, src_lang, tgt_lang):
            num_read += 1
            progress.update(num_read)
            if fault := pair_fault(pair, held_out, cleaner):
                dropped[fault] += 1
                continue
            sizes = [size_of(text) for text in pair]
            lengths[min(max(sizes), MOST_LETTERS)] += 1
            for side, (text, size) in enumerate(zip(pair, sizes, strict=True)):
                chars[side].update(text)
                num_letters[side] += size
            draw.add(*(text[: MAX_LETTERS + 1] for text in pair))
    num_usable = lengths.total()
    if not num_usable:
        raise nothing_kept(num_read, dropped, ", ".join(map(source_name, sources)))
    normal = tuple(map(_normalised, chars))
    facts = CorpusFacts(
        num_pairs=draw.num_different,
        both=_alphabet(normal[0] + normal[1]),
        src=_alphabet(normal[0]),
        tgt=_alphabet(normal[1]),
        are_scripts_related=_share_in_common(*map(_scripts, normal)) >= RELATED,
        longest_letters=_percentile(lengths, LONG / 100),
    )
    src_mean, tgt_mean = (count / num_usable for count in num_letters)
    return Looked(facts, num_read, dropped, (src_mean, tgt_mean), draw.pairs())


def _normalised(chars: Counter[str]) -> Counter[str]:
    """The characters as a vocabulary sees them."""
    counts: Counter[str] = Counter()
    for char, count in chars.items():
        for normal in unicodedata.normalize("NFKC", char):
            counts[normal] += count
    return counts


def _alphabet(chars: Counter[str]) -> Alphabet:
    wanted, num_common = COMMON * chars.total(), 0
    for _, count in chars.most_common():
        if wanted <= 0:
            break
        wanted -= count
        num_common += 1
    return Alphabet(len(chars), num_common)


def _scripts(chars: Counter[str]) -> Counter[str]:
    """Letters by script, as the names of characters begin."""
    counts: Counter[str] = Counter()
    for char, count in chars.items():
        if char.isalpha():
            counts[unicodedata.name(char, "other").split(" ")[0]] += count
    return counts


def _share_in_common(one: Counter[str], other: Counter[str]) -> float:
    """Which share of the letters both sides have in the same scripts; all of none."""
    if not (one and other):
        return 1.0
    return sum(min(one[script] / one.total(), other[script] / other.total()) for script in one)


def _percentile(lengths: Counter[int], share: float) -> int:
    """The length that this share of all do not exceed."""
    wanted = share * lengths.total()
    return next(length for length, so_far in _sums(sorted(lengths.items())) if so_far >= wanted)


def _sums(counts: Iterable[tuple[int, int]]) -> Iterable[tuple[int, int]]:
    so_far = 0
    for length, count in counts:
        so_far += count
        yield length, so_far
