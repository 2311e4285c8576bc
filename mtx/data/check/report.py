"""What the data doctor found, as text for people and as JSON for programs."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict

from mtx.data.check.diagnose import Diagnosis, Shared, unrelated_in_words
from mtx.data.check.examples import Example, shortened
from mtx.data.check.scan import Examined, Finding, Side
from mtx.errors import escape_controls

MAX_SHOWN = 60
"""Characters of a sentence that a line of text has room for."""


def to_json(diagnosis: Diagnosis) -> str:
    """One object: `problems`, lines that say what should stop a training; `sources` and `overlaps`.

    Of each source `name`, `role`, `num_pairs`, `num_dropped`, `error`, `findings` (`rule`, `verdict`, `setting`,
    `count`, `examples`), `sides` (`language`, `num_letters`, `num_words`, `longest`, `histogram`, `scripts`) and
    `alignment` (`slips`, `num_unrelated`, `first_unrelated`, `agreement`); of each overlap `role`, `within`,
    `num_pairs`, `both`, `src`, `tgt`, `near`, `examples`. The dataclasses of these names say what the keys mean.
    """
    overlaps = [{"role": each.role, "within": each.within, **asdict(each.overlap)} for each in diagnosis.shared]
    whole = {
        "problems": diagnosis.problems,
        "sources": [asdict(source) for source in diagnosis.sources],
        "overlaps": overlaps,
    }
    text = json.dumps(whole, ensure_ascii=False, allow_nan=False)
    # JSON escapes what steers a terminal only in part.
    return "".join(char if char.isprintable() else json.dumps(char)[1:-1] for char in text)


def to_text(diagnosis: Diagnosis) -> str:
    """For people, on a terminal, which nothing in the text can steer."""
    return "\n".join(_lines(diagnosis))


def pairs_in_words(source: Examined) -> str:
    """How many pairs there are, whether they are all, and how many of them would be trained on."""
    kept = f", {source.num_pairs - source.num_dropped:,} to train on" if source.role == "train" else ""
    part = ", up to what cannot be read" if source.error is not None else ""
    return f"{source.num_pairs:,} {'pair' if source.num_pairs == 1 else 'pairs'}{part}{kept}"


def side_in_words(side: Side, num_pairs: int) -> str:
    """How long the sentences of a side are, and in which scripts."""
    letters, words = side.num_letters / max(num_pairs, 1), side.num_words / max(num_pairs, 1)
    total = max(sum(side.scripts.values()), 1)
    shares = [(name.lower(), count) for name, count in side.scripts.items() if count >= total / 1000]
    scripts = ", ".join(f"{name} {_percent(count, total)}" for name, count in shares)
    return (
        f"{letters:.0f} letters and {words:.1f} words a sentence, {side.longest:,} at most; {scripts or 'no letters'}"
    )


def finding_in_words(finding: Finding) -> str:
    """What a rule is about, and the setting that decides on it."""
    ask = f" ({finding.setting})" if finding.setting is not None and finding.verdict.startswith("would") else ""
    return f"{finding.rule}{ask}"


def misaligned_in_words(source: Examined) -> Iterator[str]:
    """Which lines do not go with each other."""
    yield from map(str, source.alignment.slips)
    if source.alignment.num_unrelated:
        yield unrelated_in_words(source)


def overlap_in_words(shared: Shared) -> str:
    """How much of a set occurs elsewhere."""
    found = shared.overlap
    counts = f"{found.both:,} whole, {found.src:,} by source, {found.tgt:,} by target, {found.near:,} more nearly"
    return f"of {found.num_pairs:,} {shared.role} pairs in {shared.within}: {counts}"


def _lines(diagnosis: Diagnosis) -> Iterator[str]:
    for source in diagnosis.sources:
        yield f"{source.role}: {escape_controls(source.name)}: {pairs_in_words(source)}"
        width = max(len(side.language) for side in source.sides)
        yield from (f"  {side.language:<{width}}  {side_in_words(side, source.num_pairs)}" for side in source.sides)
        for finding in source.findings:
            yield f"  {finding.verdict:<10} {finding.count:>11,}  {finding_in_words(finding)}"
            yield from _example_lines(finding.examples)
        yield from (f"  misaligned  {what}" for what in misaligned_in_words(source))
        yield ""
    yield from _overlap_lines(diagnosis.shared)
    yield from (f"problem: {escape_controls(problem)}" for problem in diagnosis.problems)
    if not diagnosis.problems:
        yield "nothing here should stop a training"


def _overlap_lines(shared: Sequence[Shared]) -> Iterator[str]:
    for each in shared:
        yield overlap_in_words(each)
        yield from _example_lines(each.overlap.examples)
    if shared:
        yield ""


def _example_lines(examples: Sequence[Example]) -> Iterator[str]:
    for each in examples:
        src, tgt = (shortened(escape_controls(text), MAX_SHOWN) for text in (each.src, each.tgt))
        yield f"{'line ' + format(each.line, ','):>26}  {src} | {tgt}"


def _percent(count: int, total: int) -> str:
    """A share for people: never 100 % of what is not all."""
    return "over 99.9 %" if 0.999 * total < count < total else f"{100 * count / total:.3g} %"
