"""Disturbances change what they name and nothing else, and depend on nothing but seed, line and text."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtx.judge import disturbances
from mtx.judge.disturbances import DISTURBANCES, KINDS, TYPO_RATE, disturb, join_neighbours

TEXTS = st.text(st.sampled_from([*"abcXYZ äßıİ.,!?\"'»)犬\u00a0 12"]), max_size=40)


@given(lines=st.lists(TEXTS, min_size=1, max_size=5), seed=st.integers(0, 9))
def test_a_line_depends_on_its_number_and_the_seed_alone(lines: list[str], seed: int) -> None:
    for kind in DISTURBANCES:
        found = disturb(kind, lines, "en", seed)
        assert len(found) == len(lines)
        assert disturb(kind, ["", *lines[1:]], "en", seed)[1:] == found[1:]
        assert not any("\n" in line for line in found)


@given(text=TEXTS)
def test_only_what_is_named_changes(text: str) -> None:
    for kind in ("caps", "title", "lower"):
        assert disturb(kind, [text], "en", 1)[0].casefold() == text.casefold() or "İ" in text or "ı" in text
    assert disturb("spaces", [text], "en", 1)[0].split() == text.split()
    marks = ".,!?\"'»)\u00a0 "
    assert disturb("punct", [text], "en", 1)[0].rstrip(marks) == text.rstrip(marks)


@pytest.mark.parametrize(
    ("kind", "text", "language", "expected"),
    [
        ("caps", "It isn't big.", "en", "IT ISN'T BIG."),
        ("caps", "iyi ışık", "tr", "İYİ IŞIK"),
        ("lower", "IŞIK İyi", "tr", "ışık iyi"),
        ("lower", "DAS Haus", "de", "das haus"),
        ("title", 'it isn\'t "so" well-known, 3rd', "en", 'It Isn\'t "So" Well-known, 3rd'),
        ("caps", "今天天气很好。", "zh", "今天天气很好。"),
        ("punct", "no mark", "en", "no mark"),
    ],
)
def test_known_texts(kind: str, text: str, language: str, expected: str) -> None:
    assert disturb(kind, [text], language, 1) == [expected]


@pytest.mark.parametrize(
    ("text", "without", "doubled"),
    [("Yes.", "Yes", "Yes.."), ('He said "yes!"', 'He said "yes"', 'He said "yes!!"'), ("好。", "好", "好。。")],
)
def test_final_marks_are_dropped_or_doubled(text: str, without: str, doubled: str) -> None:
    assert set(disturb("punct", [text] * 50, "en", 1)) == {without, doubled}


def test_spaces_are_doubled_added_and_not_broken() -> None:
    found = disturb("spaces", ["a b"] * 200, "en", 1)
    assert {line.strip(" ") for line in found} == {"a b", "a  b", "a\u00a0b"}
    assert {line[: len(line) - len(line.lstrip(" "))] for line in found} == {"", " "}
    assert {line[len(line.rstrip(" ")) :] for line in found} == {"", " "}


def test_typing_errors_have_their_rate_and_kinds(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "Abcdefghij klmno 123, " * 10
    lines = [text] * 300
    num_letters = 300 * sum(map(str.isalpha, text))
    one_letter = disturb("typos", list("m" * num_letters), "en", 1)
    num_errors = sum(letter != "m" for letter in one_letter)
    # A swap has no second letter here, so it doubles; neighbours of m: n alone
    assert set(one_letter) == {"m", "", "mm", "n"}
    assert 0.9 < num_errors / num_letters / TYPO_RATE < 1.1
    found = disturb("typos", lines, "en", 1)
    assert all([c for c in line if not c.isalpha()] == [c for c in text if not c.isalpha()] for line in found)
    monkeypatch.setattr(disturbances, "TYPO_RATE", 1.0)
    pairs = set(disturb("typos", ["Ab"] * 500, "en", 1))
    assert "bA" in pairs
    assert all(c in string.ascii_letters for pair in pairs for c in pair)


def test_neighbours_are_joined() -> None:
    lines = ["One.", "Two.", "Three.", "", "Five."]
    assert join_neighbours(lines, "en") == disturb("joined", lines, "en", 1) == ["One. Two.", "Three.", "Five."]
    assert join_neighbours(["好。", "是。"], "zh") == ["好。是。"]
    assert set(KINDS) == {*DISTURBANCES, "joined"}
