"""What the data doctor found: as text, as JSON, and as one page of HTML with plots."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from html import escape
from typing import Any

from mtx.data.doctor import LENGTH_STEP, Diagnosis, Examined, Finding, Side
from mtx.data.overlap import Overlap
from mtx.errors import printable

MAX_SHOWN = 100
"""Characters of a sentence that are shown."""

_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;margin:2em auto;max-width:60em;padding:0 1em;color:#222;background:#fff}
h1{font-size:1.5em}h2{font-size:1.2em;margin-top:2em;border-bottom:1px solid #ccc}
table{border-collapse:collapse;width:100%}td,th{text-align:left;padding:.2em .8em .2em 0;vertical-align:top}
th{border-bottom:1px solid #ccc}td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}
.problem{background:#fdecea;border-left:4px solid #c62828;padding:.5em 1em;margin:.5em 0}
.fine{background:#e8f5e9;border-left:4px solid #2e7d32;padding:.5em 1em}
.examples{color:#555;font-size:.9em}svg{max-width:100%}figcaption{color:#555;font-size:.9em}
@media(prefers-color-scheme:dark){body{color:#ddd;background:#1b1b1b}.problem{background:#4a1f1c}.fine{background:#1d3a20}
.examples,figcaption{color:#aaa}}
"""


def to_json(diagnosis: Diagnosis) -> str:
    """One object with everything; its overlaps as counts."""
    whole = {
        "problems": diagnosis.problems,
        "overlaps": {role: _counts(overlap) for role, overlap in diagnosis.overlaps.items()},
        "sources": [asdict(source) for source in diagnosis.sources],
    }
    return json.dumps(whole, ensure_ascii=False)


def to_text(diagnosis: Diagnosis) -> str:
    """For people, on a terminal."""
    return "\n".join(_text_lines(diagnosis))


def to_html(diagnosis: Diagnosis) -> str:
    """One page that needs nothing beside it: no script, no address."""
    body = "".join(_html_parts(diagnosis))
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>mtx data check</title>'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head>\n'
        f"<body>{body}</body></html>\n"
    )


# --- text ------------------------------------------------------------------------------------------------------------


def _text_lines(diagnosis: Diagnosis) -> Iterator[str]:
    for source in diagnosis.sources:
        yield f"{source.role}: {printable(source.name)}: {source.num_pairs:,} pairs{_kept(source)}"
        for side in source.sides:
            yield f"  {side.language:<12} {_side_in_words(side, source.num_pairs)}"
        for finding in source.findings:
            verdict = "dropped" if finding.is_dropped else "would drop"
            yield f"  {verdict:<12} {finding.count:>9,} {finding.reason}{_example_in_words(finding)}"
        for slip in source.slips:
            yield f"  misaligned   lines {slip.begin:,} to {slip.end:,}: the target is {slip.shift:+d} lines off"
    for role, overlap in diagnosis.overlaps.items():
        yield f"{role} and train: {_overlap_in_words(overlap)}"
    for problem in diagnosis.problems:
        yield f"problem: {printable(problem)}"
    if not diagnosis.problems:
        yield "nothing here should stop a training"


def _kept(source: Examined) -> str:
    return f", {source.num_pairs - source.num_dropped:,} to train on" if source.role == "train" else ""


def _side_in_words(side: Side, num_pairs: int) -> str:
    total = max(sum(side.scripts.values()), 1)
    scripts = ", ".join(f"{name.lower()} {100 * count / total:.3g} %" for name, count in side.scripts.items())
    each = (
        f"{side.num_letters / max(num_pairs, 1):.0f} letters, {side.num_words / max(num_pairs, 1):.1f} words a sentence"
    )
    return f"{each}; {scripts or 'no letters'}"


def _example_in_words(finding: Finding) -> str:
    first = finding.examples[0]
    return f", such as line {first.line:,}: {_short(first.src)} | {_short(first.tgt)}"


def _overlap_in_words(overlap: Overlap) -> str:
    counts = _counts(overlap)
    return ", ".join(
        [
            f"{counts['both']:,} of {counts['pairs']:,} pairs occur whole",
            f"{counts['src']:,} sources",
            f"{counts['tgt']:,} targets",
            f"{counts['near']:,} more nearly",
        ]
    )


def _counts(overlap: Overlap) -> dict[str, int]:
    return {
        "pairs": overlap.num_pairs, "both": len(overlap.both), "src": len(overlap.src), "tgt": len(overlap.tgt),
        "near": len(overlap.near),
    }  # fmt: skip


def _short(text: str) -> str:
    text = printable(text)
    return text if len(text) <= MAX_SHOWN else f"{text[: MAX_SHOWN - 1]}…"


# --- HTML ------------------------------------------------------------------------------------------------------------


def _html_parts(diagnosis: Diagnosis) -> Iterator[str]:
    yield "<h1>mtx data check</h1>"
    yield from (f'<p class="problem">{escape(printable(problem))}</p>' for problem in diagnosis.problems)
    if not diagnosis.problems:
        yield '<p class="fine">Nothing here should stop a training.</p>'
    if diagnosis.overlaps:
        yield "<h2>Overlap with the training pairs</h2>"
        rows = [(role, *map(_number, _counts(overlap).values())) for role, overlap in diagnosis.overlaps.items()]
        yield _table(["set", "pairs", "pairs in train", "sources", "targets", "nearly"], rows)
    for source in diagnosis.sources:
        yield f"<h2>{source.role}: {escape(printable(source.name))}</h2>"
        yield f"<p>{source.num_pairs:,} pairs{_kept(source)}</p>"
        yield _table(
            ["language", "what is in it"], [(s.language, _side_in_words(s, source.num_pairs)) for s in source.sides]
        )
        yield _histogram(source.sides)
        if source.findings:
            yield _findings(source.findings)
        for slip in source.slips:
            text = f"lines {slip.begin:,} to {slip.end:,}: the target is {slip.shift:+d} lines off"
            yield f'<p class="problem">misaligned: {text}</p>'


def _findings(findings: Sequence[Finding]) -> str:
    rows = []
    for finding in findings:
        shown = "<br>".join(f"{e.line:,}: {escape(_short(e.src))} | {escape(_short(e.tgt))}" for e in finding.examples)
        verdict = "dropped" if finding.is_dropped else "would drop"
        rows.append(
            f'<tr><td>{verdict}</td><td class="n">{finding.count:,}</td><td>{escape(finding.reason)}</td>'
            f'<td class="examples">{shown}</td></tr>'
        )
    head = '<tr><th></th><th class="n">pairs</th><th>rule</th><th>examples</th></tr>'
    return f"<table>{head}{''.join(rows)}</table>"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    cells = [f"<tr>{''.join(f'<th>{escape(cell)}</th>' for cell in head)}</tr>"]
    cells += [f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows]
    return f"<table>{''.join(cells)}</table>"


def _number(value: Any) -> str:
    return f"{value:,}"


def _histogram(sides: Sequence[Side]) -> str:
    """Sentences of both languages by length, side by side, as bars."""
    width, height, colors = 820, 160, ("#1565c0", "#ef6c00")
    tallest = max(max(side.histogram) for side in sides) or 1
    num_bars = len(sides[0].histogram)
    step = width / num_bars
    bars = [
        f'<rect x="{step * (bar + 0.42 * number):.1f}" y="{height - height * count / tallest:.1f}" '
        f'width="{0.4 * step:.1f}" height="{height * count / tallest:.1f}" fill="{colors[number]}">'
        f"<title>{escape(side.language)}: {count:,} of {LENGTH_STEP * bar} letters or more</title></rect>"
        for number, side in enumerate(sides)
        for bar, count in enumerate(side.histogram)
        if count
    ]
    marks = [
        f'<text x="{step * bar:.1f}" y="{height + 16}" font-size="12" fill="currentColor">{LENGTH_STEP * bar}</text>'
        for bar in range(0, num_bars, 5)
    ]
    legend = ", ".join(
        f'<span style="color:{color}">{escape(side.language)}</span>' for side, color in zip(sides, colors, strict=True)
    )
    return (
        f'<figure><svg viewBox="0 0 {width} {height + 20}" role="img">{"".join(bars + marks)}</svg>'
        f"<figcaption>Sentences by their length in letters: {legend}</figcaption></figure>"
    )
