"""Long text is split at the best places, and none of it is lost."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtx.text.segments import join_parts, split_long

TEXT = st.text(alphabet="ab .!?…,\"')\n\u3000\u00a0。！？」你好", max_size=80)


def without_space(text: str) -> str:
    return "".join(text.split())


@given(TEXT, st.integers(1, 30))
def test_parts_are_the_whole_text_in_order_and_none_is_too_long(text: str, limit: int) -> None:
    parts = split_long(text, len, limit)
    assert "".join(map(without_space, parts)) == without_space(text)
    assert all(0 < len(part) <= limit for part in parts) or parts == [text]


@given(TEXT)
def test_short_text_is_not_split(text: str) -> None:
    assert split_long(text, len, len(text)) == [text]


@pytest.mark.parametrize(
    ("text", "limit", "parts"),
    [
        ("One two. Three four! Five?", 3, ["One two.", "Three four!", "Five?"]),
        ('And then he said "no." Why?', 5, ['And then he said "no."', "Why?"]),
        ("Version 2.5 is out. Get it.", 4, ["Version 2.5 is out.", "Get it."]),
        ("Short. one two three four five six", 4, ["Short.", "one two three", "four five six"]),
        ("tiny incomprehensibilities of it", 2, ["tiny incomprehensibilities", "of it"]),
    ],
)
def test_text_is_split_at_sentence_ends_else_at_spaces(text: str, limit: int, parts: list[str]) -> None:
    assert split_long(text, lambda part: len(part.split()), limit) == parts


@pytest.mark.parametrize(
    ("text", "limit", "parts"),
    [
        ("你好。再见！", 3, ["你好。", "再见！"]),
        ("「你好。」他说。", 5, ["「你好。」", "他说。"]),
        ("本当！？はい。", 5, ["本当！？", "はい。"]),
        ("一二三四五六七八", 4, ["一二三四", "五六七八"]),
    ],
)
def test_text_without_spaces(text: str, limit: int, parts: list[str]) -> None:
    assert split_long(text, len, limit) == parts


def test_a_single_character_is_never_split() -> None:
    assert split_long("aé", lambda part: 3 * len(part), 2) == ["a", "é"]


@pytest.mark.parametrize(
    ("language", "whole"),
    [("de", "a b"), ("zh", "ab"), ("zh-Hans", "ab"), ("JA", "ab"), ("th_TH", "ab"), ("zha", "a b"), ("ko", "a b")],
)
def test_parts_are_joined_as_the_language_requires(language: str, whole: str) -> None:
    assert join_parts(["a", "", "b"], language) == whole
