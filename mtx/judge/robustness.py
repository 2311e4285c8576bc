"""Robustness: the scores that a model loses on disturbed sentences."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mtx.judge.disturbances import disturb, join_neighbours
from mtx.judge.statistics import SEED, bleu_and_chrf
from mtx.judge.test_set import TestSet


@dataclass(frozen=True, slots=True)
class Loss:
    """Scores on a test set whose sources are disturbed in one way."""

    kind: str
    num_changed: int  # Lines that the disturbance changes; if there are none, the scores are the undisturbed ones
    bleu: float
    chrf: float
    bleu_lost: float
    chrf_lost: float


@dataclass(frozen=True, slots=True)
class Robustness:
    """Scores on one test set as it is, and disturbed."""

    num_sentences: int
    seed: int  # Seed of the disturbances
    bleu: float
    chrf: float
    losses: list[Loss]

    def to_lines(self) -> list[str]:
        """A table for people."""
        lines = [f"{'disturbed sources':<19}{'changed':>8}{'BLEU':>8}{'lost':>8}{'chrF2':>8}{'lost':>8}"]
        lines.append(f"  {'undisturbed':<17}{0:8}{self.bleu:8.2f}{'':8}{self.chrf:8.2f}")
        for each in self.losses:
            scores = f"{each.bleu:8.2f}{each.bleu_lost:z8.2f}{each.chrf:8.2f}{each.chrf_lost:z8.2f}"
            lines.append(
                f"  {each.kind:<17}{each.num_changed:8,}" + (scores if each.num_changed else "  nothing to change")
            )
        return lines


def measure_robustness(
    test_set: TestSet, hypotheses: Sequence[str], kinds: Sequence[str], translate: Callable[[list[str]], list[str]]
) -> Robustness:
    """Disturb the sources of `test_set` in all these ways, and score their translations.

    `hypotheses` are the translations of the undisturbed sources, which stand for those of lines that do not change.
    """
    src_lang, tgt_lang, tokenizer = test_set.src_lang, test_set.language or "und", test_set.bleu_tokenizer

    def scores(lines: Sequence[str], references: Sequence[Sequence[str]]) -> tuple[float, float]:
        bleu, chrf = bleu_and_chrf(lines, references, tokenizer)
        return bleu.score(), chrf.score()

    undisturbed = scores(hypotheses, test_set.references)
    losses = []
    for kind in kinds:
        disturbed = disturb(kind, test_set.sources, src_lang, SEED)
        before, known, references, sure = test_set.sources, hypotheses, test_set.references, undisturbed
        if kind == "joined":  # compared with the translations of the single lines, which are joined, too
            before, known = before[::2], join_neighbours(known, tgt_lang)
            references = [join_neighbours(lines, tgt_lang) for lines in references]
            sure = scores(known, references)
        changed = [number for number, (old, new) in enumerate(zip(before, disturbed, strict=True)) if old != new]
        lines = list(known)
        translated = translate([disturbed[number] for number in changed]) if changed else []
        for number, line in zip(changed, translated, strict=True):
            lines[number] = line
        bleu, chrf = scores(lines, references) if changed else sure
        losses.append(Loss(kind, len(changed), bleu, chrf, sure[0] - bleu, sure[1] - chrf))
    return Robustness(len(hypotheses), SEED, *undisturbed, losses)
