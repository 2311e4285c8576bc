"""Sentences of a test set with their translations, chrF2 of each, and signs of wrong translations."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mtx.data.cleaning.rules import has_other_numbers, has_unequal_markup, is_copy, is_in_another_script
from mtx.judge.statistics import Statistics
from mtx.judge.test_set import TestSet

Sign = Callable[[str, str], bool]  # Whether a source and its translation show the sign


@dataclass(frozen=True, slots=True)
class Sentence:
    """A line of a test set and its translation."""

    line: int  # Counted from 1
    src: str  # Empty if no sources are known
    references: tuple[str, ...]
    tgt: str
    chrf: float
    flags: tuple[str, ...] = ()  # Names of the signs of a wrong translation, of which there may be none
    baseline_tgt: str | None = None  # Translation by the baseline, if there is one
    baseline_chrf: float | None = None

    @property
    def change(self) -> float:
        """Gain in chrF2 over the baseline; 0 without one."""
        return self.chrf - (self.chrf if self.baseline_chrf is None else self.baseline_chrf)

    def to_lines(self) -> list[str]:
        """The sentence as a few lines for people."""
        change = f" ({self.change:+z.1f})" if self.baseline_chrf is not None else ""
        lines = [", ".join((f"  line {self.line:,}", f"chrF2 {self.chrf:.1f}{change}", *self.flags))]
        texts = [("source", self.src), *(("reference", text) for text in self.references), ("translation", self.tgt)]
        texts += [("baseline", self.baseline_tgt)] if self.baseline_tgt is not None else []
        return lines + [f"    {name:<12}{text}" for name, text in texts]


def sentences_of(
    test_set: TestSet,
    hypotheses: Sequence[str],
    chrf: Statistics,
    baseline: Sequence[str] | None = None,
    baseline_chrf: Statistics | None = None,
) -> list[Sentence]:
    """Pair each line of `test_set` with its translation and flag it; chrF2 comes from the counts of `chrf`."""
    signs = signs_of(test_set.src_lang, test_set.language or "und") if test_set.sources else {}
    nothing = [None] * len(hypotheses)
    columns = zip(
        test_set.sources or [""] * len(hypotheses),
        zip(*test_set.references, strict=True),
        hypotheses,
        chrf.sentence_scores(),
        baseline or nothing,
        baseline_chrf.sentence_scores() if baseline_chrf is not None else nothing,
        strict=True,
    )
    return [
        Sentence(line, src, refs, tgt, score, tuple(name for name, has in signs.items() if has(src, tgt)), *other)
        for line, (src, refs, tgt, score, *other) in enumerate(columns, start=1)
    ]


def signs_of(src_lang: str, tgt_lang: str) -> dict[str, Sign]:
    """Tests of a source and its translation, by the names of the signs they find."""
    from mtx.decode.loops import Loops, may_loop

    return {
        "empty": lambda src, tgt: bool(src.strip()) and not tgt.strip(),
        "copies": is_copy,
        "loops": lambda src, tgt: may_loop(tgt) and any(Loops(src).find(tgt)),
        "wrong script": lambda src, tgt: is_in_another_script("", tgt, src_lang, tgt_lang),
        "other numbers": has_other_numbers,
        "other markup": has_unequal_markup,
    }
