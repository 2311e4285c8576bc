"""The findings of `mtx data check` as text for people and as JSON for programs."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict

from mtx.data.check.diagnose import Diagnosis, format_unrelated
from mtx.data.check.overlap import Example, shortened
from mtx.data.check.scan import Finding, Side, SourceReport
from mtx.errors import escape_controls

MAX_SHOWN = 60  # Length to which the sentences of an example are cut, in characters


def to_json(diagnosis: Diagnosis) -> str:
    """Return one object with `problems` and `notes` (one line each), `sources` and `overlaps`.

    Each source has `name`, `role`, `num_pairs`, `num_dropped`, `error`, `findings` (`rule`, `verdict`, `setting`,
    `count`, `examples`), `sides` (`language`, `num_letters`, `num_words`, `longest`, `histogram`, `scripts`) and
    `alignment` (`slips`, `num_unrelated`, `first_unrelated`, `agreement`); each overlap has `role`, `within`,
    `num_pairs`, `both`, `src`, `tgt`, `near`, `examples`. The dataclasses of these names document the keys.
    """
    text = json.dumps(asdict(diagnosis), ensure_ascii=False, allow_nan=False)
    # JSON escapes only some of the characters that control a terminal.
    return "".join(char if char.isprintable() else json.dumps(char)[1:-1] for char in text)


def to_text(diagnosis: Diagnosis) -> str:
    """Return the report for a terminal, with control characters escaped."""
    return "\n".join(_lines(diagnosis))


def format_num_pairs(source: SourceReport) -> str:
    """Format the number of pairs, whether that is all, and how many would be trained on."""
    kept = f", {source.num_pairs - source.num_dropped:,} to train on" if source.role == "train" else ""
    part = " before an error" if source.error is not None else ""
    return f"{source.num_pairs:,} {'pair' if source.num_pairs == 1 else 'pairs'}{part}{kept}"


def format_side(side: Side, num_pairs: int) -> str:
    """Format the lengths and scripts of the sentences of a side."""
    letters, words = side.num_letters / max(num_pairs, 1), side.num_words / max(num_pairs, 1)
    total = max(sum(side.scripts.values()), 1)
    shares = [(name.lower(), count) for name, count in side.scripts.items() if count >= total / 1000]
    scripts = ", ".join(f"{name} {_percent(count, total)}" for name, count in shares)
    sizes = f"{letters:.0f} letters and {words:.1f} words a sentence, {side.longest:,} at most"
    return f"{sizes}; {scripts or 'no letters'}"


def format_finding(finding: Finding) -> str:
    """Format a rule and the setting that would enable it."""
    ask = f" ({finding.setting})" if finding.setting is not None and finding.verdict.startswith("would") else ""
    return f"{finding.rule}{ask}"


def format_misaligned(source: SourceReport) -> Iterator[str]:
    """Format the lines that do not correspond."""
    yield from map(str, source.alignment.slips)
    if source.alignment.num_unrelated:
        yield format_unrelated(source.alignment, source.num_pairs)


def _lines(diagnosis: Diagnosis) -> Iterator[str]:
    for source in diagnosis.sources:
        yield f"{source.role}: {escape_controls(source.name)}: {format_num_pairs(source)}"
        width = max(len(side.language) for side in source.sides)
        yield from (f"  {side.language:<{width}}  {format_side(side, source.num_pairs)}" for side in source.sides)
        for finding in source.findings:
            yield f"  {finding.verdict:<10} {finding.count:>11,}  {format_finding(finding)}"
            yield from _example_lines(finding.examples)
        yield from (f"  misaligned  {what}" for what in format_misaligned(source))
        yield ""
    for each in diagnosis.overlaps:
        counts = f"{each.both:,} whole, {each.src:,} by source, {each.tgt:,} by target, {each.near:,} nearly"
        yield f"of {each.num_pairs:,} {each.role} pairs in {each.within}: {counts}"
        yield from _example_lines(each.examples)
    if diagnosis.overlaps:
        yield ""
    yield from (f"note: {escape_controls(note)}" for note in diagnosis.notes)
    yield from (f"problem: {escape_controls(problem)}" for problem in diagnosis.problems)
    if not diagnosis.problems:
        yield "no problems found"


def _example_lines(examples: Sequence[Example]) -> Iterator[str]:
    for each in examples:
        src, tgt = (shortened(escape_controls(text), MAX_SHOWN) for text in (each.src, each.tgt))
        yield f"{'line ' + format(each.line, ','):>26}  {src} | {tgt}"


def _percent(count: int, total: int) -> str:
    """Format a share, never as 100 % unless it is all."""
    return "over 99.9 %" if 0.999 * total < count < total else f"{100 * count / total:.3g} %"
