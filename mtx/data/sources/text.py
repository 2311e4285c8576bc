"""The one reader of text for every command: bytes in, lines out.

A line ends at LF and nowhere else, so that the same bytes give the same lines from a file and from a pipe. One CR
before the LF and a byte-order mark at the start are dropped; every other character, lone CR and U+2028 included, stays.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from mtx.data.sources.packed import plain_blocks
from mtx.errors import ExitCode, UserError

MAX_LINE_BYTES = 1 << 26
"""A longer line means that the file is no text, and would have to be held in memory."""

_BOM = b"\xef\xbb\xbf"
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
_GIVE_TEXT = "Give text, one sentence a line."

Repair = Callable[[bytes, str], str]
"""What to take for a line that is not in its encoding, from its bytes and its place; or an error."""


def read_lines(path: Path, encoding: str = "utf-8") -> Iterator[str]:
    """Lines of a file, plain or packed, without their line ends.

    Raises:
        UserError: (DATA) no such file, a folder, not readable, damaged where it is packed, not in `encoding`.
    """
    try:
        with path.open("rb") as stream:
            for group in stream_lines(stream, str(path), encoding):
                yield from group
    except OSError as error:
        raise unreadable(str(path), error) from error


def unreadable(name: str, error: OSError) -> UserError:
    """What to tell the user when opening or reading `name` raised `error`."""
    reason = (error.strerror or str(error)).lower()
    return UserError(ExitCode.DATA, f"cannot read {name}: {reason}", do="Give a text file that exists and can be read.")


def stream_lines(
    stream: BinaryIO, name: str, encoding: str = "utf-8", repair: Repair | None = None
) -> Iterator[list[str]]:
    """Groups of complete lines, each as soon as it has arrived; a last line may lack its LF.

    `stream` is buffered (it has `read1`), plain or packed (see `mtx.data.sources.packed`); `name` is what error
    messages call it. In `encoding` the byte LF is a line end and nothing else. Without `repair`, the first line that
    is not in it is an error.

    Raises:
        UserError: (DATA) damaged where it is packed, UTF-16, a line not in `encoding`; the lines before it have been
            given out.
    """
    num_lines = 0
    begun: list[bytes] = []
    num_begun = 0
    for block in plain_blocks(stream, name):
        head, newline, tail = block.rpartition(b"\n")
        if newline:
            lines = b"".join([*begun, head])
            yield from _decode(lines, num_lines, name, encoding, repair)
            num_lines += lines.count(b"\n") + 1
            begun, num_begun = [], 0
        begun.append(tail)
        num_begun += len(tail)
        if num_begun > MAX_LINE_BYTES:
            where = f"{name} line {num_lines + 1}"
            raise UserError(
                ExitCode.DATA, f"a line is longer than {MAX_LINE_BYTES >> 20} MiB", where=where, do=_GIVE_TEXT
            )
    last = b"".join(begun)
    if last and not (num_lines == 0 and last == _BOM):
        yield from _decode(last, num_lines, name, encoding, repair)


def as_line(text: str) -> str:
    """`text` as a line that is read as the same, whatever it has for line ends; without its own."""
    return text.replace("\n", " ").rstrip("\r")


def decode_line(line: bytes, where: str, encoding: str = "utf-8", repair: Repair | None = None) -> str:
    """The text of one line, which lies at `where`; without `repair`, it must be in `encoding`.

    Raises:
        UserError: (DATA) it is not; the byte is named.
    """
    try:
        return line.decode(encoding)
    except UnicodeDecodeError as error:
        place = f"{where} byte {error.start + 1}"
        if repair is None:
            do = "Convert the text to UTF-8."
            raise UserError(ExitCode.DATA, f"not {encoding.upper()}", where=place, do=do) from error
        return repair(line, place)


def _decode(block: bytes, num_before: int, name: str, encoding: str, repair: Repair | None) -> Iterator[list[str]]:
    """The group of lines that `block` holds, which follow the first `num_before` lines."""
    if num_before == 0:
        if block.startswith(_UTF16_MARKS):
            what, where = "UTF-16, not UTF-8", f"{name} line 1 byte 1"
            raise UserError(ExitCode.DATA, what, where=where, do="Convert the file to UTF-8.")
        block = block.removeprefix(_BOM)
    try:
        lines = block.decode(encoding).split("\n")
    except UnicodeDecodeError:
        lines = []
        for number, line in enumerate(block.split(b"\n"), start=num_before + 1):
            try:
                lines.append(decode_line(line, f"{name} line {number}", encoding, repair))
            except UserError:
                yield [good.removesuffix("\r") for good in lines]
                raise
    yield [line.removesuffix("\r") for line in lines]
