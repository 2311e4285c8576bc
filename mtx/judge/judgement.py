"""Judgement of translations: a report on one test set, with the parts that a user asks for."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from mtx.judge.breakdown import break_down
from mtx.judge.compare import compare
from mtx.judge.report import Report, Score, count, length_ratio
from mtx.judge.sentences import sentences_of
from mtx.judge.statistics import Statistics, bleu_and_chrf, preprocessed_bleu, ter
from mtx.judge.test_set import TestSet, Translated
from mtx.judge.training import Seen


@dataclass(frozen=True, slots=True)
class Parts:
    """Parts of a report beside BLEU and chrF2, and whether they are asked for."""

    ter: bool = False
    tokenized: bool = False  # BLEU of text tokenized by the rules of Moses
    lowercase: bool = False  # BLEU of lower-cased text
    breakdown: bool = False
    sentences: bool = False  # A record of each sentence


def judge(
    test_set: TestSet,
    translated: Translated,
    parts: Parts,
    baseline: Translated | None = None,
    seen: Seen | None = None,
) -> Report:
    """Score translations of `test_set`, compare them with those of `baseline`, and explain the scores.

    `seen` tells what training has seen of the set.

    Raises:
        UserError: no lines, or unequal counts (DATA); a package is missing (MACHINE).
    """
    hypotheses, seconds = translated.hypotheses, translated.seconds
    given = test_set.references, test_set.bleu_tokenizer
    bleu, chrf = count(hypotheses, *given)
    report = Report(
        translated.system,
        len(hypotheses),
        Score.of(bleu),
        Score.of(chrf),
        length_ratio(bleu),
        seconds,
        translated.num_tokens / seconds if seconds else 0.0,
        num_empty=sum(not line.strip() for line in hypotheses),
        name=test_set.name,
    )
    more = [ter(hypotheses, *given)] if parts.ter else []
    theirs: tuple[Sequence[str], Statistics] | tuple[()] = ()
    if baseline is not None:
        others = [*bleu_and_chrf(baseline.hypotheses, *given)]
        theirs = baseline.hypotheses, others[1]
        others += [ter(baseline.hypotheses, *given)] if parts.ter else []
        num_different = sum(map(str.__ne__, hypotheses, baseline.hypotheses))
        comparison = compare([bleu, chrf, *more], others, str(baseline.system), num_different)
        report = replace(report, comparison=comparison)
    if parts.tokenized or parts.lowercase:
        moses_lang = (test_set.language or "en") if parts.tokenized else None
        more.append(preprocessed_bleu(hypotheses, *given, moses_lang, parts.lowercase))
    report = replace(report, more={each.name: Score.of(each) for each in more})
    if parts.breakdown or parts.sentences:
        sentences = sentences_of(test_set, hypotheses, chrf, *theirs)
        report = replace(report, sentences=tuple(sentences))
        if parts.breakdown:
            report = replace(report, breakdown=break_down(bleu, chrf, sentences, test_set.src_lang, seen))
    return report
