"""What the data doctor found, as one page of HTML with plots that needs nothing beside it."""

from collections.abc import Iterator, Sequence
from html import escape

from mtx.data.check.alignment import LOW
from mtx.data.check.diagnose import Diagnosis, Shared
from mtx.data.check.examples import Example
from mtx.data.check.report import finding_in_words, misaligned_in_words, pairs_in_words, side_in_words
from mtx.data.check.scan import LENGTH_STEP, Examined, Side
from mtx.errors import escape_controls

WIDTH, HEIGHT = 820, 160
"""Of a plot."""

_COLORS = ("#1565c0", "#ef6c00")
_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;margin:2em auto;max-width:60em;padding:0 1em;color:#222;background:#fff}
h1{font-size:1.5em}h2{font-size:1.2em;margin-top:2em;border-bottom:1px solid #ccc}
table{border-collapse:collapse;width:100%}td,th{text-align:left;padding:.2em .8em .2em 0;vertical-align:top}
th{border-bottom:1px solid #ccc}td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}
.problem{background:#fdecea;border-left:4px solid #c62828;padding:.5em 1em;margin:.5em 0}
.fine{background:#e8f5e9;border-left:4px solid #2e7d32;padding:.5em 1em}
.examples{color:#555;font-size:.9em;overflow-wrap:anywhere}.bar{display:block;height:.3em;background:#ef6c00}
figure{margin:1em 0}svg{max-width:100%}figcaption{color:#555;font-size:.9em}
@media(prefers-color-scheme:dark){body{color:#ddd;background:#1b1b1b}.problem{background:#4a1f1c}.fine{background:#1d3a20}
.examples,figcaption{color:#aaa}}
"""


def to_html(diagnosis: Diagnosis) -> str:
    """One page without a script or an address in it, whose text is nothing but text."""
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>mtx data check</title>'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head>\n'
        f"<body>{''.join(_parts(diagnosis))}</body></html>\n"
    )


def _parts(diagnosis: Diagnosis) -> Iterator[str]:
    yield "<h1>mtx data check</h1>\n"
    yield from (f'<p class="problem">{_text(problem)}</p>\n' for problem in diagnosis.problems)
    if not diagnosis.problems:
        yield '<p class="fine">Nothing here should stop a training.</p>\n'
    if diagnosis.shared:
        yield _overlaps(diagnosis.shared)
    for source in diagnosis.sources:
        yield f"<h2>{source.role}: {_text(source.name)}</h2>\n<p>{pairs_in_words(source)}</p>\n"
        rows = [[_cell(side.language), _cell(side_in_words(side, source.num_pairs))] for side in source.sides]
        yield _table(["language", "sentences"], rows)
        yield _histogram(source.sides)
        yield _curve(source)
        yield from (f'<p class="problem">misaligned: {_text(what)}</p>\n' for what in misaligned_in_words(source))
        if source.findings:
            yield _findings(source)


def _overlaps(shared: Sequence[Shared]) -> str:
    rows = []
    for each in shared:
        found = each.overlap
        counts = [_count(number) for number in (found.num_pairs, found.both, found.src, found.tgt, found.near)]
        rows.append([_cell(f"{each.role} in {each.within}"), *counts, _examples(found.examples)])
    head = ["overlap of", "pairs", "whole", "by source", "by target", "nearly", "examples"]
    return _table(head, rows)


def _findings(source: Examined) -> str:
    rows = []
    for finding in source.findings:
        width = 100 * finding.count / source.num_pairs
        bar = f'<td><span class="bar" style="width:{width:.1f}%"></span></td>'
        cells = [_cell(finding.verdict), _count(finding.count), bar, _cell(finding_in_words(finding))]
        rows.append([*cells, _examples(finding.examples)])
    return _table(["", "pairs", "of all", "what", "examples"], rows)


def _histogram(sides: Sequence[Side]) -> str:
    """Sentences of both languages by length, side by side, as bars."""
    num_bars = len(sides[0].histogram)
    tallest = max(max(side.histogram) for side in sides) or 1
    step = WIDTH / num_bars
    bars = []
    for number, side in enumerate(sides):
        for place, count in enumerate(side.histogram):
            if not count:
                continue
            height = max(HEIGHT * count / tallest, 1)
            to = f"to {LENGTH_STEP * (place + 1) - 1} letters" if place < num_bars - 1 else "letters and more"
            title = f"{side.language}: {count:,} of {LENGTH_STEP * place} {to}"
            bars.append(
                f'<rect x="{step * (place + 0.42 * number):.1f}" y="{HEIGHT - height:.1f}" width="{0.4 * step:.1f}" '
                f'height="{height:.1f}" fill="{_COLORS[number]}"><title>{_text(title)}</title></rect>'
            )
    marks = [_mark(step * place, str(LENGTH_STEP * place)) for place in range(0, num_bars, 5)]
    legend = ", ".join(
        f'<span style="color:{color}">{_text(side.language)}</span>' for side, color in zip(sides, _COLORS, strict=True)
    )
    return _figure([*bars, *marks], f"Sentences by their length in letters: {legend}")


def _curve(source: Examined) -> str:
    """How well the lengths of both sides go together, from the first line to the last."""
    values = source.alignment.agreement
    if not values:
        return ""
    step = WIDTH / len(values)
    heights = [HEIGHT * (1 - max(value, 0)) for value in values]
    points = " ".join(f"{step * place:.1f},{y:.1f} {step * (place + 1):.1f},{y:.1f}" for place, y in enumerate(heights))
    limit = HEIGHT * (1 - LOW)
    shapes = [
        f'<line x1="0" y1="{limit:.1f}" x2="{WIDTH}" y2="{limit:.1f}" stroke="#c62828" stroke-dasharray="4"></line>',
        f'<polyline points="{points}" fill="none" stroke="{_COLORS[0]}" stroke-width="2"></polyline>',
        *(_mark(WIDTH * part / 4, f"{source.num_pairs * part // 4:,}") for part in range(4)),
    ]
    what = "How well the lengths of both sides go together (correlation, 0 to 1), by line"
    return _figure(shapes, f"{what}; below the dashed line they look misaligned")


def _figure(shapes: Sequence[str], caption: str) -> str:
    view = f"0 -2 {WIDTH} {HEIGHT + 22}"
    svg = f'<svg viewBox="{view}" role="img">{"".join(shapes)}</svg>'
    return f"<figure>{svg}<figcaption>{caption}</figcaption></figure>\n"


def _mark(x: float, text: str) -> str:
    return f'<text x="{x:.1f}" y="{HEIGHT + 16}" font-size="12" fill="currentColor">{text}</text>'


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["".join(f"<th>{cell}</th>" for cell in head), *("".join(row) for row in rows)]
    return f"<table>{''.join(f'<tr>{line}</tr>' for line in lines)}</table>\n"


def _cell(text: str) -> str:
    return f"<td>{_text(text)}</td>"


def _count(number: int) -> str:
    return f'<td class="n">{number:,}</td>'


def _examples(examples: Sequence[Example]) -> str:
    shown = "<br>".join(f"{each.line:,}: {_text(each.src)} | {_text(each.tgt)}" for each in examples)
    return f'<td class="examples">{shown}</td>'


def _text(text: str) -> str:
    return escape(escape_controls(text))
