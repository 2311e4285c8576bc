"""Training curves: deterministic, self-contained, and drawn for any records."""

import math
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

import mtx.pages
from mtx.train import curves
from mtx.train.charts import CHARTS, COLORS, DASHES, draw_picture, draw_svg
from mtx.train.curves import to_html
from mtx.train.records import RunRecords

STEPS = range(50, 1050, 50)


def make_run(name: str, steps: range = STEPS, scale: float = 1.0, *, has_dev: bool = True) -> RunRecords:
    keys = ("nll", "lr", "grad_norm", "tokens_per_second")
    updates = {step: dict.fromkeys(keys, scale * (1 + 100 / step)) for step in steps}
    dev = {step: {"loss": 3 - step / 1000, "bleu": step / 30, "chrf": step / 20} for step in steps[4::5]}
    return RunRecords(name, updates, dev if has_dev else {})


class Page(HTMLParser):
    """The tags, attributes and texts of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.texts: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.texts.append(data.strip())


def test_a_page_is_self_contained_and_the_same_each_time() -> None:
    runs = [make_run("<b>&$x$"), make_run("_other", scale=2)]
    text = to_html(runs)
    assert text == to_html(runs)
    page = Page(text)
    assert page.tags.count("svg") == 6 + 2
    assert {"script", "link", "img", "b"}.isdisjoint(page.tags)
    links = [value for name, value in page.attributes if name in ("href", "xlink:href", "src")]
    assert links
    assert all(str(link).startswith("#") for link in links)
    assert "<b>&$x$" in page.texts
    assert "_other" in page.texts
    ids = [value for name, value in page.attributes if name == "id"]
    assert {str(link)[1:] for link in links} <= set(ids)


def test_numbers_show_under_the_mouse() -> None:
    page = Page(to_html([make_run("a")]))
    assert "a, dev, step 750: 2.250" in page.texts
    assert "a, step 50: 3.000" in page.texts
    assert "a, dev, step 500: 16.67" in page.texts


@pytest.fixture
def _no_charts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(curves, "CHARTS", ())


@pytest.mark.usefixtures("_no_charts")
def test_the_table_has_the_best_scores() -> None:
    run = make_run("a")
    run.validations[500]["bleu"] = 77.0
    run.validations[750]["bleu"] = math.nan
    page = Page(to_html([run]))
    assert {"1,000", "1.100", "2.000 at 1,000", "77.00 at 500"} <= set(page.texts)


def test_charts_take_their_colours_from_the_page() -> None:
    css = (Path(mtx.pages.__file__).parent / "page.css").read_text()
    light = re.findall(r"--series-\d: (#[0-9a-f]{6})", css)
    assert tuple(light[: len(COLORS)]) == COLORS
    chart = draw_svg(CHARTS[0], [make_run(str(number)) for number in range(len(COLORS))])
    assert not re.findall("#[0-9a-f]{6};", chart)
    assert set(re.findall(r"var\(.*?\)", chart)) == {f"var(--series-{number})" for number in range(1, len(COLORS) + 1)}


def test_a_picture_is_the_same_each_time_whatever_the_settings_of_matplotlib(monkeypatch: pytest.MonkeyPatch) -> None:
    import matplotlib

    runs = [make_run("_a$x_$"), make_run("日本")]
    picture = draw_picture(runs)
    assert picture.startswith(b"\x89PNG")
    monkeypatch.setitem(matplotlib.rcParams, "lines.linewidth", 9)
    monkeypatch.setitem(matplotlib.rcParams, "figure.facecolor", "red")
    assert draw_picture(runs) == picture
    assert matplotlib.rcParams["lines.linewidth"] == 9
    assert draw_picture([make_run("b"), runs[1]]) != picture


ODD_RUNS = [
    make_run("one", range(1, 2), has_dev=False),
    make_run("zero", scale=0),
    make_run("negative", scale=-3),
    make_run("huge", scale=1e28),
    make_run("many", range(1, 3000)),
    RunRecords("dev only", {}, {7: {"loss": None, "bleu": 3, "chrf": 4}}),
    RunRecords("holes", {1: {"nll": 5}, 2: {"nll": None}, 3: {"nll": 4, "lr": math.inf}}, {}),
    RunRecords("empty", {1: {}}, {}),
    RunRecords("spike", {step: {"nll": 10.0 ** (8 * (step == 5))} for step in range(1, 9)}, {}),
]


@pytest.mark.parametrize("run", ODD_RUNS, ids=lambda run: run.name)
def test_any_records_are_drawn(run: RunRecords) -> None:
    assert draw_svg(CHARTS[0], [run, make_run("other")])
    assert draw_svg(CHARTS[0], [run])


def test_any_runs_are_drawn_together() -> None:
    assert Page(to_html(ODD_RUNS)).tags.count("tr") == 1 + len(ODD_RUNS)


@pytest.mark.usefixtures("_no_charts")
def test_many_runs_differ() -> None:
    lines = re.findall(
        r'<svg class="key (series-\d)".*?stroke-dasharray="(.*?)"', to_html([make_run(str(n)) for n in range(18)])
    )
    assert len(set(lines)) == 18 == len(COLORS) * len(DASHES)


def test_a_point_without_neighbours_is_marked() -> None:
    whole = draw_svg(CHARTS[0], [RunRecords("a", {1: {"nll": 5}, 2: {"nll": 4.5}, 3: {"nll": 4}}, {})])
    alone = draw_svg(CHARTS[0], [RunRecords("a", {1: {"nll": 5}, 2: {"nll": None}, 3: {"nll": 4}}, {})])
    color = "fill: var(--series-1); fill-opacity: 0.7"
    assert (color in alone, color in whole) == (True, False)
