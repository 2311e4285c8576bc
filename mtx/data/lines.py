"""The one reader of text for every command: bytes in, lines out.

A line ends at LF and nowhere else, so that the same bytes give the same lines from a file and from a pipe. One CR
before the LF and a byte-order mark at the start are dropped; every other character, lone CR and U+2028 included, stays.
"""

import zlib
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import BinaryIO

from mtx.errors import ExitCode, UserError

BLOCK_BYTES = 1 << 16
MAX_LINE_BYTES = 1 << 26
"""A longer line means that the file is no text, and would have to be held in memory."""

_BOM = "\ufeff"
_GZIP_MAGIC = b"\x1f\x8b"
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
_GIVE_TEXT = "Give text in UTF-8, one sentence a line."


def read_lines(path: Path) -> Iterator[str]:
    """Lines of a file, plain or gzip, without their line ends.

    Raises:
        UserError: (DATA) no such file, a folder, not readable, a damaged gzip, not UTF-8.
    """
    try:
        with path.open("rb") as stream:
            for group in stream_lines(stream, str(path)):
                yield from group
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: OSError) -> UserError:
    """What to tell the user when opening or reading `path` raised `error`."""
    reason = (error.strerror or str(error)).lower()
    return UserError(ExitCode.DATA, f"cannot read {path}: {reason}", do="Give a text file that exists and can be read.")


def stream_lines(stream: BinaryIO, name: str) -> Iterator[list[str]]:
    """Groups of complete lines, each as soon as it has arrived; a last line may lack its LF.

    `stream` is buffered (it has `read1`), plain or gzip; `name` is what error messages call it.

    Raises:
        UserError: (DATA) a damaged gzip, a line that is not UTF-8; the lines before it have been given out.
    """
    num_lines = 0
    begun: list[bytes] = []
    num_begun = 0
    for block in _plain_blocks(stream, name):
        head, newline, tail = block.rpartition(b"\n")
        if newline:
            lines = b"".join([*begun, head])
            yield from _decode(lines, name, num_lines)
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
    if last and not (num_lines == 0 and last == _BOM.encode()):
        yield from _decode(last, name, num_lines)


def _decode(lines: bytes, name: str, num_before: int) -> Iterator[list[str]]:
    """The group of lines that `lines` holds, which follow the first `num_before` lines."""
    try:
        text = lines.decode("utf-8")
    except UnicodeDecodeError as error:
        line_start = lines.rfind(b"\n", 0, error.start) + 1
        if line_start:
            yield from _decode(lines[: line_start - 1], name, num_before)
        number = num_before + lines.count(b"\n", 0, error.start) + 1
        where = f"{name} line {number} byte {error.start - line_start + 1}"
        if num_before == 0 and lines.startswith(_UTF16_MARKS):
            raise UserError(ExitCode.DATA, "UTF-16, not UTF-8", where=where, do="Convert the file to UTF-8.") from error
        raise UserError(ExitCode.DATA, "not UTF-8", where=where, do="Convert the text to UTF-8.") from error
    if num_before == 0:
        text = text.removeprefix(_BOM)
    yield [line.removesuffix("\r") for line in text.split("\n")]


def _plain_blocks(stream: BinaryIO, name: str) -> Iterator[bytes]:
    """The bytes of `stream`, unpacked where they begin like a gzip file, in blocks of about `BLOCK_BYTES`."""
    blocks = iter(lambda: stream.read1(BLOCK_BYTES), b"")  # type: ignore[attr-defined]
    first = next(blocks, b"")
    if first == _GZIP_MAGIC[:1]:
        first += next(blocks, b"")
    if first.startswith(_GZIP_MAGIC):
        yield from _unpack(chain([first], blocks), name)
    else:
        yield from chain([first], blocks)


def _unpack(blocks: Iterator[bytes], name: str) -> Iterator[bytes]:
    """Unpack gzip members that lie one after the other, never more than a block at a time."""
    member = None
    for block in blocks:
        packed = block
        while packed:
            if member is None:
                packed = packed.lstrip(b"\0")  # gzip allows zeros as padding after a member
                if not packed:
                    break
                member = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
            try:
                plain = member.decompress(packed, BLOCK_BYTES)
            except zlib.error as error:
                raise UserError(ExitCode.DATA, "damaged gzip data", where=name, do="Get the file again.") from error
            yield plain
            packed = member.unconsumed_tail
            if member.eof:
                packed, member = member.unused_data, None
    if member is not None:
        raise UserError(ExitCode.DATA, "the gzip file is cut short", where=name, do="Get the file again.")
