"""Folding of sources: spellings of one text become one, and nothing that may differ in meaning does."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtx.text.normalization import fold

SCALARS = [chr(code) for code in range(0x30000) if not 0xD800 <= code < 0xE000]


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("cafe\u0301 e\u0323\u0302 e\u0302\u0323 \u00ea\u0323", "café ệ ệ ệ"),
        ("\u1112\u1161\u11ab\u1100\u1173\u11af \ud558\u11ab", "한글 한"),
        ("ｆｕｌｌ ＷＩＤＴＨ １２３", "full WIDTH 123"),
        ("ｶﾞｷﾞ ﾊﾟﾝ", "ガギ パン"),
        ("eﬃcient ﬁnd ﬂow ĳs ŉ", "efficient find flow ijs ʼn"),
        ("\ufedf\ufe8e \ufef7 \ufdf2", "لا لأ الله"),
        ("a\u00a0b\u202fc\u2009d\u3000e\tf\u2003g", "a b c d e f g"),
        ("so\u00adft \ufeffmark\u200bs\u200e\u202b \x01\x7f\x9f", "soft marks "),
        ("non\u2011breaking", "non-breaking"),
        ("plain\tASCII\x7f", "plain ASCII"),
        ("\u212b \u2126 \u212a", "Å Ω K"),
    ],
)  # fmt: skip
def test_spellings_of_one_text_become_one(text: str, folded: str) -> None:
    assert fold(text) == folded


@pytest.mark.parametrize(
    "text",
    [
        "1½ cups", "10⁶", "2³ = 8", "25 m²", "㎡ ① ℃ № ™ x₂", "می\u200cخواهم", "क्\u200dष", "，？！：；（）。「」、～％",
        "„Ja“ – «oui» … ’s", "և ﷺ ª º µ", "👩\u200d👩\u200d👧 ❤\ufe0f", "A a ẞ ß İ ı", "𝐱 x", "\u1680",
    ],
)  # fmt: skip
def test_nothing_that_may_differ_in_meaning_is_folded(text: str) -> None:
    assert fold(text) == text


def test_decomposed_text_as_some_systems_write_it_is_composed() -> None:
    """NFD, the form of file names on a Mac."""
    for char in SCALARS:
        decomposed = unicodedata.normalize("NFD", char)
        assert decomposed == char or fold(decomposed) == fold(char)


def test_folding_twice_is_folding_once() -> None:
    assert all(fold(folded) == folded for folded in map(fold, SCALARS))


@given(
    st.text(
        st.sampled_from("aeo\u0301\u0302\u0323 ½ﬁ\u00a0한\u1112\u1161ｶﾞ，ا\u200c") | st.characters(categories=["L", "N"])
    )
)
def test_what_is_left_is_what_canonical_composition_leaves(text: str) -> None:
    """Except for what is folded besides, letter by letter."""
    composed = unicodedata.normalize("NFC", text)
    if all(fold(char) == char for char in composed):
        assert unicodedata.normalize("NFC", fold(text)) == composed
