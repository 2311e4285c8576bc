"""Reports on test sets as one self-contained HTML page with plots and a table of all sentences.

Its layout is `page.html.j2`, its style `page.css`; `page.js` sorts, searches and filters the sentences.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from mtx.judge.breakdown import Breakdown, Group
from mtx.judge.compare import Difference
from mtx.judge.report import Report, Score
from mtx.judge.sentences import Sentence
from mtx.pages.render import render

Tag = tuple[str, str]  # Name of a group of filters, and of the filter in it that shows the sentence


@dataclass(frozen=True, slots=True)
class Filter:
    """A filter of the table."""

    number: int
    name: str
    count: int  # Sentences that it shows


@dataclass(frozen=True, slots=True)
class ScoreRow:
    """A score by one metric, and what a plot of its interval shows."""

    name: str
    score: Score
    difference: Difference | None  # From the baseline
    first: int  # Ends of the axis
    last: int

    def position(self, value: float) -> str:
        """The place of `value` on the axis, in CSS."""
        return f"{100 * (value - self.first) / (self.last - self.first):.1f}%"


def to_html(report: Report) -> str:
    """Render the page. The same report gives the same bytes; times are left out."""
    reports = report.sets or (report,)
    records = [(each, sentence) for each in reports for sentence in each.sentences]
    counts = Counter(tag for each, sentence in records for tag in _tags(each, sentence))
    numbers, filters = {}, defaultdict(list)
    for number, (tag, count) in enumerate(sorted(counts.items(), key=lambda item: (item[0][0], -item[1], item[0]))):
        numbers[tag] = number
        filters[tag[0]].append(Filter(number, tag[1], count))
    return render(
        "judge/page.html.j2",
        report=report,
        reports=reports,
        scores=_scores,
        plots=_plots,
        filters=filters,
        columns=_columns(records),
        sentences=[_record(each, sentence, numbers) for each, sentence in records],
    )


def _scores(report: Report) -> Iterator[ScoreRow]:
    differences = report.comparison.differences.values() if report.comparison is not None else ()
    by_name = {each.name: each for each in differences}
    for name, score in (("BLEU", report.bleu), ("chrF2", report.chrf), *report.more.items()):
        difference = by_name.get(name)
        ends = [score.score - score.ci, score.score + score.ci, *([difference.baseline] if difference else [])]
        first = 10 * math.floor(min(ends) / 10)
        yield ScoreRow(name, score, difference, first, max(10 * math.ceil(max(ends) / 10), first + 10))


def _plots(breakdown: Breakdown) -> Iterator[tuple[str, list[Group]]]:
    """Titles of the breakdowns that tell something, and their groups."""
    yield "Words in the source", breakdown.by_length
    yield "Sentences in the source line", breakdown.by_sentences
    yield "Times the rarest word is in training", breakdown.by_rarest_word
    yield "Source in training", breakdown.by_overlap


def _columns(records: list[tuple[Report, Sentence]]) -> dict[str, str]:
    """Titles of the table's columns, by their names in the records."""
    sentences = [sentence for _, sentence in records]
    has_baseline = any(each.baseline_tgt is not None for each in sentences)
    return {
        **({"set": "Test set"} if any(each.name for each, _ in records) else {}),
        "line": "Line",
        "chrf": "chrF2",
        **({"change": "Change"} if has_baseline else {}),
        **({"src": "Source"} if any(each.src for each in sentences) else {}),
        "refs": "References" if any(len(each.references) > 1 for each in sentences) else "Reference",
        "tgt": "Translation",
        **({"baseline": "Baseline"} if has_baseline else {}),
    }


def _tags(report: Report, sentence: Sentence) -> Iterator[Tag]:
    yield from (("Signs of a wrong translation", flag) for flag in sentence.flags)
    if sentence.baseline_tgt is not None:
        is_same = sentence.baseline_tgt == sentence.tgt
        name = "same text" if is_same else "better" if sentence.change > 0 else "worse" if sentence.change else "equal"
        yield "Against the baseline, by chrF2", name
    if report.name is not None:
        yield "Test set", report.name


def _record(report: Report, sentence: Sentence, numbers: dict[Tag, int]) -> dict[str, Any]:
    """A sentence as the page's script reads it."""
    record: dict[str, Any] = {
        "set": report.name or "",
        "line": sentence.line,
        "chrf": round(sentence.chrf, 2),
        "src": sentence.src,
        "refs": sentence.references,
        "tgt": sentence.tgt,
        "flags": sentence.flags,
        "tags": [numbers[tag] for tag in _tags(report, sentence)],
    }
    if sentence.baseline_tgt is not None:
        record |= {"baseline": sentence.baseline_tgt, "change": round(sentence.change, 2)}
    return record
