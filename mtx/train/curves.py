"""The training curves of runs as a page. Its layout is `curves.html.j2`."""

import math
from collections.abc import Iterable, Iterator, Sequence
from statistics import median

from mtx.pages.render import render
from mtx.train.charts import CHARTS, COLORS, DASHES, draw_svg
from mtx.train.records import UPDATE, VALIDATION, RunRecords


def to_html(runs: Sequence[RunRecords]) -> str:
    """Render the page: a table of the runs, which is the legend too, and all charts."""
    rows = [
        {
            "name": run.name,
            "series": number % len(COLORS) + 1,
            "dashes": " ".join(str(8 * length) for length in DASHES[number // len(COLORS) % len(DASHES)]),
            "cells": list(_cells(run)),
        }
        for number, run in enumerate(runs)
    ]
    return render("train/curves.html.j2", rows=rows, charts=[draw_svg(chart, runs) for chart in CHARTS])


def _cells(run: RunRecords) -> Iterator[str]:
    """The numbers of a run: last step, last training loss, best scores on dev, median speed."""
    yield f"{max([*run.updates, *run.validations]):,}"
    yield next((f"{value:.3f}" for _, value in reversed(list(_finite(run, UPDATE, "nll")))), "–")
    for key, sign, digits in (("loss", -1, 3), ("bleu", 1, 2), ("chrf", 1, 2)):
        best = max(_finite(run, VALIDATION, key), key=lambda point: sign * point[1], default=None)
        yield f"{best[1]:.{digits}f} at {best[0]:,}" if best else "–"
    speeds = [value for _, value in _finite(run, UPDATE, "tokens_per_second")]
    yield f"{median(speeds):,.0f}" if speeds else "–"


def _finite(run: RunRecords, event: str, key: str) -> Iterable[tuple[int, float]]:
    return (point for point in zip(*run.curve(event, key), strict=True) if math.isfinite(point[1]))
