"""Pairs that are shown for what was found about them, cut to what a person would read."""

from dataclasses import dataclass

from mtx.data.sources.base import Pair

MAX_EXAMPLES = 3
"""Pairs that are shown of each kind."""

MAX_SHOWN = 200
"""Characters of a sentence that are kept."""


@dataclass(frozen=True, slots=True)
class Example:
    """A pair that something is said about."""

    line: int
    """Counted from 1, in its source."""
    src: str
    tgt: str


def example_of(line: int, pair: Pair) -> Example:
    """`pair`, in `line`, as an example."""
    return Example(line, shortened(pair[0], MAX_SHOWN), shortened(pair[1], MAX_SHOWN))


def shortened(text: str, most: int) -> str:
    """`text`, or so much of it that with the mark of what is missing it has `most` characters."""
    return text if len(text) <= most else f"{text[: most - 1]}…"
