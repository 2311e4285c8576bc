"""Which of several validations is the best."""

import math

import pytest

from mtx.checkpoint.training import Evaluation
from mtx.train.validation import best_of, describe


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
    assert describe(evaluations[best]).startswith("dev loss ")
