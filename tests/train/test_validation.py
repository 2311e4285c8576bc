"""The best of several validations, and the end of a training that gets no better."""

import math

import pytest

from mtx.checkpoint.training import Evaluation
from mtx.train.validation import best_of, format_evaluation, is_out_of_patience


@pytest.mark.parametrize(
    ("scores", "best"),
    [
        ([(2.0, 10.0), (1.5, 12.0), (1.0, 11.0)], 1),
        ([(2.0, 10.0), (1.5, 10.0), (1.7, 10.0)], 1),
        ([(1.5, 10.0), (1.5, 10.0)], 0),
        ([(math.nan, 10.0), (2.0, 10.0)], 1),
        ([(2.0, 10.0), (math.nan, 10.0)], 0),
        ([(2.0, 0.0), (math.nan, 12.0)], 0),
        ([(math.inf, 12.0), (2.0, 0.0)], 1),
        ([(math.nan, 1.0), (math.inf, 2.0), (math.nan, 2.0)], 1),
    ],
)
def test_the_best_has_the_highest_bleu_of_those_with_a_finite_loss(
    scores: list[tuple[float, float]], best: int
) -> None:
    evaluations = [Evaluation(step, loss, bleu, chrf=0.0) for step, (loss, bleu) in enumerate(scores)]
    assert best_of(evaluations) is evaluations[best]
    assert format_evaluation(evaluations[best]).startswith("dev loss ")


@pytest.mark.parametrize(("patience", "is_over"), [(0, False), (1, True), (2, True), (3, False)])
def test_patience_counts_validations_after_the_best(patience: int, is_over: bool) -> None:
    evaluations = [Evaluation(step, 1.0, bleu, 0.0) for step, bleu in enumerate([1.0, 3.0, 2.0, 2.5])]
    assert is_out_of_patience(evaluations, patience) == is_over
    assert not is_out_of_patience([], patience)
