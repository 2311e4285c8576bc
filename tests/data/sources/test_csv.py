"""CSV as spreadsheets write it: what Python's own writer writes comes back."""

import csv
import io
import lzma
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtx.config.sources import Csv, Tsv
from mtx.data.prepared.fingerprint import content_key
from mtx.data.sources.base import NoPair
from mtx.data.sources.read import read_pairs
from tests.data.sources.test_base import DataSettings

FIELDS = st.text(st.sampled_from("ab \",;\t'é\n")).map(lambda text: text.replace("\r", ""))


@given(st.lists(st.tuples(FIELDS, FIELDS), max_size=9), st.sampled_from([",", ";", "\t"]))
def test_what_a_writer_writes_comes_back(
    tmp_path_factory: pytest.TempPathFactory, pairs: list[tuple[str, str]], delimiter: str
) -> None:
    stream = io.StringIO()
    csv.writer(stream, delimiter=delimiter, lineterminator="\n").writerows(pairs)
    path = tmp_path_factory.getbasetemp() / "any.csv"
    path.write_text(stream.getvalue(), encoding="utf-8")
    name = {",": "comma", ";": "semicolon", "\t": "tab"}[delimiter]
    found = list(read_pairs(Csv(csv=path, delimiter=name), "en", "de"))
    assert found == [(src.replace("\n", " "), tgt.replace("\n", " ")) for src, tgt in pairs]
    assert not any(isinstance(pair, NoPair) for pair in found)


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_the_delimiter_is_found(delimiter: str, tmp_path: Path) -> None:
    pairs = [(f"One, {number}; two", f"Eins, {'zwei, ' * (number % 3)}drei") for number in range(30)]
    stream = io.StringIO()
    csv.writer(stream, delimiter=delimiter).writerows(pairs)  # with CR LF
    (tmp_path / "a.csv").write_bytes(b"\xef\xbb\xbf" + stream.getvalue().encode())
    assert list(read_pairs(Csv(csv=tmp_path / "a.csv"), "en", "de")) == pairs


def test_line_breaks_become_spaces_and_are_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    (tmp_path / "a.csv").write_bytes(lzma.compress(b'en,de\r\n"one\r\ntwo\nthree","eins"\r\n\r\nfour,vier\r\n'))
    source = Csv(csv=tmp_path / "a.csv", header=True)
    for _ in range(2):
        header, *pairs = read_pairs(source, "en", "de")
        assert isinstance(header, NoPair)
        assert (header.reason, header.fault) == ("header", None)
        assert pairs == [("one two three", "eins"), ("", ""), ("four", "vier")]
    assert caplog.messages == ["a.csv: 2 line breaks inside fields became spaces"]


def test_columns_header_and_encoding(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes("id;Größe;size\n1;groß;large\n".encode("cp1252"))
    source = Csv(csv=tmp_path / "a.csv", src=3, tgt=2, header=True, encoding="cp1252")
    assert list(read_pairs(source, "en", "de"))[1:] == [("large", "groß")]


def test_a_quote_that_is_never_closed_costs_one_row(tmp_path: Path) -> None:
    rows = [f"a {number},b {number}" for number in range(1000)]
    rows[300], rows[998] = '"a,b', '"a,b'
    (tmp_path / "a.csv").write_text("\n".join(rows))
    found = list(read_pairs(Csv(csv=tmp_path / "a.csv"), "en", "de"))
    assert [index for index, pair in enumerate(found) if isinstance(pair, NoPair)] == [300, 998]
    assert found[301] == ("a 301", "b 301")


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_spaces_between_a_delimiter_and_a_quote_do_not_count(delimiter: str, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("".join(f'"a, {n}"{delimiter}  "b; {n}"\n' for n in range(30)))
    assert list(read_pairs(Csv(csv=tmp_path / "a.csv"), "en", "de")) == [(f"a, {n}", f"b; {n}") for n in range(30)]


@pytest.mark.parametrize("bad", ["one\rtwo,eins", '"one" two,eins', "a\0" + "b" * 200_000 + ",eins"])
def test_rows_that_are_not_csv_do_not_hide_the_delimiter(bad: str, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(f"{bad}\n" + "yes,ja\n" * 200, newline="")
    found = list(read_pairs(Csv(csv=tmp_path / "a.csv"), "en", "de"))
    assert found[1:] == [("yes", "ja")] * 200
    assert isinstance(found[0], NoPair)


def test_older_runs_of_a_tsv_keep_their_key(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text("a\tb\n")
    settings = DataSettings.model_construct(src_lang="en", tgt_lang="de")
    key = content_key(Tsv(tsv=tmp_path / "a.tsv"), settings)
    assert key[1] == '{"src":1,"tgt":2}'
    assert content_key(Tsv(tsv=tmp_path / "a.tsv", header=True), settings) != key
