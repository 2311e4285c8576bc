"""The line reader, against its rules written in one expression, however the bytes arrive."""

import gzip
import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtx.data import lines
from mtx.data.lines import read_lines, stream_lines
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
        (gzip.compress(b"a\n" * 1000)[:-1], 1000, r"the gzip file is cut short \(in.txt\)"),
        (gzip.compress(b"a\n") + b"more", 1, r"damaged gzip data \(in.txt\)"),
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
