"""The page is well-formed, complete and self-contained, and text from the corpus never becomes markup."""

import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtx.data.check.diagnose import Diagnosis
from mtx.data.check.page import HEIGHT, WIDTH, to_html

from .test_report import HOSTILE, diagnosis

VOID = {"meta", "br"}


class Reader(HTMLParser):
    """Collects elements, attributes and text; checks that elements are closed in order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.names: set[str] = set()
        self.attributes: set[tuple[str, str | None]] = set()
        self.text: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.add(tag)
        self.attributes.update(attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def svgs(found: Diagnosis) -> list[ElementTree.Element]:
    return [ElementTree.fromstring(svg) for svg in re.findall(r"<svg.*?</svg>", to_html(found), flags=re.DOTALL)]


@pytest.mark.slow
@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_text_never_becomes_markup(text: str) -> None:
    plain = Reader(to_html(diagnosis("plain")))
    for what in (text, HOSTILE):
        reader = Reader(to_html(diagnosis(what)))
        assert reader.open == []
        assert reader.names == plain.names
        assert reader.attributes == plain.attributes
        assert all(part.replace("\n", "").isprintable() for part in reader.text)


def test_the_page_is_self_contained() -> None:
    reader = Reader(to_html(diagnosis()))
    assert not reader.names & {"script", "link", "img", "iframe", "object", "embed", "base", "form", "a"}
    assert not {name for name, _ in reader.attributes if name.startswith("on") or "href" in name or name == "src"}
    assert "url(" not in to_html(diagnosis("plain"))
    assert "://" not in to_html(diagnosis("plain"))
    assert (
        "content",
        "default-src 'none'; base-uri 'none'; form-action 'none'; style-src 'unsafe-inline'",
    ) in reader.attributes


@pytest.mark.parametrize("expected", ["plain is bad", "3,997 to train on", "clean.copies=drop", "dev in train",
    "lines 11 to 400", "200 of 4,000 lines", "50", "12: plain | üplain"])  # fmt: skip
def test_the_page_is_complete(expected: str) -> None:
    assert expected in " ".join(Reader(to_html(diagnosis("plain"))).text)


def test_a_page_without_problems_says_so() -> None:
    assert "No problems found." in to_html(diagnosis(problems=0))
    assert "No problems found." not in to_html(diagnosis())


def test_plots_show_the_numbers() -> None:
    lengths, curve, _ = svgs(diagnosis("plain"))
    [bar] = lengths.findall("rect")
    assert (float(bar.attrib["height"]), float(bar.attrib["y"])) == (HEIGHT, 0)
    assert float(bar.attrib["x"]) == round(WIDTH / 41, 1)
    assert bar.findtext("title") == "en: 3 of 10 to 19 letters"
    [line] = curve.findall("polyline")
    points = [tuple(map(float, point.split(","))) for point in line.attrib["points"].split()]
    assert [x for x, _ in points] == pytest.approx(
        [0, WIDTH / 3, WIDTH / 3, WIDTH * 2 / 3, WIDTH * 2 / 3, WIDTH], abs=0.1
    )
    # 0.9, then a negative value drawn at 0, then 0.85
    assert [y for _, y in points[::2]] == pytest.approx([0.1 * HEIGHT, HEIGHT, 0.15 * HEIGHT])
