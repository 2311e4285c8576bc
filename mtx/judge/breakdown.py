"""Where a system is good and bad: scores by kind of sentence, signs of wrong translations, and the worst ones."""

import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from mtx.data.cleaning.rules import has_other_numbers, has_unequal_markup, is_copy, is_in_another_script
from mtx.judge.statistics import Statistics
from mtx.text.sentences import split_sentences

LENGTHS = (5, 10, 20, 30, 50)  # Largest number of words of the source in each group but the last
SENTENCES = (1, 2, 4)  # Largest number of sentences of the source in each group but the last
_SHORT_RUN = re.compile(r"(.{1,4}?)\1{3}")  # Four repetitions of a few characters
LONG_WORD = 20  # Characters from which a word may consist of four repetitions that are no short run
NUM_WORST = 5  # Translations shown, those with the least chrF2


@dataclass(frozen=True, slots=True)
class Group:
    """Scores of the sentences of one kind."""

    name: str
    num_sentences: int
    bleu: float
    chrf: float


@dataclass(frozen=True, slots=True)
class Example:
    """A sentence and its translation."""

    line: int  # Counted from 1
    src: str
    ref: str
    tgt: str
    chrf: float
    flags: tuple[str, ...]  # Signs of a wrong translation, of which there may be none


@dataclass(frozen=True, slots=True)
class Breakdown:
    """Where a system is good and bad on one test set."""

    by_length: list[Group]  # Words of the source
    by_sentences: list[Group]  # Sentences in a line of the source
    flags: dict[str, int]  # Translations with each sign of a wrong translation
    worst: list[Example]

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
            lines += [f"  source      {each.src}", f"  reference   {each.ref}", f"  translation {each.tgt}"]
        return lines


def break_down(
    statistics: Sequence[Statistics],
    sources: Sequence[str],
    references: Sequence[Sequence[str]],
    hypotheses: Sequence[str],
    src_lang: str,
    tgt_lang: str,
) -> Breakdown:
    """Break down the scores of BLEU and chrF2, the first two `statistics`; nothing is counted again."""
    bleu, chrf = statistics[:2]
    groups: tuple[dict[str, list[int]], ...] = defaultdict(list), defaultdict(list)
    flags, counts = {}, dict.fromkeys(_signs(src_lang, tgt_lang), 0)
    signs = _signs(src_lang, tgt_lang)
    for number, (src, tgt) in enumerate(zip(sources, hypotheses, strict=True)):
        sizes = len(src.split()), len(split_sentences(src, src_lang))
        for found, size, limits in zip(groups, sizes, (LENGTHS, SENTENCES), strict=True):
            found[_range_of(size, limits)].append(number)
        if found_signs := tuple(name for name, has in signs.items() if has(src, tgt)):
            flags[number] = found_signs
            for name in found_signs:
                counts[name] += 1
    scored = [
        [Group(name, len(found[name]), bleu.score(found[name]), chrf.score(found[name])) for name in names]
        for found, limits in zip(groups, (LENGTHS, SENTENCES), strict=True)
        for names in [[name for name in _ranges(limits) if name in found]]
    ]
    score = chrf.metric._compute_score_from_stats
    each_chrf = np.array([score(row).score for row in chrf.rows.tolist()])
    worst = [
        Example(i + 1, sources[i], references[0][i], hypotheses[i], float(each_chrf[i]), flags.get(i, ()))
        for i in np.argsort(each_chrf, kind="stable")[:NUM_WORST].tolist()
    ]
    return Breakdown(scored[0], scored[1], counts, worst)


def _signs(src_lang: str, tgt_lang: str) -> dict[str, Callable[[str, str], bool]]:
    """Tests of a source and its translation, by the names of the signs they find."""
    from mtx.decode.loops import Loops

    return {
        "empty": lambda src, tgt: bool(src.strip()) and not tgt.strip(),
        "copies": is_copy,
        "loops": lambda src, tgt: _may_loop(tgt) and any(Loops(src).find(tgt)),
        "wrong script": lambda src, tgt: is_in_another_script("", tgt, src_lang, tgt_lang),
        "other numbers": has_other_numbers,
        "other markup": has_unequal_markup,
    }


def _may_loop(text: str) -> bool:
    """Whether `text` may have a loop: a fast test that most translations fail."""
    words = text.split()
    has_repeats = len(words) - len(set(words)) > 1 or len(max(words, key=len, default="")) >= LONG_WORD
    return has_repeats or _SHORT_RUN.search(text) is not None


def _ranges(limits: Sequence[int]) -> list[str]:
    firsts = [0 if limits[0] > 1 else 1, *(limit + 1 for limit in limits)]
    names = [str(last) if first == last else f"{first}-{last}" for first, last in zip(firsts, limits, strict=False)]
    return [*names, f"over {limits[-1]}"]


def _range_of(size: int, limits: Sequence[int]) -> str:
    return _ranges(limits)[sum(size > limit for limit in limits)]
