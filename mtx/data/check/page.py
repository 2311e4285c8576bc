"""The findings of `mtx data check` as one self-contained HTML page with plots. Its layout is `page.html.j2`."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from mtx.data.check import report
from mtx.data.check.alignment import LOW
from mtx.data.check.diagnose import Diagnosis
from mtx.data.check.scan import LENGTH_STEP, Side
from mtx.errors import escape_controls

WIDTH, HEIGHT = 820, 160  # Size of a plot in SVG units


class Bar(NamedTuple):
    """A bar of the histogram of lengths, with its tooltip."""

    side: str
    x: float
    y: float
    width: float
    height: float
    title: str


def to_html(diagnosis: Diagnosis) -> str:
    """Render the page. It has no scripts or links, and no text of the corpus can become markup."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("mtx.data.check", "."),
        autoescape=True,
        finalize=_escape_text,
        undefined=StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template("page.html.j2").render(
        diagnosis=diagnosis,
        width=WIDTH,
        height=HEIGHT,
        bars=_bars,
        points=_points,
        length_ticks=_length_ticks,
        line_ticks=_line_ticks,
        misaligned_y=_y(LOW),
        report=report,
    )


def _escape_text(value: Any) -> Any:
    """Escape control characters in every value that the template prints, except in markup it made itself."""
    return escape_controls(value) if type(value) is str else value


def _bars(sides: Sequence[Side]) -> Iterator[Bar]:
    """Sentences by length, the two languages side by side."""
    num_bars = len(sides[0].histogram)
    tallest = max(max(side.histogram) for side in sides)
    step = WIDTH / num_bars
    for number, side in enumerate(sides):
        for index, count in enumerate(side.histogram):
            if not count:
                continue
            height = max(HEIGHT * count / tallest, 1)
            to = f"to {LENGTH_STEP * (index + 1) - 1} letters" if index < num_bars - 1 else "letters and more"
            title = f"{side.language}: {count:,} of {LENGTH_STEP * index} {to}"
            x, y, width, height = (
                round(size, 1) for size in (step * (index + 0.42 * number), HEIGHT - height, 0.4 * step, height)
            )
            yield Bar(("src", "tgt")[number], x, y, width, height, title)


def _points(agreement: Sequence[float]) -> str:
    """The polyline of one horizontal stretch per block of lines; values below 0 are drawn at 0."""
    step = WIDTH / len(agreement)
    corners = ((step * (index + end), _y(max(value, 0))) for index, value in enumerate(agreement) for end in (0, 1))
    return " ".join(f"{x:.1f},{y}" for x, y in corners)


def _y(value: float) -> float:
    """The height at which `value`, from 0 to 1, is drawn."""
    return round(HEIGHT * (1 - value), 1)


def _length_ticks(sides: Sequence[Side]) -> list[tuple[float, str]]:
    num_bars = len(sides[0].histogram)
    return [(round(WIDTH / num_bars * index, 1), str(LENGTH_STEP * index)) for index in range(0, num_bars, 5)]


def _line_ticks(num_pairs: int) -> list[tuple[float, str]]:
    return [(WIDTH * quarter / 4, f"{num_pairs * quarter // 4:,}") for quarter in range(4)]
