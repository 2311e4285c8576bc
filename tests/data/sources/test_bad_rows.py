"""Rows that can't be read: each stands in the place of its pair, with line and reason; too many refuse the source."""

import gzip
import json
import pickle
import re
from pathlib import Path
from typing import Any

import pytest

from mtx.config.sources import Csv, Jsonl, Source, Tmx, Tsv, TwoFiles
from mtx.data.sources.base import NoPair, Pair
from mtx.data.sources.read import read_pairs, reader, usable_pairs
from mtx.errors import ExitCode, UserError

ROWS = 400
PAIRS = [(f"text {number}", f"Satz {number}") for number in range(ROWS)]
BAD = 150  # Index of the bad row


def unit(src: str, tgt: str) -> str:
    return f'<tu><tuv xml:lang="en"><seg>{src}</seg></tuv><tuv xml:lang="de"><seg>{tgt}</seg></tuv></tu>'


def rows_of(kind: str, pairs: list[Pair]) -> list[bytes]:
    """The rows of a file with `pairs`."""
    write = {
        "tsv": "{}\t{}".format, "csv": '"{}","{}"'.format, "tmx": unit,
        "jsonl": lambda src, tgt: json.dumps({"src": src, "tgt": tgt}),
        "files": lambda src, tgt: src,
    }[kind]  # fmt: skip
    return [write(*pair).encode() for pair in pairs]


def make(kind: str, rows: list[bytes], folder: Path) -> Source:
    """A source of these rows; of two files they are the source side."""
    data = b"".join(row + b"\n" for row in rows)
    if kind == "tmx":
        data = b'<?xml version="1.0"?>\n<!DOCTYPE tmx>\n<tmx><header/><body>\n' + data + b"</body></tmx>\n"
    path = folder / f"a.{kind}"
    path.write_bytes(gzip.compress(data))
    if kind == "files":
        (folder / "a.de").write_text("".join(f"{tgt}\n" for _, tgt in PAIRS[: len(rows)]))
        return TwoFiles(src=path, tgt=folder / "a.de")
    return {"tsv": Tsv, "csv": Csv, "jsonl": Jsonl, "tmx": Tmx}[kind](**{kind: path})  # type: ignore[arg-type,return-value]


# Kind, a bad row, the reason to drop it, and the problem.
CASES = [
    ("tsv", b"alone", "with too few columns", "found 1 columns, needed 2"),
    ("tsv", b"a\tstray\ttab", "with too many columns", "found 3 columns, 2 are usual"),
    ("tsv", b"caf\xe9\tb", "not UTF-8", "not UTF-8"),
    ("csv", b"alone", "with too few columns", "found 1 columns, needed 2"),
    ("csv", b"a,stray,comma", "with too many columns", "found 3 columns, 2 are usual"),
    ("csv", b'"never closed,b', "not CSV", "not CSV: "),
    ("csv", b'"a "quote" inside",b', "not CSV", "not CSV: "),
    ("csv", b"caf\xe9,b", "not UTF-8", "not UTF-8"),
    ("jsonl", b"null", "not a JSON object", "not a JSON object"),
    ("jsonl", b'{"src": "a", ', "not JSON", "not JSON"),
    ("jsonl", b'{"src": "a"}', "no field tgt or de", "no field tgt or de"),
    ("jsonl", b'{"src": "a", "tgt": 7}', "field tgt is not a string", "field tgt is not a string but 7"),
    ("jsonl", b'{"src": "\\ud83d", "tgt": "b"}', "field src contains half a surrogate pair", "field src contains"),
    ("jsonl", b'{"src": "caf\xe9", "tgt": "b"}', "not UTF-8", "not UTF-8"),
    ("tmx", unit("A & B", "b").encode(), "with invalid XML", "invalid XML: "),
    ("tmx", unit("A&#x1F;", "b").encode(), "with invalid XML", "invalid XML: "),
    ("tmx", unit("A\x1f", "b").encode(), "with invalid XML", "invalid XML: "),
    ("tmx", unit("A</tuv>", "b").encode(), "with invalid XML", "invalid XML: "),
    ("tmx", unit("caf\xe9", "b").encode("latin-1"), "with invalid XML", "invalid XML: "),
    ("files", b"caf\xe9", "not UTF-8", "not UTF-8"),
]


@pytest.mark.parametrize(("kind", "bad", "reason", "problem"), CASES)
def test_a_bad_row_keeps_its_place_and_the_others_theirs(
    kind: str, bad: bytes, reason: str, problem: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = rows_of(kind, PAIRS)
    source = make(kind, [*rows[:BAD], bad, *rows[BAD + 1 :]], tmp_path)
    found = list(read_pairs(source, "en", "de"))
    assert found == [*PAIRS[:BAD], ("", ""), *PAIRS[BAD + 1 :]]
    row = found[BAD]
    assert isinstance(row, NoPair)
    assert row.reason == reason
    assert re.findall(r"\w+", row.text) == re.findall(r"\w+", bad.decode(errors="replace"))
    line = BAD + 1 + (3 if kind == "tmx" else 0)
    assert f"a.{kind} line {line}" in str(row.error())
    assert problem in str(row.error())
    copy = pickle.loads(pickle.dumps(row))  # as sent to a worker process
    assert (copy.reason, copy.text, copy.fault) == (row.reason, row.text, row.fault)
    with pytest.raises(UserError, match=problem) as caught:
        list(read_pairs(source, "en", "de", "stop"))
    assert caught.value.code == ExitCode.DATA
    reader(source).check("en", "de")
    assert list(usable_pairs(source, "en", "de")) == [*PAIRS[:BAD], *PAIRS[BAD + 1 :]]
    assert f"skipped rows: 1 {reason}" in caplog.text


@pytest.mark.parametrize(("kind", "bad", "reason", "problem"), CASES)
@pytest.mark.parametrize(
    ("num_rows", "num_bad", "is_refused"),
    [(400, 4, False), (400, 5, True), (200, 2, False), (200, 3, True), (10, 1, False), (100, 2, True), (9, 1, True)],
)
def test_more_than_1_percent_refuse_the_source(
    kind: str, bad: bytes, reason: str, problem: str, num_rows: int, num_bad: int, is_refused: bool, tmp_path: Path
) -> None:
    rows = rows_of(kind, PAIRS[:num_rows])
    places = [1 + number * (num_rows // (num_bad + 1)) for number in range(num_bad)]
    for place in places:
        rows[place] = bad
    source = make(kind, rows, tmp_path)
    if is_refused:
        with pytest.raises(UserError, match=problem) as caught:
            list(read_pairs(source, "en", "de"))
        assert caught.value.code == ExitCode.DATA
        assert num_bad == 1 or f"{num_bad} of {num_rows} rows can't be read, the first: " in str(caught.value)
    else:
        found = list(read_pairs(source, "en", "de"))
        assert len(found) == num_rows
        assert [index for index, pair in enumerate(found) if isinstance(pair, NoPair)] == places


@pytest.mark.parametrize("place", [0, BAD, ROWS])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
@pytest.mark.parametrize(
    "bad",
    [
        unit("A & B", "b"),
        unit("A &", "b " * 60_000),
        unit("b " * 60_000, "A &"),
        "</tu>",
        "<tu><tuv></tu>",
        "<tu a=b/></tu>",
    ],
    ids=["entity", "long after", "long before", "end", "open", "attribute"],
)
def test_a_bad_unit_costs_one_row_anywhere(place: int, encoding: str, bad: str, tmp_path: Path) -> None:
    units = [unit(*pair) for pair in PAIRS]
    units[place:place] = [bad]
    head = f'<?xml version="1.0" encoding="{encoding}"?>\n<tmx version="1.4"><header/><body>\n'
    (tmp_path / "a.tmx").write_bytes((head + "\n".join(units) + "\n</body></tmx>\n").encode(encoding))
    found = list(read_pairs(Tmx(tmx=tmp_path / "a.tmx"), "en", "de"))
    assert [index for index, pair in enumerate(found) if isinstance(pair, NoPair)] == [place]
    assert [pair for pair in found if not isinstance(pair, NoPair)] == PAIRS


def test_the_last_unit_may_lack_its_end(tmp_path: Path) -> None:
    units = "".join(unit(*pair) for pair in PAIRS)
    for end in ("</body></tmx>", "</body>\n</tmx>\n", "", "</body>"):
        text = f"<tmx><body>{units}<tu><tuv><seg>x</seg></tuv>{end}"
        (tmp_path / "a.tmx").write_text(text)
        if "</tmx>" in end:
            *pairs, row = read_pairs(Tmx(tmx=tmp_path / "a.tmx"), "en", "de")
            assert pairs == PAIRS
            assert isinstance(row, NoPair)
        else:  # a file that is cut short
            with pytest.raises(UserError, match="Give a complete TMX file"):
                list(read_pairs(Tmx(tmx=tmp_path / "a.tmx"), "en", "de"))


@pytest.mark.parametrize("kind", ["tsv", "csv"])
def test_a_long_row_at_the_start_does_not_tell_how_many_columns_there_are(kind: str, tmp_path: Path) -> None:
    rows = rows_of(kind, PAIRS)
    long = b"a\tb\tc" if kind == "tsv" else b"a,b,c"
    found = list(read_pairs(make(kind, [long, *rows[1:]], tmp_path), "en", "de"))
    assert isinstance(found[0], NoPair)
    assert found[1:] == PAIRS[1:]


@pytest.mark.parametrize("side", ["src", "tgt"])
def test_a_bad_line_takes_that_of_the_other_file_with_it(side: str, tmp_path: Path) -> None:
    source = make("files", rows_of("files", PAIRS), tmp_path)
    path: Path = getattr(source, side)
    lines = [f"line {number}\r".encode() for number in range(ROWS)]
    lines[BAD] = b"\xe9\r"
    path.write_bytes(b"\n".join(lines) + b"\n")
    found = list(read_pairs(source, "en", "de"))
    assert len(found) == ROWS
    assert found[BAD] == ("", "")
    index = {"src": 0, "tgt": 1}[side]
    assert [pair[index] for pair in found if not isinstance(pair, NoPair)] == [
        f"line {number}" for number in range(ROWS) if number != BAD
    ]


@pytest.mark.parametrize(
    ("source", "data", "message"),
    [
        (Tmx, b"no xml", "Start tag expected"),
        (Tmx, b"<html><body>" + b"<tu></tu>" * 500 + b"</body></html>", "the root element is html, not tmx"),
        (Tmx, ("<tmx><body>" + unit("a", "b") * 500).encode(), "Give a complete TMX file"),
        (Tmx, ("<tmx><body>" + unit("a", "b") * 500).encode()[:-9], "Give a complete TMX file"),
        (Tmx, ("<tmx><body>" + unit("a & b", "b") * 500 + "</body></tmx>").encode(), r"500 of 500 rows can't be read"),
        (Tsv, b"only one column\n" * 500, r"500 of 500 rows can't be read, the first: found 1 columns"),
        (Tsv, "Größe\tsize\n".encode("latin-1") * 500, "not UTF-8 .*Convert the text to UTF-8"),
        (Tsv, "a\tb\n".encode("utf-16"), "UTF-16, not UTF-8"),
        (Jsonl, b"{\n" * 500, "500 of 500 rows can't be read, the first: not JSON"),
        (Csv, b"a|b\n" * 500, r"found 1 columns, needed 2 .*Set src, tgt and delimiter"),
    ],
)
def test_what_is_of_another_kind_is_refused_as_a_whole(
    source: type[Any], data: bytes, message: str, tmp_path: Path
) -> None:
    key = source.__name__.lower()
    (tmp_path / "file").write_bytes(data)
    given = source(**{key: tmp_path / "file"})
    with pytest.raises(UserError, match=message) as caught:
        list(read_pairs(given, "en", "de"))
    assert caught.value.code == ExitCode.DATA


@pytest.mark.parametrize("filler", [b"", b"<note>x</note>" * 9])
def test_units_after_a_bad_one_are_read_with_their_names_and_encoding(filler: bytes, tmp_path: Path) -> None:
    head = '<?xml version="1.0" encoding="iso-8859-1"?>\n<tmx xmlns="http://a/b" xmlns:x="http://c/d">\n<header/><body>'
    bad = unit("A & B", "b").encode()
    units = [bad if number % 200 == 7 else unit(f"é {number}", "ü").encode("latin-1") for number in range(1000)]
    units[500] = units[500].replace(b"<tuv ", b'<tuv x:kind="y" ', 1)
    body = b"".join(one + filler + b"\n" for one in units)
    (tmp_path / "a.tmx").write_bytes(head.encode() + body + b"</body></tmx>")
    found = list(read_pairs(Tmx(tmx=tmp_path / "a.tmx"), "en", "de"))
    assert found == [("", "") if number % 200 == 7 else (f"é {number}", "ü") for number in range(1000)]
    lines = [int(str(row.error()).split(" line ")[1].split(")")[0]) for row in found if isinstance(row, NoPair)]
    assert lines == [number + 3 for number in range(1000) if number % 200 == 7]


def test_units_in_comments_and_sections_are_no_bad_rows(tmp_path: Path) -> None:
    text = unit("a", "b") + "<!-- " + unit("c & d", "e") + " -->" + unit("<![CDATA[<tu> & </tu>]]>", "g") * 20
    (tmp_path / "a.tmx").write_text(f"<tmx><body>{text}</body></tmx>")
    found = list(read_pairs(Tmx(tmx=tmp_path / "a.tmx"), "en", "de"))
    assert found == [("a", "b"), *[("<tu> & </tu>", "g")] * 20]
    assert not any(isinstance(pair, NoPair) for pair in found)


def test_entities_of_html_are_their_characters(tmp_path: Path) -> None:
    text = f"<!DOCTYPE tmx SYSTEM 'tmx14.dtd'><tmx><body>{unit('caf&eacute;&nbsp;!', 'a&unknown;b')}</body></tmx>"
    (tmp_path / "a.tmx").write_text(text)
    assert list(read_pairs(Tmx(tmx=tmp_path / "a.tmx"), "en", "de")) == [("café\xa0!", "ab")]
