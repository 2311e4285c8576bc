"""Where a system is good and bad: scores by kind of sentence, signs of wrong translations, and the worst ones."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from heapq import nsmallest

from mtx.judge.sentences import Sentence, signs_of
from mtx.judge.statistics import Statistics
from mtx.text.sentences import split_sentences

LENGTHS = (5, 10, 20, 30, 50)  # Largest number of words of the source in each group but the last
SENTENCES = (1, 2, 4)  # Largest number of sentences of the source in each group but the last
NUM_WORST = 5  # Translations shown, those with the least chrF2


@dataclass(frozen=True, slots=True)
class Group:
    """Scores of the sentences of one kind."""

    name: str
    num_sentences: int
    bleu: float
    chrf: float


@dataclass(frozen=True, slots=True)
class Breakdown:
    """Where a system is good and bad on one test set."""

    by_length: list[Group]  # Words of the source
    by_sentences: list[Group]  # Sentences in a line of the source
    flags: dict[str, int]  # Translations with each sign of a wrong translation
    worst: list[Sentence]

    def to_lines(self) -> list[str]:
        """A table for people."""
        lines = []
        for title, groups in (("words", self.by_length), ("sentences", self.by_sentences)):
            lines.append(f"{title + ' in the source':<24}{'lines':>8}{'BLEU':>8}{'chrF2':>8}")
            lines += [f"  {g.name:<22}{g.num_sentences:8,}{g.bleu:8.2f}{g.chrf:8.2f}" for g in groups]
        lines.append("; ".join(f"{name} {count:,}" for name, count in self.flags.items()))
        for each in self.worst:
            signs = f" ({', '.join(each.flags)})" if each.flags else ""
            lines.append(f"line {each.line:,}, chrF2 {each.chrf:.1f}{signs}")
            lines += [f"  source      {each.src}", *(f"  reference   {text}" for text in each.references)]
            lines.append(f"  translation {each.tgt}")
        return lines


def break_down(bleu: Statistics, chrf: Statistics, sentences: Sequence[Sentence], src_lang: str) -> Breakdown:
    """Break down the scores of a test set; nothing is counted again."""
    lengths, counts_of_sentences = defaultdict(list), defaultdict(list)
    for number, each in enumerate(sentences):
        lengths[_range_of(len(each.src.split()), LENGTHS)].append(number)
        counts_of_sentences[_range_of(len(split_sentences(each.src, src_lang)), SENTENCES)].append(number)

    def scored(groups: Mapping[str, list[int]], limits: Sequence[int]) -> list[Group]:
        found = [(name, groups[name]) for name in _ranges(limits) if name in groups]
        return [Group(name, len(rows), bleu.score(rows), chrf.score(rows)) for name, rows in found]

    by_length, by_sentences = scored(lengths, LENGTHS), scored(counts_of_sentences, SENTENCES)
    counts = Counter(flag for each in sentences for flag in each.flags)
    flags = {name: counts[name] for name in signs_of("und", "und")}
    worst = nsmallest(NUM_WORST, sentences, key=lambda each: each.chrf)
    return Breakdown(by_length, by_sentences, flags, worst)


def _ranges(limits: Sequence[int]) -> list[str]:
    firsts = [0 if limits[0] > 1 else 1, *(limit + 1 for limit in limits)]
    names = [str(last) if first == last else f"{first}-{last}" for first, last in zip(firsts, limits, strict=False)]
    return [*names, f"over {limits[-1]}"]


def _range_of(size: int, limits: Sequence[int]) -> str:
    return _ranges(limits)[sum(size > limit for limit in limits)]
