"""Breakdown of the scores on a test set by kind of sentence, with signs of wrong translations and the worst ones."""

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from heapq import nlargest, nsmallest

from mtx.data.check.overlap import counted_words
from mtx.judge.sentences import Sentence, signs_of
from mtx.judge.statistics import Statistics
from mtx.judge.training import Seen
from mtx.text.sentences import split_sentences

LENGTHS = (5, 10, 20, 30, 50)  # Largest number of words of the source in each group but the last
SENTENCES = (1, 2, 4)  # Largest number of sentences of the source in each group but the last
OCCURRENCES = (0, 2, 9, 99)  # Largest number of occurrences in training of the rarest word, in each group but the last
SIGNS = "signs of wrong translations"  # Title of their counts, for people
NUM_SHOWN = 5  # Translations shown of the worst, and of those that changed most


@dataclass(frozen=True, slots=True)
class Group:
    """Scores of the sentences of one kind."""

    name: str
    num_sentences: int
    bleu: float
    chrf: float


@dataclass(frozen=True, slots=True)
class Overlap:
    """Sentences of a test set that are in the training data, regardless of case, spaces and punctuation."""

    num_sources: int  # Lines whose source is there
    num_pairs: int  # Lines whose source is there with the same translation
    num_training_pairs: int  # Pairs of the training data that were read

    def to_text(self, num_sentences: int) -> str:
        """The overlap of a set with `num_sentences`, for people."""
        found = ("sources", self.num_sources), ("whole pairs", self.num_pairs)
        counts = ", ".join(f"{count:,} {what} ({100 * count / num_sentences:.1f} %)" for what, count in found)
        return f"overlap with the {self.num_training_pairs:,} training pairs: {counts}"


@dataclass(frozen=True, slots=True)
class Breakdown:
    """Scores of one system on one test set by kind of sentence, and the sentences to read first."""

    by_length: list[Group]  # By words of the source, or characters in a script without spaces
    by_sentences: list[Group]  # By sentences in a line of the source
    by_rarest_word: list[Group]  # By occurrences in training of the rarest word; empty if they are not known
    by_overlap: list[Group]  # Lines whose source is in the training data, and all others; empty if there are none
    overlap: Overlap | None  # None if the training data is not known
    flags: dict[str, int]  # Translations with each sign of a wrong translation
    worst: list[Sentence]
    gained: list[Sentence]  # Sentences with the greatest gain in chrF2 over the baseline
    lost: list[Sentence]  # Sentences with the greatest loss

    @property
    def tables(self) -> dict[str, list[Group]]:
        """The groups that there are, by titles for people."""
        tables = {
            "words in the source": self.by_length,
            "sentences in the source": self.by_sentences,
            "training frequency of the rarest word": self.by_rarest_word,
            "source in training": self.by_overlap,
        }
        return {title: groups for title, groups in tables.items() if groups}

    def to_lines(self, num_sentences: int) -> list[str]:
        """Tables for people, of a set with `num_sentences`."""
        lines = [self.overlap.to_text(num_sentences)] if self.overlap is not None else []
        for title, groups in self.tables.items():
            lines.append(f"{title:<38}{'lines':>8}{'BLEU':>8}{'chrF2':>8}")
            lines += [f"  {g.name:<36}{g.num_sentences:8,}{g.bleu:8.2f}{g.chrf:8.2f}" for g in groups]
        lines.append(f"{SIGNS}: " + ", ".join(f"{name} {count:,}" for name, count in self.flags.items()))
        for title, shown in (("worst", self.worst), ("greatest gains", self.gained), ("greatest losses", self.lost)):
            lines += [f"{title}:"] if shown else []
            lines += [line for each in shown for line in each.to_lines()]
        return lines


def break_down(
    bleu: Statistics,
    chrf: Statistics,
    sentences: Sequence[Sentence],
    src_lang: str,
    seen: Seen | None = None,
) -> Breakdown:
    """Break down the scores of a test set; nothing is counted again."""

    def groups(kind_of: Callable[[int], str], kinds: Sequence[str]) -> list[Group]:
        found = defaultdict(list)
        for number in range(len(sentences)):
            found[kind_of(number)].append(number)
        rows = [(kind, found[kind]) for kind in kinds if kind in found]
        return [Group(kind, len(each), bleu.score(each), chrf.score(each)) for kind, each in rows]

    def by_size(size_of: Callable[[int], int], limits: Sequence[int]) -> list[Group]:
        names = _ranges(limits)
        return groups(lambda number: names[bisect_left(limits, size_of(number))], names)

    by_rarest, by_overlap, overlap = [], [], None
    if seen is not None:
        by_rarest = by_size(seen.rarest.__getitem__, OCCURRENCES)
        is_seen = seen.has_source
        by_overlap = groups(lambda number: "yes" if is_seen[number] else "no", ("yes", "no")) if any(is_seen) else []
        overlap = Overlap(sum(is_seen), sum(seen.has_pair), seen.num_pairs)
    counts = Counter(flag for each in sentences for flag in each.flags)
    return Breakdown(
        by_size(lambda number: _num_words(sentences[number].src), LENGTHS),
        by_size(lambda number: len(split_sentences(sentences[number].src, src_lang)), SENTENCES),
        by_rarest,
        by_overlap,
        overlap,
        {name: counts[name] for name in signs_of("und", "und")},
        nsmallest(NUM_SHOWN, sentences, key=lambda each: each.chrf),
        nlargest(NUM_SHOWN, (each for each in sentences if each.change > 0), key=lambda each: each.change),
        nsmallest(NUM_SHOWN, (each for each in sentences if each.change < 0), key=lambda each: each.change),
    )


def _num_words(text: str) -> int:
    return len(counted_words(text, text.split()))


def _ranges(limits: Sequence[int]) -> list[str]:
    firsts = [0 if limits[0] != 1 else 1, *(limit + 1 for limit in limits)]
    names = [str(last) if first == last else f"{first}-{last}" for first, last in zip(firsts, limits, strict=False)]
    return [*names, f"over {limits[-1]}"]
