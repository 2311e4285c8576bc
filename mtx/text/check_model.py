"""What a SentencePiece model file may hold, looked at before SentencePiece's own reader in C++ sees it.

A model is a protobuf message: fields one after another, each a key (its number and wire type) and a value. Field 1
comes once for every piece, a message itself: its text, score and type. The others say how the model was trained and
how text is normalised.
"""

import struct
from collections.abc import Iterator

MAX_MODEL_BYTES = 16 << 20
MAX_PIECE_BYTES = 1 << 10
MAX_FIELD_BYTES = 4 << 20
"""Of what is no piece: the largest are the tables of the normaliser, 0.3 MB for those that come with SentencePiece."""
MAX_SCORE = 1e9
"""A score is the logarithm of a probability, or minus the number of the piece."""
NUM_TYPES = 6
"""Normal, unknown, control, user-defined, unused, byte."""

# Keys are 8 x number + wire type.
VARINT, FIXED64, SIZED, FIXED32 = 0, 1, 2, 5
PIECE = TEXT = 8 * 1 + SIZED
SCORE = 8 * 2 + FIXED32
TYPE = 8 * 3 + VARINT

_unpack_float = struct.Struct("<f").unpack


def check_model(model: bytes) -> None:
    """Make sure that SentencePiece may read `model`.

    Raises:
        ValueError: it holds what no model has; says what.
    """
    if len(model) > MAX_MODEL_BYTES:
        raise ValueError(f"larger than {MAX_MODEL_BYTES >> 20} MiB")
    num_pieces = 0
    try:
        for key, value in _fields(model):
            if key == PIECE:
                num_pieces += 1
                _check_piece(value, num_pieces)
            elif len(value) > MAX_FIELD_BYTES:
                raise ValueError(f"a field larger than {MAX_FIELD_BYTES >> 20} MiB")
    except IndexError:
        raise ValueError("cut short") from None
    if num_pieces == 0:
        raise ValueError("no pieces")


def _check_piece(piece: bytes, number: int) -> None:
    for key, value in _fields(piece):
        if key == TEXT:
            if not 0 < len(value) <= MAX_PIECE_BYTES:
                raise ValueError(f"piece {number} has {len(value):,} bytes")
            value.decode("utf-8")
        elif key == SCORE:
            if not abs(_unpack_float(value)[0]) <= MAX_SCORE:  # nor is NaN
                raise ValueError(f"piece {number} has no usable score")
        elif key == TYPE and not (len(value) == 1 and 1 <= value[0] <= NUM_TYPES):
            raise ValueError(f"piece {number} is of no known type")


def _fields(message: bytes) -> Iterator[tuple[int, bytes]]:
    """The keys and the raw values of `message`, in order."""
    pos, end = 0, len(message)
    while pos < end:
        key, pos = _varint(message, pos)
        wire = key % 8
        if wire == SIZED:
            size, pos = _varint(message, pos)
        elif wire == VARINT:
            size = _varint(message, pos)[1] - pos
        elif wire in (FIXED32, FIXED64):
            size = 4 if wire == FIXED32 else 8
        else:
            raise ValueError(f"wire type {wire}")
        if size > end - pos:
            raise ValueError("cut short")
        yield key, message[pos : pos + size]
        pos += size


def _varint(message: bytes, pos: int) -> tuple[int, int]:
    """The number at `pos`, 7 bits a byte, the lowest first, and the position after it."""
    value = 0
    for shift in range(0, 70, 7):
        byte = message[pos]
        pos += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, pos
    raise ValueError("an endless number")
