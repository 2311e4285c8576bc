"""Packed files give what was packed, however they arrive, in bounded memory; what is damaged is an error."""

import gzip
import io
import lzma
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtx.data.sources.text import BLOCK_BYTES, MAX_XZ_BYTES, plain_blocks
from mtx.errors import ExitCode, UserError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

PACKERS: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.compress, "xz": lzma.compress, "zstd": zstd.compress}


class Pieces(io.RawIOBase):
    """A stream whose bytes arrive in pieces."""

    def __init__(self, pieces: list[bytes]) -> None:
        self.pieces = [piece for piece in pieces if piece]

    def read1(self, size: int) -> bytes:
        return self.pieces.pop(0) if self.pieces else b""


def unpacked(*pieces: bytes) -> bytes:
    return b"".join(plain_blocks(cast(Any, Pieces(list(pieces))), "file"))


@pytest.mark.parametrize("kind", PACKERS)
@given(data=st.data())
def test_what_was_packed_comes_back_however_it_arrives(kind: str, data: st.DataObject) -> None:
    parts = data.draw(st.lists(st.binary(max_size=50).map(lambda part: part * 7), min_size=1, max_size=4))
    packed = b"".join(map(PACKERS[kind], parts))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(packed)), max_size=6)))
    pieces = [packed[start:end] for start, end in zip([0, *cuts], [*cuts, None], strict=True)]
    assert unpacked(*pieces) == b"".join(parts)


@pytest.mark.parametrize("text", [b"", b"\x1f", b"\xfd7zX", b"\x28", b"(a text", b"\x1f\x8a no gzip", b"\xfd7zXY"])
def test_what_only_begins_like_a_packed_file_is_not_touched(text: bytes) -> None:
    assert unpacked(text) == unpacked(*(bytes([byte]) for byte in text)) == text


@pytest.mark.parametrize("kind", PACKERS)
def test_what_is_cut_short_or_damaged_is_an_error(kind: str) -> None:
    packed = PACKERS[kind](bytes(range(256)) * 40)
    cases = {"cut short": packed[:-3], "damaged": packed[:10] + bytes(byte ^ 0x55 for byte in packed[10:])}
    for why, data in cases.items():
        with pytest.raises(UserError, match=f"({why}|damaged)") as caught:
            unpacked(data)
        assert caught.value.code == ExitCode.DATA
        assert kind in str(caught.value)


@pytest.mark.slow
@pytest.mark.parametrize("kind", PACKERS)
def test_a_bomb_is_unpacked_block_by_block(kind: str) -> None:
    packed = PACKERS[kind](bytes(1 << 27))

    def sizes() -> Iterator[int]:
        yield from map(len, plain_blocks(io.BufferedReader(cast(Any, io.BytesIO(packed))), "bomb"))

    next(sizes())
    tracemalloc.start()
    assert sum(size for size in sizes() if size <= BLOCK_BYTES) == 1 << 27
    assert tracemalloc.get_traced_memory()[1] < 1 << 24
    tracemalloc.stop()


def test_xz_that_asks_for_more_memory_than_allowed_is_refused() -> None:
    filters = [{"id": lzma.FILTER_LZMA2, "dict_size": 2 * MAX_XZ_BYTES}]
    packed = lzma.compress(b"text", filters=filters)
    with pytest.raises(UserError, match="damaged xz data"):
        unpacked(packed)
