"""Validate a SentencePiece model before SentencePiece's own reader, in C++, sees it.

A model is a protobuf message: a sequence of fields, each with a key (field number and wire type) and a value. Field 1
occurs once per piece and is a message with the piece's text, score and type. The other fields describe how the model
was trained and how text is normalized.
"""

import struct
from collections.abc import Iterator

MAX_MODEL_BYTES = 16 << 20
MAX_PIECE_BYTES = 1 << 10
MAX_FIELD_BYTES = 4 << 20  # Other fields; the largest are normalization tables, of 0.3 MB in SentencePiece's own
MAX_SCORE = 1e9  # Limit for the absolute score of a piece: a log-probability, or minus the index of the piece
NUM_TYPES = 6  # Types of pieces, numbered from 1: normal, unknown, control, user-defined, unused, byte

# Keys are 8 x number + wire type.
VARINT, FIXED64, SIZED, FIXED32 = 0, 1, 2, 5
PIECE = TEXT = 8 * 1 + SIZED
SCORE = 8 * 2 + FIXED32
TYPE = 8 * 3 + VARINT

_unpack_float = struct.Struct("<f").unpack


def check_model(model: bytes) -> None:
    """Check that SentencePiece can read `model` safely.

    Raises:
        ValueError: it is not a valid model; the message says why.
    """
    if len(model) > MAX_MODEL_BYTES:
        raise ValueError(f"larger than {MAX_MODEL_BYTES >> 20} MiB")
    num_pieces = 0
    try:
        for key, value in fields(model):
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
    for key, value in fields(piece):
        if key == TEXT:
            if not 0 < len(value) <= MAX_PIECE_BYTES:
                raise ValueError(f"piece {number} has {len(value):,} bytes")
            value.decode("utf-8")
        elif key == SCORE:
            if not abs(_unpack_float(value)[0]) <= MAX_SCORE:  # also true of NaN
                raise ValueError(f"piece {number} has no usable score")
        elif key == TYPE and not (len(value) == 1 and 1 <= value[0] <= NUM_TYPES):
            raise ValueError(f"piece {number} has an unknown type")


def fields(message: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the key and the raw value of each field of `message`."""
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
    """Decode the varint at `pos` (7 bits per byte, lowest first); return it and the position after it."""
    value = 0
    for shift in range(0, 70, 7):
        byte = message[pos]
        pos += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, pos
    raise ValueError("a number without an end")
