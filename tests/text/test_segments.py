"""Long text is cut at the best places, none of it is lost, and its parts are joined as the language joins sentences."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtx.text.segments import cut_to_fit, group_sentences, join_translations
from mtx.text.sentences import split_sentences

TEXT = st.text(alphabet="abA1 .!?…,\"')\t\u3000\u00a0。！？」你好", max_size=80)


@given(TEXT, st.integers(1, 30))
def test_segments_are_the_whole_text_and_none_is_too_long(text: str, limit: int) -> None:
    segments = cut_to_fit(text, "en", len, limit)
    assert "".join(segments) == text
    assert all(len(segment.strip()) <= limit for segment in segments)
    assert all(segment.strip() for segment in segments) or not text.strip()


@given(TEXT)
def test_short_text_is_not_cut(text: str) -> None:
    assert cut_to_fit(text, "en", len, len(text)) == [text]


@given(TEXT, st.integers(1, 4))
def test_groups_keep_the_order_and_all_white_space(text: str, most: int) -> None:
    sentences = split_sentences(text, "en")
    groups = group_sentences(sentences, most)
    assert "".join(groups) == text
    for group in groups:
        assert 1 <= len(split_sentences(group, "en")) <= most


def test_sentences_are_grouped_but_not_over_layout() -> None:
    assert group_sentences(["A. ", "B. ", "C. ", "D."], 3) == ["A. B. C. ", "D."]
    assert group_sentences(["A.  ", "B.\t", "C. ", "D."], 3) == ["A.  ", "B.\t", "C. D."]


@pytest.mark.parametrize(
    ("text", "limit", "segments"),
    [
        ("One two. Three four! Five?", 3, ["One two.", "Three four! Five?"]),
        ('And then he said "no." Why not him?', 5, ['And then he said "no."', "Why not him?"]),
        ("Version 2.5 is out. Get it.", 4, ["Version 2.5 is out.", "Get it."]),
        ("Short. One two three four five six", 4, ["Short. One two three", "four five six"]),
        ("tiny incomprehensibilities of it", 2, ["tiny incomprehensibilities", "of it"]),
        ("one two three four, five six seven", 5, ["one two three four,", "five six seven"]),
        ("He met the old Dr. Jones and Mr. Smith", 4, ["He met the", "old Dr. Jones", "and Mr. Smith"]),
        ("A b c d e f g h i j k", 4, ["A b c", "d e f g", "h i j k"]),
        ("One, two three four five six seven eight", 4, ["One, two three four", "five six seven eight"]),
        ("a b Dr. cccc ddddd", 4, ["a b Dr. cccc", "ddddd"]),
    ],
)
def test_text_is_cut_at_sentence_ends_else_at_clauses_else_at_spaces(
    text: str, limit: int, segments: list[str]
) -> None:
    found = cut_to_fit(text, "en", lambda part: len(part.split()), limit)
    assert [segment.strip() for segment in found] == segments


@pytest.mark.parametrize(
    ("text", "limit", "segments"),
    [
        ("你好。再见！", 3, ["你好。", "再见！"]),
        ("「你好。」他说。", 5, ["「你好。」", "他说。"]),
        ("本当！？はい。", 5, ["本当！？", "はい。"]),
        ("一二三四五六七八", 4, ["一二三四", "五六七八"]),
        ("一二三，四五六七", 4, ["一二三，", "四五六七"]),
    ],
)
def test_text_without_spaces(text: str, limit: int, segments: list[str]) -> None:
    assert cut_to_fit(text, "zh", len, limit) == segments


def test_a_single_character_is_never_cut() -> None:
    assert cut_to_fit("aé", "en", lambda part: 3 * len(part), 2) == ["a", "é"]


def test_parts_whose_joined_text_has_more_tokens_stay_apart() -> None:
    def count_tokens(text: str) -> int:
        return {"One two. Three four.": 9, "One two.": 2, "Three four.": 2}[text]

    assert cut_to_fit("One two. Three four.", "en", count_tokens, 4) == ["One two. ", "Three four."]


@pytest.mark.parametrize(
    ("language", "whole"),
    [("de", "a b"), ("zh", "ab"), ("zh-Hans", "ab"), ("JA", "ab"), ("th_TH", "ab"), ("zha", "a b"), ("ko", "a b"),
     ("zho", "ab"), ("cmn", "ab"), ("jpn", "ab"), ("zh-Hant-TW", "ab"), ("tha", "ab"), ("mya", "ab"), ("khm", "ab"),
     ("lzh", "ab"), ("yue", "ab"), ("wuu", "ab"), ("lo", "ab"), ("zh-Latn", "a b"), ("kor", "a b"), ("x-toy", "a b"),
     ("vie", "a b"), ("my-own-code", "a b")],
)  # fmt: skip
def test_parts_are_joined_as_the_language_requires(language: str, whole: str) -> None:
    assert join_translations(["A. ", "B. ", "C."], ["a", "", "b"], language) == whole
    assert join_translations(["甲。", "乙。", "丙。"], ["a", "", "b"], language) == whole


@pytest.mark.parametrize(
    ("segments", "line"),
    [
        (["  A. ", "B.\t", "C.  ", "D. "], "  a b\tc  d "),
        (["\u3000A.\u3000", "B.\t\t", "C.\u00a0", "D."], "\u3000a\u3000b\t\tc\u00a0d"),
        (["A.\x0b", "B.\u2028", "C.\x85\t", "D.\r"], "a b c \td "),  # what breaks a line in some reader becomes a space
        (["http://a", "b.example ", "C ", "D"], "ab c d"),  # cut in a word
    ],
)
def test_white_space_comes_back(segments: list[str], line: str) -> None:
    assert join_translations(segments, ["a", "b", "c", "d"], "de") == line


def test_one_space_is_no_layout_for_a_language_without_spaces() -> None:
    assert join_translations([" A. ", "B.  ", "C."], ["a", "b", "c"], "ja") == " ab  c"
    assert join_translations(["甲。", "乙。\u3000", "丙。"], ["a", "b", "c"], "en") == "a b\u3000c"
    assert join_translations(["OK", "好。"], ["a", "b"], "de") == "a b"
