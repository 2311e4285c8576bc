"""Scores of parts of a corpus, and of text folded as in the literature."""

import pytest
import sacrebleu

from mtx.judge import statistics
from mtx.judge.statistics import bleu_and_chrf, preprocessed_bleu, ter

HYPOTHESES = ["The dog doesn't see (the) cat.", "A big tree!", "", "One two three four."]
REFERENCES = [["The Dog doesn't see the cat.", "A big, big tree!", "No.", "One two three four"]]


@pytest.mark.parametrize("at_a_time", [1, 3, 1000])
def test_a_part_is_scored_as_if_alone(at_a_time: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statistics, "SENTENCES_AT_A_TIME", at_a_time)
    part = [0, 2, 3]
    hypotheses, references = [HYPOTHESES[i] for i in part], [[REFERENCES[0][i] for i in part]]
    bleu, chrf = bleu_and_chrf(HYPOTHESES, REFERENCES, "13a")
    assert bleu.score(part) == sacrebleu.corpus_bleu(hypotheses, references).score
    assert chrf.score(part) == sacrebleu.corpus_chrf(hypotheses, references).score
    assert ter(HYPOTHESES, REFERENCES, "13a").score(part) == sacrebleu.corpus_ter(hypotheses, references).score


def test_ter_of_chinese_counts_characters() -> None:
    hypotheses, references = ["今天天气好"], [["今天天气很好"]]
    assert ter(hypotheses, references, "zh").score() == pytest.approx(100 / 6)
    assert ter(hypotheses, references, "13a").score() == 100.0


def test_bleu_of_lower_cased_and_tokenized_text_has_its_own_name() -> None:
    pytest.importorskip("sacremoses")
    lower = preprocessed_bleu(HYPOTHESES, REFERENCES, "13a", None, lowercase=True)
    assert (lower.name, lower.key) == ("lower-cased BLEU", "lower_cased_bleu")
    assert lower.score() == sacrebleu.corpus_bleu(HYPOTHESES, REFERENCES, lowercase=True).score
    # Cut by hand as the tokenizer of Moses cuts
    cut = ["The dog doesn 't see ( the ) cat .", "A big tree !", "", "One two three four ."]
    cut_references = [["The Dog doesn 't see the cat .", "A big , big tree !", "No .", "One two three four"]]
    options = {"tokenize": "none", "force": True}
    both = preprocessed_bleu(HYPOTHESES, REFERENCES, "13a", "en", lowercase=True)
    assert (both.name, both.key) == ("tokenized lower-cased BLEU", "tokenized_lower_cased_bleu")
    lowered = [line.lower() for line in cut], [[line.lower() for line in lines] for lines in cut_references]
    assert both.score() == sacrebleu.corpus_bleu(*lowered, **options).score
    tokenized = preprocessed_bleu(HYPOTHESES, REFERENCES, "13a", "en", lowercase=False)
    assert tokenized.name == "tokenized BLEU"
    assert tokenized.score() == sacrebleu.corpus_bleu(cut, cut_references, **options).score
    assert tokenized.score() != lower.score()
