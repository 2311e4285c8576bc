"""TMX: the text that a translator saw, of the languages asked for, in constant memory, from anyone."""

import io
from pathlib import Path
from typing import Any, cast

import pytest

from mtx.config.sources import Tmx
from mtx.data.sources.read import limit_bad_rows, read_pairs, reader
from mtx.data.sources.tmx import read_tmx
from mtx.data.sources.variants import Variants
from mtx.errors import ExitCode, UserError

HEAD = '<?xml version="1.0" encoding="{}"?>\n<!DOCTYPE tmx SYSTEM "tmx14.dtd">\n<tmx version="1.4"><header/><body>\n'
TAIL = "</body></tmx>\n"


def document(*units: str, encoding: str = "UTF-8") -> bytes:
    return (HEAD.format(encoding) + "".join(f"<tu>{unit}</tu>\n" for unit in units) + TAIL).encode(encoding)


def variant(language: str, text: str, attribute: str = "xml:lang") -> str:
    return f'<tuv {attribute}="{language}"><seg>{text}</seg></tuv>'


def pairs_of(data: bytes, src: str = "en", tgt: str = "de") -> list[tuple[str, str]]:
    stream = io.BufferedReader(cast(Any, io.BytesIO(data)))
    return list(limit_bad_rows(read_tmx([(stream, "memory.tmx")], "memory.tmx", src, tgt, Variants())))


def test_units_in_their_order_with_the_languages_asked_for() -> None:
    units = [
        variant("en", "A dog.") + variant("de", "Ein Hund.") + variant("fr", "Un chien."),
        variant("fr", "Un chat.") + variant("en", "A cat."),
        variant("de", "Ja.") + variant("en", "Yes.") + variant("en", "Yes, indeed."),
    ]
    assert pairs_of(document(*units)) == [("A dog.", "Ein Hund."), ("A cat.", ""), ("Yes.", "Ja.")]
    assert pairs_of(document(*units), "fr", "en") == [("Un chien.", "A dog."), ("Un chat.", "A cat."), ("", "Yes.")]


@pytest.mark.parametrize(
    ("given", "wanted"), [("EN-us", "en"), ("en_US", "en-us"), ("en", "EN"), ("EN", "en"), ("en-GB", "en_gb")]
)
@pytest.mark.parametrize("attribute", ["xml:lang", "lang"])
def test_a_language_is_found_whatever_its_case_and_region(given: str, wanted: str, attribute: str) -> None:
    data = document(variant(given, "yes", attribute) + variant("de", "ja", attribute))
    assert pairs_of(data, wanted) == [("yes", "ja")]


def test_the_very_language_goes_before_one_with_a_region() -> None:
    unit = variant("en-US", "color") + variant("en", "colour") + variant("en-GB", "colour!") + variant("de", "Farbe")
    assert pairs_of(document(unit)) == [("colour", "Farbe")]
    assert pairs_of(document(unit), "en-gb") == [("colour!", "Farbe")]
    with pytest.raises(UserError, match=r"no unit with both en-au and de.*en-US, en, en-GB, de"):
        pairs_of(document(unit), "en-au")


def test_codes_are_left_out_and_what_stands_between_them_is_kept() -> None:
    marked = (
        'Click <bpt i="1">&lt;b></bpt>here<ept i="1">&lt;/b></ept><ph>{1}</ph>, <hi type="x">my <it pos="begin">&lt;i>'
        "</it>friend</hi>!<ut>\\par</ut> &amp; go<!-- a note --> on<?a b?>.\n   <ph>a<sub>flow</sub></ph>Yes\u2028."
    )
    unit = variant("en", marked) + variant("de", " Ja. ")
    assert pairs_of(document(unit)) == [("Click here, my friend! & go on. Yes\u2028.", "Ja.")]


@pytest.mark.parametrize("encoding", ["UTF-8", "UTF-16", "ISO-8859-1"])
def test_encodings_are_those_of_xml(encoding: str) -> None:
    data = document(variant("en", "ä") + variant("de", "ö&#x142;"), encoding=encoding)
    assert pairs_of(data) == [("ä", "öł")]


def test_a_namespace_does_not_matter() -> None:
    data = document(variant("en", "yes") + variant("de", "ja"))
    assert pairs_of(data.replace(b'<tmx version="1.4">', b'<tmx xmlns="http://a/b" version="1.4">')) == [("yes", "ja")]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "memory.tmx"),
        (b"no xml at all", "Start tag expected"),
        (document("x")[:-20], "line"),
        (document(variant("en", "a") + "<tuv>"), "mismatch"),
        (b"<html><body/></html>", "the root element is html, not tmx"),
        (document(), "no unit with both en and de .* its languages: none"),
        (document(variant("en", "a") + variant("fr", "b")), "no unit with both en and de .*: en, fr"),
        (document(variant("en", "a") + variant("de", " ")), "no unit with both en and de"),
    ],
)
def test_what_is_wrong_is_one_line(data: bytes, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        pairs_of(data)
    assert caught.value.code == ExitCode.DATA


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (
            document(variant("en", "a") + variant("de", "@@")).replace(b"@@", b"\xff"),
            r"\(.* line \d+\)\. Correct the unit there",
        ),
        (
            document(variant("en", "a") + variant("de", "@@")).replace(b"@@", b"\x01"),
            r"\(.* line \d+\)\. Correct the unit there",
        ),
        (document("x")[:-20], r"\(.* line \d+\)\. Give a complete TMX file"),
    ],
)
def test_the_place_is_told_once_and_what_to_do_there(data: bytes, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        pairs_of(data)
    assert "column" not in str(caught.value)


def test_entities_that_it_declares_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("a secret")
    doctype = f'<!DOCTYPE tmx [<!ENTITY own "own"><!ENTITY file SYSTEM "{tmp_path / "secret"}">]>'
    text = document(variant("en", "a&own;b&file;c") + variant("de", "d")).decode()
    data = text.replace('<!DOCTYPE tmx SYSTEM "tmx14.dtd">', doctype).encode()
    assert pairs_of(data) == [("abc", "d")]


def test_a_bomb_of_entities_takes_no_memory() -> None:
    entities = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 20 if n else "ha" * 50}">' for n in range(12))
    text = document(variant("en", "a&e11;b") + variant("de", "d")).decode()
    data = text.replace('<!DOCTYPE tmx SYSTEM "tmx14.dtd">', f"<!DOCTYPE tmx [{entities}]>").encode()
    with pytest.raises(UserError) as caught:
        pairs_of(data)
    assert caught.value.code == ExitCode.DATA


class Stream:
    """A file that is made as it is read."""

    def __init__(self, middle: bytes, count: int, begin: bytes = b"", end: bytes = b"") -> None:
        pieces = [HEAD.format("UTF-8").encode() + begin, *[middle] * count, end + TAIL.encode()]
        self._pieces = iter(pieces)
        self.begin = resident_kib()
        self.peak = 0
        """Memory that reading has taken, in KiB."""

    def read1(self, _size: int) -> bytes:
        self.peak = max(self.peak, resident_kib() - self.begin)
        return next(self._pieces, b"")


UNIT = f"<tu>{variant('en', 'a dog ' * 20)}{variant('de', 'ein Hund ' * 20)}</tu>\n".encode()


@pytest.mark.parametrize(
    "middle", [UNIT * 10, b"<x/>" * 9_999, b"<a><b>x</b>more</a>text" * 5_000, b"<a>" + b"<b/>" * 9_999 + b"</a>"]
)
def test_memory_does_not_grow_with_the_file(middle: bytes) -> None:
    """Neither with its units nor with what stands between them."""
    peaks = []
    for count in (1, 12):
        stream = Stream(middle, count, end=UNIT)
        num_units = middle.count(UNIT) * count + 1
        assert (
            sum(1 for _ in read_tmx([(cast(Any, stream), "memory.tmx")], "memory.tmx", "en", "de", Variants()))
            == num_units
        )
        peaks.append(stream.peak)
    assert peaks[1] - peaks[0] < 6 << 10


@pytest.mark.parametrize("begin", ["<tu>", "<tu><tuv><seg>", "<x><tu><tu>"])
@pytest.mark.parametrize("middle", ["<x/>", "<x><y/>text</x>", "<x>" + "a" * 99_999 + "</x>", "<tu/>"])
def test_a_unit_without_end_takes_no_memory(begin: str, middle: str) -> None:
    block = middle * (1 + 65_536 // len(middle))
    stream = Stream(block.encode(), 100, begin.encode())
    with pytest.raises(UserError, match=r"a unit is too large.*memory.tmx line \d") as caught:
        list(read_tmx([(cast(Any, stream), "memory.tmx")], "memory.tmx", "en", "de", Variants()))
    assert caught.value.code == ExitCode.DATA
    assert stream.peak < 16 << 10


def test_text_that_is_no_element_takes_no_memory() -> None:
    doctype = '<!DOCTYPE tmx [<!ENTITY a "a">]><tmx version="1.4"><body>'
    stream = Stream(b"&a;" * 20_000, 100)
    stream._pieces = iter([doctype.encode(), *list(stream._pieces)[1:]])
    with pytest.raises(UserError, match=r"memory\.tmx") as caught:
        list(read_tmx([(cast(Any, stream), "memory.tmx")], "memory.tmx", "en", "de", Variants()))
    assert caught.value.code == ExitCode.DATA
    assert stream.peak < 16 << 10


def test_a_large_unit_is_read() -> None:
    marked = "a<ph/>" * 4000
    assert pairs_of(document(variant("en", marked) + variant("de", "ä" * 10**6))) == [("a" * 4000, "ä" * 10**6)]


def resident_kib() -> int:
    """lxml's elements are not Python's memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4


def test_as_a_source(tmp_path: Path) -> None:
    path = tmp_path / "a.tmx"
    path.write_bytes(document(variant("en", "yes") + variant("fr", "oui")))
    assert list(read_pairs(Tmx(tmx=path, tgt="fr"), "en", "de")) == [("yes", "oui")]
    reader(Tmx(tmx=path)).check("en", "de")  # its beginning is all right
    for wrong in (tmp_path / "missing.tmx", tmp_path):
        with pytest.raises(UserError, match=f"cannot read {wrong}") as caught:
            reader(Tmx(tmx=wrong)).check("en", "de")
        assert caught.value.code == ExitCode.DATA
