"""Codes of ISO 639-1, -2 and -3, with scripts and regions, name the same language."""

import pytest

from mtx.text.languages import base_language, is_language_code


@pytest.mark.parametrize("code", ["en", "EN", "pt_BR", "pt-BR", "zho_Hans", "es-419", "fil", "hsb", "x-toy"])
def test_language_codes(code: str) -> None:
    assert is_language_code(code)


@pytest.mark.parametrize(
    "text",
    ["", "x", "xx", "e n", "jp", "train", "en-", "en.gz", "1", "english", "dë", "en ", "x-" + "abcdefgh-" * 4 + "i"],
)
def test_other_text_is_no_language_code(text: str) -> None:
    assert not is_language_code(text)


@pytest.mark.parametrize(
    ("code", "language"),
    [("en", "en"), ("en_GB", "en"), ("ZH-cn", "zh"), ("zho_Hans", "zh"), ("cmn", "zh"), ("jpn_Jpan", "ja"),
     ("ger", "de"), ("tl", "tl"), ("yue_Hant", "yue"),
     ("und", "und"), ("xx", "xx"), ("X", "x"), ("my-own-code", "my"), ("a1b", "a1b"), ("français", "français")],
)  # fmt: skip
def test_the_language_of_a_code(code: str, language: str) -> None:
    assert base_language(code) == language
