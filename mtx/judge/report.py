"""Reports: scores of translations by sacreBLEU, with signatures and confidence intervals, and what explains them."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from statistics import fmean
from typing import Any

from mtx.errors import ExitCode, UserError
from mtx.judge.breakdown import Breakdown
from mtx.judge.compare import Comparison
from mtx.judge.robustness import Robustness
from mtx.judge.sentences import Sentence
from mtx.judge.statistics import Statistics, bleu_and_chrf, json_key


@dataclass(frozen=True, slots=True)
class Score:
    """A corpus score."""

    score: float  # In percent, not rounded
    ci: float  # Half-width of the 95 % bootstrap interval over sentences, in percent; 0 if not computed
    signature: str

    @classmethod
    def of(cls, statistics: Statistics, with_ci: bool = True) -> "Score":
        """The score of a corpus, with its interval if asked for."""
        ci = statistics.ci if with_ci else 0.0  # before the signature, which names the samples
        return cls(float(statistics.corpus.score), ci, statistics.signature)

    @classmethod
    def mean_of(cls, scores: Sequence["Score"]) -> "Score":
        """The mean of the scores of independent texts, with the interval of the mean and all their signatures."""
        ci = math.hypot(*(each.ci for each in scores)) / len(scores)
        signatures = dict.fromkeys(each.signature for each in scores)
        return cls(fmean(each.score for each in scores), ci, "; ".join(signatures))


@dataclass(frozen=True, slots=True)
class Report:
    """The result of `mtx evaluate`, for one test set or the mean over several."""

    model: str | None
    num_sentences: int
    bleu: Score
    chrf: Score
    length_ratio: float  # Words in the hypotheses / words in the references
    seconds: float = 0.0  # Translation time, without loading the model
    tokens_per_second: float = 0.0
    num_empty: int = 0  # Hypotheses without text; not in the JSON
    name: str | None = None  # Name of the test set, if it is one of several
    sets: tuple["Report", ...] = ()  # Reports on each test set, if these scores are means
    more: Mapping[str, Score] = field(default_factory=dict)  # Scores by other metrics, by their names
    comparison: Comparison | None = None  # With a baseline; None of a mean
    breakdown: Breakdown | None = None  # None of a mean
    robustness: Robustness | None = None  # None of a mean
    sentences: tuple[Sentence, ...] = ()  # If asked for; none of a mean; not in the JSON

    @classmethod
    def mean_of(cls, reports: Sequence["Report"]) -> "Report":
        """A report with the mean scores and the totals of several; a single one is returned, without its name."""
        first, *others = reports
        if not others:
            return replace(first, name=None)
        seconds = sum(each.seconds for each in reports)
        num_tokens = sum(each.tokens_per_second * each.seconds for each in reports)
        return cls(
            first.model,
            sum(each.num_sentences for each in reports),
            Score.mean_of([each.bleu for each in reports]),
            Score.mean_of([each.chrf for each in reports]),
            fmean(each.length_ratio for each in reports),
            seconds,
            num_tokens / seconds if seconds else 0.0,
            sum(each.num_empty for each in reports),
            sets=tuple(reports),
            more={name: Score.mean_of([each.more[name] for each in reports]) for name in first.more},
        )

    def to_json(self) -> str:
        """The report as one JSON object on one line; if there are several sets, `sets` has such an object for each."""
        return json.dumps(self._to_dict())

    def _to_dict(self) -> dict[str, Any]:
        names = "model", "num_sentences", "bleu", "chrf", "length_ratio", "seconds", "tokens_per_second"
        values: dict[str, Any] = {} if self.name is None else {"name": self.name}
        values |= {name: asdict(value) if isinstance(value := getattr(self, name), Score) else value for name in names}
        values |= {json_key(name): asdict(each) for name, each in self.more.items()}
        parts = (name for name in ("comparison", "breakdown", "robustness") if getattr(self, name) is not None)
        values |= {name: asdict(getattr(self, name)) for name in parts}
        return {**values, **({"sets": [each._to_dict() for each in self.sets]} if self.sets else {})}

    def to_text(self) -> str:
        """The report as a few lines for people."""
        lines = [line for each in self.sets for line in (f"{each.name}:", each.to_text())]
        lines += [f"mean of {len(self.sets)} sets:"] if self.sets else []
        lines += [
            f"{name:<6} {score.score:6.2f} ± {score.ci:.2f}   {score.signature}"
            for name, score in (("BLEU", self.bleu), ("chrF2", self.chrf), *self.more.items())
        ]
        speed = f", {self.seconds:.1f} s, {self.tokens_per_second:,.0f} tokens/s" if self.seconds else ""
        empty = f", {self.num_empty:,} empty" if self.num_empty else ""
        lines.append(f"{self.num_sentences:,} sentences{empty}, length ratio {self.length_ratio:.3f}{speed}")
        lines += self.comparison.to_lines() if self.comparison is not None else []
        lines += self.breakdown.to_lines(self.num_sentences) if self.breakdown is not None else []
        lines += self.robustness.to_lines() if self.robustness is not None else []
        return "\n".join(lines)


def score(
    hypotheses: Sequence[str], references: Sequence[Sequence[str]], tokenizer: str, with_ci: bool = True
) -> tuple[Score, Score, float]:
    """BLEU, chrF2 and the length ratio of a corpus, as the `sacrebleu` command computes them with this `tokenizer`.

    Each of `references` is a translation of the whole text.

    Raises:
        UserError: no lines, or unequal counts (DATA).
    """
    bleu, chrf = count(hypotheses, references, tokenizer)
    return Score.of(bleu, with_ci), Score.of(chrf, with_ci), length_ratio(bleu)


def count(
    hypotheses: Sequence[str], references: Sequence[Sequence[str]], tokenizer: str
) -> tuple[Statistics, Statistics]:
    """Count for BLEU and chrF2, as `bleu_and_chrf` does.

    Raises:
        UserError: no lines, or unequal counts (DATA).
    """
    for lines in references:
        if len(hypotheses) != len(lines):
            what = f"{len(hypotheses):,} hypotheses, {len(lines):,} references"
            raise UserError(ExitCode.DATA, what, do="Give one reference a line for each hypothesis.")
    if not hypotheses:
        raise UserError(ExitCode.DATA, "nothing to score: no lines", do="Give files with at least one line.")
    return bleu_and_chrf(hypotheses, references, tokenizer)


def length_ratio(bleu: Statistics) -> float:
    """Words in the hypotheses / words in the references, as BLEU counts them."""
    return float(bleu.corpus.sys_len / max(bleu.corpus.ref_len, 1))
