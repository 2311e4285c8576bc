"""Codes of ISO 639-1, -2 and -3, with scripts and regions, name the same language."""

import pytest

from mtx.text.languages import base_language, is_language_code, matching_codes, nearest_code, script_of
from mtx.text.writing_systems import scripts_of, share_in


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
     ("ger", "de"), ("tl", "fil"), ("yue_Hant", "yue"),
     ("zho", "zh"), ("chi", "zh"), ("kor", "ko"), ("deu", "de"), ("zh-Hant-TW", "zh"), ("pt_BR", "pt"), ("iw", "he"),
     ("in", "id"), ("fre", "fr"), ("arb", "ar"), ("swh", "sw"), ("nb", "no"), ("nor", "no"), ("x-de", "x-de"),
     ("und", "und"), ("xx", "xx"), ("X", "x"), ("my-own-code", "my"), ("a1b", "a1b"), ("français", "français")],
)  # fmt: skip
def test_the_language_of_a_code(code: str, language: str) -> None:
    assert base_language(code) == language


@pytest.mark.parametrize(
    ("wanted", "codes", "matching"),
    [
        ("zh", "en zh-CN zh-TW", "zh-CN zh-TW"), ("zh", "zh zh-TW", "zh"), ("zho", "zh-TW cmn", "cmn"),
        ("zh-TW", "en zh", "zh"), ("zh-TW", "zh-CN zh", ""), ("zh_TW", "zh-CN zh-Hant-TW", "zh-Hant-TW"),
        ("zho_Hant", "zh-CN zh-HK", "zh-HK"), ("zh-TW", "zh-CN zh-HK", ""), ("pt", "pt-BR pt-PT", "pt-BR pt-PT"),
        ("pt-BR", "pt-PT pt_br PT", "pt_br"), ("pt_BR", "pt", "pt"), ("pt-BR", "pt-PT", ""), ("pt-BR", "pt pt-PT", ""),
        ("DE", "de deu DE", "DE"), ("de", "DEU en", "DEU"), ("sr", "sr-Latn sr-Cyrl", "sr-Latn sr-Cyrl"),
        ("sr-Latn", "sr-Cyrl", ""), ("in", "id", "id"), ("he", "iw", "iw"), ("nb", "no", "no"), ("en", "id text", ""),
        ("x-de", "de", ""), ("xx", "xx-yy XX", "XX"), ("zh-Hant-TW", "zh", "zh"), ("", "de", ""), ("de", "", ""),
    ],
)  # fmt: skip
def test_a_code_matches_the_same_tag_or_else_wider_and_narrower_ones(wanted: str, codes: str, matching: str) -> None:
    assert matching_codes(wanted, codes.split()) == matching.split()


def test_the_script_of_a_code() -> None:
    codes = {"zho": "Hans", "zh_TW": "Hant", "ja": "Jpan", "mya": "Mymr", "sr-Latn": "Latn", "xx": None, "x-de": None}
    assert {code: script_of(code) for code in codes} == codes
    scripts = {"cmn": ("Han",), "kor": ("Hangul", "Han"), "uz_Cyrl": ("Cyrl",), "iw": ("Hebrew",), "en-Code": ()}
    assert {code: scripts_of(code) for code in scripts} == scripts
    of_two = {"sr": ("Cyrillic", "Latin"), "sr_RS": ("Cyrillic", "Latin"), "sr-Cyrl": ("Cyrl",), "sr_Latn": ("Latn",)}
    assert {code: scripts_of(code) for code in of_two} == of_two
    assert scripts_of("eng_Latn") == ("Latin",)
    assert share_in("１２", ("Latin",)) == 1


def test_a_country_is_not_a_language() -> None:
    assert [nearest_code(code) for code in ("jp", "cz_CZ", "DK", "x-toy", "toy2")] == [
        "ja",
        "cs",
        "da",
        "x-toy",
        "toy2",
    ]
