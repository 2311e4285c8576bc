"""gzip, xz and Zstandard, told by their first bytes and unpacked block by block in bounded memory."""

import sys
import zlib
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from mtx.errors import ExitCode, UserError

BLOCK_BYTES = 1 << 16
MAX_XZ_BYTES = 1 << 28
"""Memory that unpacking xz may take: its own highest level takes a quarter."""


class _Member(Protocol):
    """What unpacks one of the packed files that may lie one after the other."""

    eof: bool
    needs_input: bool
    unused_data: bytes

    def decompress(self, data: bytes, max_length: int) -> bytes: ...


class _Gzip:
    """zlib's decompressor in the form of the others."""

    def __init__(self) -> None:
        self._member = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)

    def decompress(self, data: bytes, max_length: int) -> bytes:
        return self._member.decompress(self._member.unconsumed_tail + data, max_length)

    @property
    def eof(self) -> bool:
        return self._member.eof

    @property
    def needs_input(self) -> bool:
        return not self._member.unconsumed_tail

    @property
    def unused_data(self) -> bytes:
        return self._member.unused_data


def _gzip() -> tuple[Callable[[], Any], type[Exception]]:
    return _Gzip, zlib.error


def _xz() -> tuple[Callable[[], Any], type[Exception]]:
    import lzma

    return lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=MAX_XZ_BYTES), lzma.LZMAError


def _zstd() -> tuple[Callable[[], Any], type[Exception]]:
    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        from backports import zstd
    return zstd.ZstdDecompressor, zstd.ZstdError  # which takes windows of 128 MiB at most


FORMATS = {b"\x1f\x8b": ("gzip", _gzip), b"\xfd7zXZ\0": ("xz", _xz), b"\x28\xb5\x2f\xfd": ("zstd", _zstd)}
"""Name and maker of what unpacks a file, by its first bytes."""

SUFFIXES = (".gz", ".xz", ".zst")
"""Of the names of such files."""


def plain_name(path: Path) -> Path:
    """`path` without the suffix of a packed file."""
    return path.with_suffix("") if path.suffix in SUFFIXES else path


def plain_blocks(stream: BinaryIO, name: str) -> Iterator[bytes]:
    """The bytes of `stream`, unpacked where they are packed, in blocks of about `BLOCK_BYTES`, as they arrive.

    `stream` is buffered (it has `read1`); `name` is what error messages call it.

    Raises:
        UserError: (DATA) it is damaged or cut short.
    """
    blocks = iter(lambda: stream.read1(BLOCK_BYTES), b"")  # type: ignore[attr-defined]
    first = next(blocks, b"")
    while any(len(first) < len(magic) and magic.startswith(first) for magic in FORMATS if first):
        more = next(blocks, b"")
        if not more:
            break
        first += more
    for magic, (kind, make) in FORMATS.items():
        if first.startswith(magic):
            yield from _unpack(chain([first], blocks), name, kind, *make())
            return
    yield from chain([first], blocks)


def _unpack(
    blocks: Iterator[bytes], name: str, kind: str, make: Callable[[], _Member], failure: type[Exception]
) -> Iterator[bytes]:
    """Unpack members that lie one after the other, never more than a block at a time."""
    member: _Member | None = None
    for block in blocks:
        packed = block
        while True:
            if member is None:
                packed = packed.lstrip(b"\0")  # gzip and xz allow zeros as padding after a member
                if not packed:
                    break
                member = make()
            try:
                plain = member.decompress(packed, BLOCK_BYTES)
            except (failure, EOFError) as error:
                raise UserError(ExitCode.DATA, f"damaged {kind} data", where=name, do="Get the file again.") from error
            yield plain
            packed = b""
            if member.eof:
                packed, member = member.unused_data, None
            elif member.needs_input:
                break
    if member is not None:
        raise UserError(ExitCode.DATA, f"the {kind} file is cut short", where=name, do="Get the file again.")
