"""Characters that a tokenizer changes are counted, and shown with what becomes of them."""

from pathlib import Path

import pytest

from mtx.config.settings import TokenizerSettings
from mtx.text.changes import describe_changes, round_trip, round_trip_by
from mtx.text.train_tokenizer import train_tokenizer

TEXTS = ["Take 1½ cups，and 25 m².", "Vraiment\u202f?", "an apple，a pear", "two  spaces ", "a\tb"]


@pytest.mark.parametrize(
    ("normalization", "wanted"),
    [
        ("source", None),
        ("lossless", None),
        ("identity", None),
        ("nmt_nfkc", "5 characters of the target, such as ， as ,, ½ as 1⁄2, ² as 2"),
        ("nfkc_cf", "7 characters of the target, such as ， as ,, T as t, ½ as 1⁄2"),
    ],
)
def test_a_normalization_tells_the_same_before_and_after_a_training(normalization: str, wanted: str | None) -> None:
    settings = TokenizerSettings(vocab_size=340, normalization=normalization)
    texts = TEXTS if normalization == "source" else TEXTS[:-1]
    tokenizer = train_tokenizer(texts, texts, settings, lambda line: None)
    assert describe_changes(texts, round_trip_by(settings)) == describe_changes(texts, round_trip(tokenizer)) == wanted


def test_spaces_do_not_count_and_a_file_is_tried_itself(tmp_path: Path) -> None:
    settings = TokenizerSettings(vocab_size=340, normalization="nmt_nfkc")
    tokenizer = train_tokenizer(TEXTS, TEXTS, settings, lambda line: None)
    (tmp_path / "spm.model").write_bytes(tokenizer.files["spm.model"])
    for through in (round_trip_by(settings), round_trip_by(TokenizerSettings(file=tmp_path / "spm.model"))):
        told = describe_changes(["a \u00a0 b", " c "], through)
        assert told == "1 characters of the target, such as NO-BREAK SPACE as SPACE"


def test_characters_without_a_piece_or_bytes_are_told() -> None:
    tokenizer = train_tokenizer(["abc"] * 9, ["abc"] * 9, TokenizerSettings(vocab_size=9, byte_fallback=False), print)
    assert describe_changes(["abç", "a\u200b", "a\u0323"], round_trip(tokenizer)) == (
        "3 characters of the target, such as ç as ⁇, ZERO WIDTH SPACE as ⁇, COMBINING DOT BELOW as ⁇"
    )
    removed = describe_changes(["a\x01b"], round_trip_by(TokenizerSettings(normalization="nmt_nfkc")))
    assert removed == "1 characters of the target, such as U+0001 as nothing"
