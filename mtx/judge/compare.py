"""Comparison of two systems on the same sentences by paired tests, which equal those of the `sacrebleu` command."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mtx.judge.statistics import SEED, Statistics

SIGNIFICANT = 0.05  # Probability of a chance result below which a difference counts
MIN_DIFFERENT = 6  # Sentences that must differ: even if 5 all favour one system, a sign test has p = 2 / 2^5 > 0.05
NUM_TRIALS = 10_000  # Trials of approximate randomization, as sacreBLEU's default
# Trials drawn at a time. Any multiple of 32 gives the choices that sacreBLEU draws at once: each is a bit of a word.
TRIALS_AT_A_TIME = 32

Verdict = Literal["better", "worse", "cannot tell"]


@dataclass(frozen=True, slots=True)
class Difference:
    """The difference between two systems by one metric."""

    name: str
    baseline: float  # Score of the baseline
    score: float
    p_bootstrap: float  # By paired bootstrap resampling (Koehn 2004)
    p_randomization: float  # By approximate randomization (Riezler and Maxwell 2005)
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Comparison:
    """The comparison of a system with a baseline."""

    baseline: str  # File or model folder
    num_different: int  # Sentences that the systems translate differently
    verdict: Verdict  # That of most metrics
    differences: dict[str, Difference]  # By the names of the metrics in JSON

    def to_lines(self) -> list[str]:
        """A table for people."""
        lines = [f"against {self.baseline}: {self.verdict} ({self.num_different:,} sentences differ)"]
        lines.append(f"  {'':<6}{'baseline':>9}{'score':>9}{'change':>9}{'p (bootstrap)':>15}{'p (randomization)':>19}")
        for each in self.differences.values():
            scores = f"{each.baseline:9.2f}{each.score:9.2f}{each.score - each.baseline:+z9.2f}"
            tests = f"{each.p_bootstrap:15.4f}{each.p_randomization:19.4f}"
            lines.append(f"  {each.name:<6}{scores}{tests}  {each.verdict}")
        return lines


def compare(system: Sequence[Statistics], baseline: Sequence[Statistics], name: str, num_different: int) -> Comparison:
    """Compare a system with the baseline `name` by each metric; `num_different` of their sentences differ.

    The verdict of a metric needs both tests, that of the comparison most metrics.
    """
    from sacrebleu.significance import _compute_p_value

    differences = {}
    for ours, theirs in zip(system, baseline, strict=True):
        score, other = ours.score(), theirs.score()
        apart, p_bootstrap, p_randomization = abs(other - score), 1.0, 1.0
        bootstrap = np.abs(ours.bootstrap - theirs.bootstrap)
        if apart > 0 or bootstrap.any():  # or else sacreBLEU's p-values are those of a sure difference
            p_bootstrap = _compute_p_value(bootstrap - bootstrap.mean(), apart)
            p_randomization = _compute_p_value(_shuffled_differences(ours, theirs), apart)
        verdict: Verdict = "cannot tell"
        if apart > 0 and num_different >= MIN_DIFFERENT and max(p_bootstrap, p_randomization) < SIGNIFICANT:
            verdict = "better" if (score > other) != ours.is_error else "worse"
        differences[ours.key] = Difference(ours.name, other, score, p_bootstrap, p_randomization, verdict)
    verdicts = [each.verdict for each in differences.values()]
    agreed = (verdict for verdict in verdicts if 2 * verdicts.count(verdict) > len(verdicts))
    return Comparison(name, num_different, next(agreed, "cannot tell"), differences)


def _shuffled_differences(system: Statistics, baseline: Statistics) -> NDArray[np.float64]:
    """Absolute differences of two systems that exchange the translations of randomly chosen sentences."""
    generator, metric = np.random.default_rng(SEED), system.metric
    exchanged, totals = baseline.rows - system.rows, (system.rows.sum(0), baseline.rows.sum(0))
    found = []
    for first in range(0, NUM_TRIALS, TRIALS_AT_A_TIME):
        num_trials = min(TRIALS_AT_A_TIME, NUM_TRIALS - first)
        chosen = generator.integers(2, size=(num_trials, len(exchanged)), dtype=bool)
        for change in chosen @ exchanged:
            scores = [_score(metric, totals[0] + change), _score(metric, totals[1] - change)]
            found.append(abs(scores[0] - scores[1]))
    return np.array(found)


def _score(metric: Any, counts: NDArray[np.float64]) -> float:
    return float(metric._compute_score_from_stats(counts.tolist()).score)
