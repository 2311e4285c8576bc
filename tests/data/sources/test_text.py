"""The line reader, against its rules written in one expression, however the bytes arrive."""

import gzip
import io
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from mtx.data.sources import text as lines
from mtx.data.sources.text import read_lines, stream_lines
from mtx.errors import ExitCode, UserError


class Trickle(io.BytesIO):
    """A pipe through which at most `size` bytes come at a time."""

    def __init__(self, raw: bytes, size: int) -> None:
        super().__init__(raw)
        self.size = size

    def read1(self, size: int | None = -1) -> bytes:
        return super().read1(self.size)


def cut(raw: bytes, size: int = 1 << 16) -> list[str]:
    return [line for group in stream_lines(Trickle(raw, size), "in.txt") for line in group]


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"", []),
        (b"\n", [""]),
        (b"a\nb", ["a", "b"]),
        (b"a\nb\n\n", ["a", "b", ""]),
        (b"a\r\n\r\nb\r\r\n", ["a", "", "b\r"]),
        (b"a\rb\x0bc\x0cd\x1ce\n", ["a\rb\x0bc\x0cd\x1ce"]),
        ("a\x85b\u2028c\u2029\0\n".encode(), ["a\x85b\u2028c\u2029\0"]),
        (b"\xef\xbb\xbf", []),
        (b"\xef\xbb\xbfa\n\xef\xbb\xbfb\n", ["a", "\ufeffb"]),
        (b"\x1f", ["\x1f"]),
        (b"ab\n" * 20_000 + b"c" * 20_000, ["ab"] * 20_000 + ["c" * 20_000]),
    ],
)
def test_cuts_at_line_feeds_only(raw: bytes, expected: list[str]) -> None:
    assert cut(raw) == expected
    assert cut(raw, size=1) == expected
    assert cut(gzip.compress(raw)) == cut(gzip.compress(raw), size=1) == expected


@given(st.lists(st.text(st.characters(exclude_characters="\n", exclude_categories=["Cs"]))), st.integers(1, 50))
def test_lines_do_not_depend_on_arrival_or_packing(texts: list[str], size: int) -> None:
    raw = "".join(text + "\n" for text in texts).encode()
    expected = [line.removesuffix("\r") for line in raw.decode().removeprefix("\ufeff").split("\n")[:-1]]
    half = len(raw) // 2
    assert cut(raw, size) == expected
    assert cut(gzip.compress(raw[:half]) + gzip.compress(raw[half:]) + b"\0\0", size) == expected


def read_all(raw: bytes, size: int = 1 << 16, **options: Any) -> tuple[list[str], str | None]:
    """The lines of `raw`, as far as they could be read, and the error that ended them."""
    found: list[str] = []
    try:
        for group in stream_lines(Trickle(raw, size), "in.txt", **options):
            found += group
    except UserError as error:
        return found, str(error)
    return found, None


def lines_by_definition(raw: bytes, encoding: str = "utf-8") -> tuple[list[str], str | None]:
    """The same, by the rules of the module's docstring, one after the other."""
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        return [], "UTF-16, not UTF-8 (in.txt line 1 byte 1). Convert the file to UTF-8."
    found: list[str] = []
    for number, line in enumerate(raw.removeprefix(b"\xef\xbb\xbf").split(b"\n"), start=1):
        try:
            found.append(line.removesuffix(b"\r").decode(encoding))
        except UnicodeDecodeError as error:
            where = f"in.txt line {number} byte {error.start + 1}"
            return found, f"not {encoding.upper()} ({where}). Convert the text to UTF-8."
    return found if found[-1] else found[:-1], None


# Bytes that begin marks, end lines, and break or make characters of several bytes, more often than chance would.
any_bytes = st.lists(
    st.binary(max_size=20)
    | st.sampled_from([b"\n", b"\r\n", b"\xef\xbb\xbf", b"\xff\xfe", b"\x1f", b"\0", b"\xe2\x80", b"\xa8", b"\x81"])
    | st.text(max_size=5).map(lambda text: text.encode("utf-8", "surrogatepass"))
).map(b"".join)


@given(any_bytes, st.integers(1, 50), st.sampled_from(["utf-8", "latin-1", "cp1252", "koi8-r", "iso-8859-7"]))
def test_any_bytes_are_lines_or_an_error_with_its_place(raw: bytes, size: int, encoding: str) -> None:
    assume(not raw.startswith(b"\x1f\x8b"))
    expected = lines_by_definition(raw, encoding)
    assert read_all(raw, encoding=encoding) == expected
    # What has arrived when an error is met does not change which lines are good.
    assert read_all(raw, size, encoding=encoding) == expected
    assert read_all(gzip.compress(raw), size, encoding=encoding) == expected


@given(any_bytes, st.binary(max_size=100), st.integers(1, 50))
def test_what_follows_the_beginning_of_a_gzip_file_is_text_or_an_error(raw: bytes, rest: bytes, size: int) -> None:
    packed = gzip.compress(raw)
    for data in (packed[: size % len(packed)] + rest, packed + rest):
        found, error = read_all(data, size)
        assert all(line.encode() for line in found if line)
        assert error is None or error.endswith(("Get the file again.", "Convert the text to UTF-8.", "file to UTF-8."))
        found_at_once, error_at_once = read_all(data)
        assert (error_at_once is None) == (error is None)
        # zlib tells of damage before it gives what it has unpacked: how much that is depends on what has arrived.
        fewer, more = sorted((found, found_at_once), key=len)
        assert fewer == (more[: len(fewer)] if error else more)


def test_a_line_that_is_not_text_can_be_repaired_beside_the_others() -> None:
    raw = b"\xff\nok\na\xffb\r\nok\n\xe2\x82"
    seen: list[str] = []

    def note(line: bytes, where: str) -> str:
        seen.append(where)
        return ""

    for size in (1, 2, 1 << 16):
        seen.clear()
        assert read_all(raw, size, repair=note) == (["", "ok", "", "ok", ""], None)
        assert seen == ["in.txt line 1 byte 1", "in.txt line 3 byte 2", "in.txt line 5 byte 1"]


def test_a_line_is_given_out_before_the_next_bytes_are_asked_for() -> None:
    asked = 0

    class Typing(io.BytesIO):
        def read1(self, size: int | None = -1) -> bytes:
            nonlocal asked
            asked += 1
            return [b"\n", b"one\ntw", b"o\n", b""][asked - 1]

    groups = stream_lines(Typing(), "stdin")
    arrived: list[tuple[list[str], int]] = [(group, asked) for group in groups]
    assert arrived == [([""], 1), (["one"], 2), (["two"], 3)]


@pytest.mark.parametrize(
    ("raw", "num_good", "message"),
    [
        (b"ok\nab\xff\n", 1, r"not UTF-8 \(in.txt line 2 byte 3\)"),
        (b"a\nb\nc\xed\xa0\x80", 2, r"not UTF-8 \(in.txt line 3 byte 2\)"),
        ("Hi\n".encode("utf-16"), 0, r"UTF-16, not UTF-8 \(in.txt line 1 byte 1\)"),
        (gzip.compress(b"a\n" * 1000, mtime=0)[:-1], 1000, r"the gzip file is cut short \(in.txt\)"),
        (gzip.compress(b"a\n", mtime=0) + b"more", 1, r"damaged gzip data \(in.txt\)"),
        (b"a\n" + b"b" * 2000, 1, r"a line is longer than 0 MiB \(in.txt line 2\)"),
    ],
)
@pytest.mark.parametrize("size", [1, 1 << 16])
def test_what_is_no_text_is_refused_after_the_lines_before_it(
    raw: bytes, num_good: int, message: str, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines, "MAX_LINE_BYTES", 1999)
    good: list[str] = []

    def read() -> None:
        for group in stream_lines(Trickle(raw, size), "in.txt"):
            good.extend(group)

    with pytest.raises(UserError, match=message) as caught:
        read()
    assert caught.value.code == ExitCode.DATA
    assert len(good) == num_good


def test_an_unreadable_path_is_named(tmp_path: Path) -> None:
    (tmp_path / "text").write_bytes(b"a\r\nb")
    assert list(read_lines(tmp_path / "text")) == ["a", "b"]
    for path in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(UserError, match=f"cannot read {path}: ") as caught:
            list(read_lines(path))
        assert caught.value.code == ExitCode.DATA
