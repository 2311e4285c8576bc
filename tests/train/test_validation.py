"""The best of several validations, and the end of a training that gets no better."""

import math

import pytest

from mtx.checkpoint.training import Evaluation, SetScores
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


def test_the_mean_over_all_dev_sets_is_compared() -> None:
    sets = [SetScores("de", 2.0, 30.0, 50.0, "13a"), SetScores("zh", 4.0, 10.0, 20.0, "zh")]
    evaluation = Evaluation.of(7, sets)
    assert evaluation == Evaluation(7, 3.0, 20.0, 35.0, sets)
    assert "BLEU 20.00" in (text := format_evaluation(evaluation))
    assert "de: loss 2.0000, BLEU 30.00" in text
    better = Evaluation.of(8, [SetScores("de", 2.0, 25.0, 50.0, "13a"), SetScores("zh", 4.0, 16.0, 20.0, "zh")])
    assert best_of([evaluation, better]) is better
    assert format_evaluation(Evaluation.of(9, sets[:1])) == format_evaluation(Evaluation(9, 2.0, 30.0, 50.0))


def test_bleu_of_another_tokenizer_is_not_compared() -> None:
    """Evaluations of earlier versions, which recorded no tokenizer, are."""
    old = Evaluation(1, 2.0, 30.0, 50.0)
    by_words, by_characters = (
        Evaluation.of(2, [SetScores("ja", 2.0, *bleu)]) for bleu in ((20.0, 50.0, "ja-mecab"), (40.0, 50.0, "char"))
    )
    assert best_of([by_characters, by_words]) is by_words
    assert best_of([by_words, by_characters]) is by_characters
    assert best_of([old, by_words]) is old
