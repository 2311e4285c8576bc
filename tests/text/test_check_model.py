"""Models made by SentencePiece pass the check; damaged or hostile ones never reach SentencePiece's own reader."""

import io
import re
import struct

import pytest
import sentencepiece

from mtx.text.check_model import MAX_FIELD_BYTES, MAX_MODEL_BYTES, MAX_PIECE_BYTES, check_model

LINES = ["the dog sees a cat", "ein Hund sieht die Katze", "日本語 🙂"] * 30


def varint(number: int) -> bytes:
    low = number & 0x7F
    return bytes([low]) if number < 128 else bytes([low | 0x80]) + varint(number >> 7)


def sized(number: int, value: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(value)) + value


def piece(text: bytes = b"a", score: float = -1.5, kind: bytes = b"\x01") -> bytes:
    return sized(1, sized(1, text) + b"\x15" + struct.pack("<f", score) + b"\x18" + kind)


GOOD = piece(b"<unk>", 0, b"\x02") + piece() + sized(2, b"\x18\x01") + sized(3, sized(1, b"identity"))


@pytest.mark.parametrize("model_type", ["unigram", "bpe", "char", "word"])
@pytest.mark.parametrize("rule", ["nmt_nfkc", "identity"])
def test_models_trained_by_sentencepiece_pass(model_type: str, rule: str) -> None:
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(LINES), model_writer=model, model_type=model_type, normalization_rule_name=rule,
        vocab_size=40, hard_vocab_limit=False, minloglevel=2, user_defined_symbols="x" * 200, control_symbols="<2de>",
        self_test_sample_size=5,
    )  # fmt: skip
    check_model(model.getvalue())


@pytest.mark.parametrize(
    "model",
    [
        GOOD,
        GOOD + piece("é".encode() * (MAX_PIECE_BYTES // 2)),
        GOOD + piece(score=-1e6),
        GOOD + sized(200, b"an extension"),
        GOOD + varint(201 << 3) + varint(2**63) + varint(202 << 3 | 1) + bytes(8) + varint(203 << 3 | 5) + bytes(4),
        GOOD + sized(3, bytes(MAX_FIELD_BYTES)),
    ],
)
def test_unusual_but_valid_models_pass(model: bytes) -> None:
    check_model(model)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (b"", "no pieces"),
        (GOOD[len(piece(b"<unk>", 0)) + len(piece()) :], "no pieces"),
        (GOOD + bytes(MAX_MODEL_BYTES), "larger than 16 MiB"),
        (GOOD + sized(3, bytes(MAX_FIELD_BYTES + 1)), "a field larger than 4 MiB"),
        (GOOD + piece(b"a" * (MAX_PIECE_BYTES + 1)), "piece 3 has 1,025 bytes"),
        (GOOD + piece(b""), "piece 3 has 0 bytes"),
        (GOOD + sized(1, sized(1, b"a" * 9999) + sized(1, b"a")), "piece 3 has 9,999 bytes"),
        (GOOD + piece(b"\xff"), "can't decode"),
        (GOOD + piece(b"\xed\xa0\x80"), "can't decode"),
        *[(GOOD + piece(score=score), "no usable score") for score in (float("nan"), float("inf"), -3e38)],
        *[(GOOD + piece(kind=kind), "an unknown type") for kind in (b"\x00", b"\x07", b"\x81\x01")],
        (GOOD[:-1], "cut short"),
        (GOOD + b"\x0a", "cut short"),
        (GOOD + b"\x0a\x80", "cut short"),
        (GOOD + b"\x0a" + b"\x80" * 30, "a number without an end"),
        (GOOD + varint(1 << 3 | 2) + varint(2**62), "cut short"),
        (GOOD + varint(9 << 3 | 5) + bytes(3), "cut short"),
        (GOOD + varint(9 << 3 | 3), "wire type 3"),
        (b"\xff" * 100, "a number without an end"),
    ],
)
def test_invalid_models_are_refused(model: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        check_model(model)
