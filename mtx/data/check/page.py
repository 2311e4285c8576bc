"""The findings of `mtx data check` as one self-contained HTML page with plots. Its layout is `page.html.j2`."""

from collections.abc import Iterator, Sequence
from typing import Any

from mtx.data.check import report
from mtx.data.check.alignment import LOW
from mtx.data.check.diagnose import Diagnosis
from mtx.data.check.scan import LENGTH_STEP, NUM_LENGTHS, Side
from mtx.pages.render import render

WIDTH, HEIGHT = 820, 160  # Size of a plot in SVG units
STEP = WIDTH / NUM_LENGTHS  # Distance of two bars of the histogram of lengths


def to_html(diagnosis: Diagnosis) -> str:
    """Render the page. It has no scripts or links, and no text of the corpus can become markup."""
    return render(
        "data/check/page.html.j2",
        diagnosis=diagnosis,
        width=WIDTH,
        height=HEIGHT,
        bars=_bars,
        points=_points,
        length_ticks=[(round(STEP * index, 1), str(LENGTH_STEP * index)) for index in range(0, NUM_LENGTHS, 5)],
        line_ticks=lambda pairs: [(WIDTH * part / 4, f"{pairs * part // 4:,}") for part in range(4)],
        misaligned_y=_y(LOW),
        report=report,
    )


def _bars(sides: Sequence[Side]) -> Iterator[dict[str, Any]]:
    """Bars of the sentences by length, each with a tooltip, the two languages side by side."""
    tallest = max(max(side.histogram) for side in sides)
    for number, side in enumerate(sides):
        for index, count in enumerate(side.histogram):
            if not count:
                continue
            height = max(HEIGHT * count / tallest, 1)
            to = f"to {LENGTH_STEP * (index + 1) - 1} letters" if index < NUM_LENGTHS - 1 else "letters and more"
            yield {
                "series": number + 1,
                "x": round(STEP * (index + 0.42 * number), 1),
                "y": round(HEIGHT - height, 1),
                "width": round(0.4 * STEP, 1),
                "height": round(height, 1),
                "title": f"{side.language}: {count:,} of {LENGTH_STEP * index} {to}",
            }


def _points(agreement: Sequence[float]) -> str:
    """The polyline of one horizontal stretch per block of lines; values below 0 are drawn at 0."""
    step = WIDTH / len(agreement)
    corners = ((step * (index + end), _y(max(value, 0))) for index, value in enumerate(agreement) for end in (0, 1))
    return " ".join(f"{x:.1f},{y}" for x, y in corners)


def _y(value: float) -> float:
    """The height at which `value`, from 0 to 1, is drawn."""
    return round(HEIGHT * (1 - value), 1)
