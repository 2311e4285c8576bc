"""Reports on test sets as one self-contained HTML page with plots and a table of all sentences.

Its layout is `page.html.j2`, its style `page.css`; `page.js` sorts, searches and filters the sentences.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from mtx.judge.breakdown import SIGNS
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
        return f"{100 * (max(value, 0) - self.first) / (self.last - self.first):.1f}%"


@dataclass(frozen=True, slots=True)
class Bar:
    """A bar of a plot, with its value beside it."""

    series: int  # Number of its colour
    percent: float  # Length
    text: str


@dataclass(frozen=True, slots=True)
class Plot:
    """Bars by kind of sentence."""

    title: str
    legend: dict[int, str]  # Name of what each series shows
    rows: list[tuple[str, int, list[Bar]]]  # The kind, the number of lines, and the bars
    count: str = "Lines"  # Title of the numbers of lines

    @property
    def room(self) -> float:
        """Room for the longest text beside a bar, in the height of its letters."""
        return 0.5 + 0.6 * max((len(bar.text) for _, _, bars in self.rows for bar in bars), default=0)


SCORES = {1: "BLEU", 2: "chrF2"}


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
        last = max(10 * math.ceil(round(max(ends), 6) / 10), 10)  # sacreBLEU's perfect score is above 100 by rounding
        yield ScoreRow(name, score, difference, min(10 * math.floor(max(min(ends), 0) / 10), last - 10), last)


def _plots(report: Report) -> Iterator[Plot]:
    breakdown, robustness = report.breakdown, report.robustness
    if breakdown is not None:
        for title, groups in breakdown.tables.items():
            rows = [(each.name, each.num_sentences, _score_bars(each.bleu, each.chrf)) for each in groups]
            yield Plot(title.capitalize(), SCORES, rows)
        shares = [(name, count, 100 * count / report.num_sentences) for name, count in breakdown.flags.items()]
        rows = [(name, count, [Bar(5, share, f"{share:.1f} %")]) for name, count, share in shares]
        yield Plot(SIGNS.capitalize(), {5: "Share"}, rows)
    if robustness is not None:
        undisturbed = _score_bars(robustness.bleu, robustness.chrf)
        rows = [
            (each.kind, each.num_changed, _score_bars(each.bleu, each.chrf, (-each.bleu_lost, -each.chrf_lost)))
            for each in robustness.losses
        ]
        yield Plot("Disturbed sources", SCORES, [("undisturbed", 0, undisturbed), *rows], count="Changed")


def _score_bars(bleu: float, chrf: float, changes: tuple[float, ...] = ()) -> list[Bar]:
    notes = [f" ({change:+z.1f})" for change in changes] or ["", ""]
    return [Bar(i, score, f"{score:.1f}{note}") for i, score, note in zip((1, 2), (bleu, chrf), notes, strict=True)]


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
    yield from ((SIGNS.capitalize(), flag) for flag in sentence.flags)
    if sentence.baseline_tgt is not None:
        is_same = sentence.baseline_tgt == sentence.tgt
        name = (
            "same text"
            if is_same
            else "better"
            if sentence.change > 0
            else "worse"
            if sentence.change
            else "same score"
        )
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
