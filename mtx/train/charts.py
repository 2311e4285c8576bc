"""Charts of training curves, drawn by matplotlib: all in one PNG, or an SVG each for a page."""

import logging
import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from statistics import median
from typing import TYPE_CHECKING, Any

from mtx.train.records import UPDATE, VALIDATION, RunRecords

if TYPE_CHECKING:
    from markupsafe import Markup
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLORS = ("#1565c0", "#d95f02", "#1b7837", "#8e24aa", "#c2185b", "#6d4c41")  # `--series-1` and so on of `page.css`
DASHES: tuple[tuple[float, ...], ...] = ((), (4, 2), (1, 1.5))  # Lengths of line and gap; for runs beyond the colours
INK = "#222222"  # Colour of axes and text; on a page, that of its text
PICTURE_SIZE, CHART_SIZE = (12, 8), (5, 3.2)  # Inches
PICTURE_DPI = 100
MAX_MARKED = 60  # Points of a curve up to which each is marked
MAX_TITLED = 200  # Points of a curve that show their numbers under the mouse
TITLED = "titled-points"  # Id of the points that show their numbers
LOG_RATIO = 30  # Ratio of largest value and median from which an axis is logarithmic
SETTINGS: Any = {
    "text.parse_math": False, "text.color": INK, "axes.edgecolor": INK, "axes.labelcolor": INK, "xtick.color": INK,
    "ytick.color": INK, "axes.grid": True, "grid.alpha": 0.15, "grid.color": INK, "axes.spines.top": False,
    "axes.spines.right": False, "axes.titlelocation": "left", "axes.titlesize": 11, "legend.frameon": False,
    "figure.constrained_layout.w_pad": 0.08, "figure.constrained_layout.h_pad": 0.08,
    "font.sans-serif": ["DejaVu Sans", "Arial"], "svg.fonttype": "none", "svg.hashsalt": "mtx",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Chart:
    """One chart, with a curve or two for each run."""

    title: str
    keys: dict[str, str]  # For each event that has a curve, the key of its records
    digits: int  # Decimals of the numbers under the mouse


CHARTS = (
    Chart("loss, in nats per target token", {UPDATE: "nll", VALIDATION: "loss"}, 3),
    Chart("BLEU on dev", {VALIDATION: "bleu"}, 2),
    Chart("chrF2 on dev", {VALIDATION: "chrf"}, 2),
    Chart("learning rate", {UPDATE: "lr"}, 6),
    Chart("gradient norm", {UPDATE: "grad_norm"}, 3),
    Chart("target tokens per second", {UPDATE: "tokens_per_second"}, 0),
)


def draw_picture(runs: Sequence[RunRecords]) -> bytes:
    """Draw all charts as one PNG, with a legend."""
    with _figure(PICTURE_SIZE) as figure:
        from matplotlib.lines import Line2D

        for axes, chart in zip(figure.subplots(2, 3).flat, CHARTS, strict=True):
            _draw(axes, chart, runs)
        handles = [Line2D([], [], linewidth=2.5, **_look(number)) for number in range(len(runs))]
        figure.legend(handles, [f" {run.name}" for run in runs], loc="outside upper center", ncols=4)
        file = BytesIO()
        figure.savefig(file, format="png", dpi=PICTURE_DPI, metadata={"Software": None})
        return file.getvalue()


def draw_svg(chart: Chart, runs: Sequence[RunRecords]) -> "Markup":
    """Draw one chart as an SVG that takes its colours from the page, and shows numbers under the mouse."""
    from lxml import etree
    from markupsafe import Markup

    with _figure(CHART_SIZE) as figure:
        axes = figure.subplots()
        _draw(axes, chart, runs)
        titles = list(_add_titled_points(axes, chart, runs))
        file = BytesIO()
        dateless = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(file, format="svg", transparent=True, metadata=dateless)
    svg = etree.fromstring(file.getvalue())
    for name in ("width", "height"):
        del svg.attrib[name]  # as wide as its place on the page
    svg.set("role", "img")
    svg.set("aria-label", chart.title)
    points = svg.iterfind(f".//{{*}}g[@id='{TITLED}']//{{*}}use")
    for point, title in zip(points, titles, strict=True):
        etree.SubElement(point, "title").text = title
    for group in svg.iter("{*}g"):
        group.attrib.pop("id", None)  # the same in each chart
    text = etree.tostring(svg, encoding="unicode")  # escapes all text in it
    for number, color in enumerate(COLORS, start=1):
        text = text.replace(color, f"var(--series-{number})")
    return Markup(text.replace(INK, "currentColor"))


def _look(number: int) -> dict[str, Any]:
    """Colour and dashes of a run."""
    return {"color": COLORS[number % len(COLORS)], "dashes": DASHES[number // len(COLORS) % len(DASHES)]}


@contextmanager
def _figure(size: tuple[float, float]) -> "Iterator[Figure]":
    """A figure to draw and save in the block."""
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # it tells where its cache of fonts is
    from matplotlib import rc_context, rcdefaults
    from matplotlib.figure import Figure

    with rc_context(), warnings.catch_warnings():
        rcdefaults()  # whatever the user's own settings are
        with rc_context(SETTINGS):
            warnings.filterwarnings("ignore", "Glyph .* missing")  # of a name: drawn as a box
            yield Figure(figsize=size, layout="constrained")


def _draw(axes: "Axes", chart: Chart, runs: Sequence[RunRecords]) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.ticker import MaxNLocator

    shown: list[float] = []
    for number, run in enumerate(runs):
        for event, key in chart.keys.items():
            steps, values = run.curve(event, key)
            is_dev = event == VALIDATION
            marked = [
                at for at in range(len(values)) if (is_dev and len(values) <= MAX_MARKED) or _is_alone(values, at)
            ]
            width, alpha = (1.8, 1.0) if is_dev else (1.1, 0.7)
            line: dict[str, Any] = {
                "linewidth": width,
                "alpha": alpha,
                "marker": "o",
                "markersize": 3.5,
                "markevery": marked,
            }
            axes.plot(steps, values, **line, **_look(number))
            shown += filter(math.isfinite, values)
    if not shown:
        axes.text(0.5, 0.5, "none recorded", transform=axes.transAxes, ha="center")
    elif min(shown) > 0 and max(shown) > LOG_RATIO * median(shown):
        axes.set_yscale("log")
    if len(chart.keys) > 1:
        handles = [Line2D([], [], color=INK, linewidth=1.1), Line2D([], [], color=INK, linewidth=1.8, marker="o")]
        axes.legend(handles, ["training", "dev"])
    axes.set_title(chart.title)
    axes.set_xlabel("step")
    axes.set_xlim(0, 1.03 * max(max([*run.updates, *run.validations]) for run in runs))
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.yaxis.set_major_formatter("{x:,g}")


def _is_alone(values: Sequence[float], at: int) -> bool:
    """Whether a point has no neighbour that a line could join it to."""
    return math.isfinite(values[at]) and not any(
        map(math.isfinite, [*values[max(at - 1, 0) : at], *values[at + 1 : at + 2]])
    )


def _add_titled_points(axes: "Axes", chart: Chart, runs: Sequence[RunRecords]) -> Iterator[str]:
    """Add invisible points, and yield a title for each."""
    points = []
    for run in runs:
        for event, key in chart.keys.items():
            curve = [each for each in zip(*run.curve(event, key), strict=True) if math.isfinite(each[1])]
            what = f"{run.name}, dev" if event == VALIDATION else run.name
            for step, value in curve[:: math.ceil(len(curve) / MAX_TITLED) or 1]:
                points.append((step, value))
                yield f"{what}, step {step:,}: {value:,.{chart.digits}f}"
    axes.plot(*zip(*points, strict=True) if points else ([], []), "o", color=INK, markersize=9, alpha=0, gid=TITLED)
