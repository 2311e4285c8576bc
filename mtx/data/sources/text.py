"""The one reader of text for every command: bytes in, lines out.

A line ends at LF and nowhere else, so that the same bytes give the same lines from a file and from a pipe. One CR
before the LF and a byte-order mark at the start are dropped; every other character, lone CR and U+2028 included, stays.
Files packed by gzip, xz or Zstandard are recognised by their first bytes and unpacked in bounded memory.
"""

import gzip
import os
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

from mtx.data.sources.base import NoPair
from mtx.errors import ExitCode, UserError

BLOCK_BYTES = 1 << 16  # Bytes that are read and unpacked at a time
MAX_LINE_BYTES = 1 << 26  # Limit of a line, which is held in memory; a longer one means that the file is not text
MAX_XZ_BYTES = 1 << 28  # Limit of the memory for unpacking xz, 4 times what its highest preset needs

_BOM = b"\xef\xbb\xbf"
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")

Row = str | NoPair
CONVERT = "Convert the text to UTF-8."

# Returns the text to use for a line that is not in its encoding, given its bytes and where it is; or raises.
Repair = Callable[[bytes, str], str]


def read_lines(path: Path, encoding: str = "utf-8") -> Iterator[str]:
    """Lines of a file, plain or packed, without their line ends.

    Raises:
        UserError: no such file, a folder, not readable, damaged if packed, or not in `encoding` (DATA).
    """
    with explain_unreadable(str(path)), path.open("rb") as stream:
        yield from chain.from_iterable(stream_lines(stream, str(path), encoding))


def read_rows(path: Path, encoding: str = "utf-8") -> Iterator[Row]:
    """Lines of a regular file, which unlike a pipe can be read again; a NoPair for each that is not in `encoding`.

    Raises:
        UserError: see `read_lines`.
    """
    with open_regular(path) as stream:
        yield from stream_rows(stream, str(path), encoding)


def stream_rows(stream: BinaryIO, name: str, encoding: str = "utf-8") -> Iterator[Row]:
    """Lines of a stream, see `stream_lines`, and a NoPair for each that is not in `encoding`."""

    def bad_row(line: bytes, position: str) -> Any:
        what = _not_in(encoding)
        return NoPair.of(what, line.decode(encoding, "replace"), (what, position, CONVERT))

    return chain.from_iterable(stream_lines(stream, name, encoding, bad_row))


def _not_in(encoding: str) -> str:
    return f"not {encoding.upper()}"


@contextmanager
def open_regular(path: Path) -> Iterator[BinaryIO]:
    """Open a file that is no pipe and no device."""
    if os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path):
        raise UserError(ExitCode.DATA, f"{path} is not a regular file", do="Save the text to a file first.")
    with explain_unreadable(str(path)), path.open("rb") as stream:
        yield stream


@contextmanager
def explain_unreadable(name: str) -> Iterator[None]:
    """Turn the system's errors on opening or reading `name` into one line for the user."""
    try:
        yield
    except OSError as error:
        what = f"cannot read {name}: {(error.strerror or str(error)).lower()}"
        raise UserError(ExitCode.DATA, what, do="Give a text file that exists and can be read.") from error


def stream_lines(
    stream: BinaryIO, name: str, encoding: str = "utf-8", repair: Repair | None = None
) -> Iterator[list[str]]:
    """Lists of complete lines, each as soon as it has arrived; the last line may lack its LF.

    `stream` is buffered (it has `read1`), plain or packed; `name` is used in error messages. In `encoding` the byte LF
    must be a line end and nothing else. Without `repair`, the first line that is not in `encoding` is an error.

    Raises:
        UserError: damaged if packed, UTF-16, a line too long or not in `encoding` (DATA); the lines before it have been
            yielded.
    """
    num_lines, begun = 0, bytearray()
    for block in plain_blocks(stream, name):
        begun += block
        end = begun.rfind(b"\n", len(begun) - len(block))
        if end >= 0:
            yield from _decode(bytes(begun[:end]), num_lines, name, encoding, repair)
            num_lines += begun.count(b"\n")
            del begun[: end + 1]
        if len(begun) > MAX_LINE_BYTES:
            what, where = f"a line is longer than {MAX_LINE_BYTES >> 20} MiB", f"{name} line {num_lines + 1}"
            raise UserError(ExitCode.DATA, what, where=where, do="Give text, one sentence a line.")
    if begun and not (num_lines == 0 and begun == _BOM):
        yield from _decode(bytes(begun), num_lines, name, encoding, repair)


def as_line(text: str) -> str:
    """`text` as one line that reads back the same, whatever line ends it contains; without an LF of its own."""
    return text.replace("\n", " ").rstrip("\r")


def decode_line(line: bytes, where: str, encoding: str = "utf-8", repair: Repair | None = None) -> str:
    """The text of the line at `where`; without `repair`, it must be in `encoding`.

    Raises:
        UserError: it is not; the error names the byte (DATA).
    """
    try:
        return line.decode(encoding)
    except UnicodeDecodeError as error:
        position = f"{where} byte {error.start + 1}"
        if repair is None:
            raise UserError(ExitCode.DATA, _not_in(encoding), where=position, do=CONVERT) from error
        return repair(line, position)


def is_utf8(text: str) -> bool:
    """Whether `text` has no half of a surrogate pair, which JSON and the command line can contain."""
    return text.isascii() or text.encode(errors="ignore").decode() == text


def _decode(block: bytes, num_before: int, name: str, encoding: str, repair: Repair | None) -> Iterator[list[str]]:
    """The lines of `block`, which follow the first `num_before` lines."""
    if num_before == 0:
        if block.startswith(_UTF16_MARKS):
            what, where = "UTF-16, not UTF-8", f"{name} line 1 byte 1"
            raise UserError(ExitCode.DATA, what, where=where, do="Convert the file to UTF-8.")
        block = block.removeprefix(_BOM)
    try:
        yield [line.removesuffix("\r") for line in block.decode(encoding).split("\n")]
    except UnicodeDecodeError:
        lines = []
        for number, line in enumerate(block.split(b"\n"), start=num_before + 1):
            try:
                lines.append(decode_line(line.removesuffix(b"\r"), f"{name} line {number}", encoding, repair))
            except UserError:
                yield lines
                raise
        yield lines


# --- packed files ----------------------------------------------------------------------------------------------------


class _GzipDecompressor:
    """zlib's decompressor with the interface of those of lzma and zstd."""

    def __init__(self) -> None:
        self._zlib = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)

    def decompress(self, data: bytes, max_length: int) -> bytes:
        plain = self._zlib.decompress(self._zlib.unconsumed_tail + data, max_length)
        self.eof, self.unused_data = self._zlib.eof, self._zlib.unused_data
        self.needs_input = not self._zlib.unconsumed_tail
        return plain


FORMATS = {b"\x1f\x8b": "gzip", b"\xfd7zXZ\0": "xz", b"\x28\xb5\x2f\xfd": "zstd"}  # By the first bytes of a file


def _decompressor(kind: str) -> tuple[Any, type[Exception]]:
    """A new decompressor that takes bounded memory, and the exception that it raises for damaged data."""
    if kind == "gzip":
        return _GzipDecompressor(), zlib.error
    if kind == "xz":
        import lzma

        # lzma.open can't limit the memory that a file may ask for.
        return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=MAX_XZ_BYTES), lzma.LZMAError
    zstd = _zstd()
    return zstd.ZstdDecompressor(), zstd.ZstdError  # its windows are limited to 128 MiB


def _zstd() -> Any:
    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        from backports import zstd
    return zstd


def pack(file: BinaryIO, suffix: str) -> Any:
    """A stream that packs what is written to it into `file`, by its suffix. Close it. No time is stored."""
    if suffix == ".gz":
        return gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0)
    if suffix == ".xz":
        import lzma

        return lzma.LZMAFile(file, "wb")
    return _zstd().ZstdFile(file, "wb")


def plain_blocks(stream: BinaryIO, name: str) -> Iterator[bytes]:
    """The bytes of `stream`, unpacked if packed, in blocks of about `BLOCK_BYTES`, as they arrive; see `stream_lines`.

    Raises:
        UserError: it is damaged or cut short (DATA).
    """
    blocks = iter(lambda: stream.read1(BLOCK_BYTES), b"")  # type: ignore[attr-defined]
    first = next(blocks, b"")
    while any(len(first) < len(magic) and magic.startswith(first) for magic in FORMATS if first):
        if not (more := next(blocks, b"")):
            break
        first += more
    kind = next((kind for magic, kind in FORMATS.items() if first.startswith(magic)), None)
    blocks = chain([first], blocks)
    yield from blocks if kind is None else _unpack(blocks, name, kind)


def _unpack(blocks: Iterator[bytes], name: str, kind: str) -> Iterator[bytes]:
    """Unpack one packed file after another, never more than a block at a time."""
    decompressor, failure = None, Exception
    for block in blocks:
        packed = block
        while True:
            if decompressor is None:
                packed = packed.lstrip(b"\0")  # gzip and xz allow padding with zeros between packed files
                if not packed:
                    break
                decompressor, failure = _decompressor(kind)
            try:
                plain = decompressor.decompress(packed, BLOCK_BYTES)
            except (failure, EOFError) as error:
                raise UserError(ExitCode.DATA, f"damaged {kind} data", where=name, do="Get the file again.") from error
            yield plain
            packed = b""
            if decompressor.eof:
                packed, decompressor = decompressor.unused_data, None
            elif decompressor.needs_input:
                break
    if decompressor is not None:
        raise UserError(ExitCode.DATA, f"the {kind} file is cut short", where=name, do="Get the file again.")
