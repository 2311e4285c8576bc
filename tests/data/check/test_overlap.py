"""The overlap index finds all sentences that two sets of pairs share, and no others."""

import random

import pytest

from mtx.data.check.overlap import MAX_EXAMPLES, NEAR, NGRAM, Example, Overlap, OverlapIndex, example_of, shortened
from mtx.data.sources.base import Pair

WORDS = [f"w{number}" for number in range(5000)]


def sentence(draw: random.Random, num_words: int = 16) -> str:
    return " ".join(draw.choices(WORDS, k=num_words))


def overlap(held_out: list[Pair], *others: list[Pair]) -> Overlap:
    known = OverlapIndex(held_out)
    for pairs in others:
        known.mark(known.find(pairs))
    return known.overlap(held_out, "dev", "train")


def counts(found: Overlap) -> tuple[int, int, int, int]:
    return found.both, found.src, found.tgt, found.near


@pytest.fixture
def pairs() -> list[Pair]:
    draw = random.Random(1)
    return [(sentence(draw), sentence(draw)) for _ in range(60)]


def test_other_pairs_share_nothing(pairs: list[Pair]) -> None:
    assert counts(overlap(pairs[:30], pairs[30:])) == (0, 0, 0, 0)
    assert overlap([], pairs) == Overlap("dev", "train")
    assert counts(overlap(pairs)) == (0, 0, 0, 0)


def test_pairs_and_sides_that_occur_whole(pairs: list[Pair]) -> None:
    held_out = pairs[:30]
    # Ten pairs; five sources and three targets, each with something else on the other side.
    others = [*pairs[:10], *((src, "x") for src, _ in pairs[10:15]), *(("x", tgt) for _, tgt in pairs[15:18])]
    found = overlap(held_out, others[:7], others[7:])
    assert counts(found) == (10, 15, 13, 0)
    assert [each.line for each in found.examples] == [*range(1, MAX_EXAMPLES + 1)]
    assert (found.examples[0].src, found.num_pairs) == (pairs[0][0], 30)


def test_both_sides_in_different_pairs_are_not_the_pair(pairs: list[Pair]) -> None:
    assert counts(overlap(pairs[:1], [(pairs[0][0], "x"), ("x", pairs[0][1])])) == (0, 1, 1, 0)


def test_case_spaces_and_punctuation_make_no_other_sentence() -> None:
    held_out = [("A dog, a cat.", "Ein Hund; eine Katze!"), ("?!", "..."), ("", "")]
    assert counts(overlap(held_out, [("a DOG a  cat", "ein hund eine katze")])) == (1, 1, 1, 0)
    assert counts(overlap(held_out, [("!!", "..")])) == (0, 0, 0, 0)
    assert counts(overlap(held_out, [("?!", "...")])) == (1, 1, 1, 0)


@pytest.mark.parametrize(
    ("num_words", "num_changed", "is_near"),
    [(16, 1, True), (16, 4, True), (16, 5, False), (16, 9, False), (15, 4, True), (15, 5, False)],
)
def test_what_nearly_occurs_shares_half_of_its_ngrams(
    num_words: int, num_changed: int, is_near: bool, pairs: list[Pair]
) -> None:
    """Replacing the first words leaves a near match while at least half of the n-grams remain (16 words have 9)."""
    words = pairs[0][0].split()[:num_words]
    src, tgt = " ".join(words), pairs[0][1]
    changed = " ".join(["other"] * num_changed + words[num_changed:])
    assert (len(words) - NGRAM + 1, NEAR) == (num_words - 7, 0.5)
    assert counts(overlap([(src, tgt)], [(changed, "x")])) == (0, 0, 0, int(is_near))
    assert counts(overlap([(tgt, src)], [("x", changed)])) == (0, 0, 0, int(is_near))


def test_the_ngrams_may_come_from_several_sentences(pairs: list[Pair]) -> None:
    words = pairs[0][0].split()
    parts = [(" ".join(words[:10]), "x"), (" ".join(words[6:]), "y")]
    assert counts(overlap(pairs[:1], parts[:1])) == (0, 0, 0, 0)
    assert counts(overlap(pairs[:1], parts[:1], parts[1:])) == (0, 0, 0, 1)


def test_short_sentences_occur_whole_or_not_at_all() -> None:
    assert counts(overlap([("a b c d e f g", "x")], [("a b c d e f h", "y")])) == (0, 0, 0, 0)


def test_scripts_without_spaces_are_compared_by_characters() -> None:
    held_out = [("前此盖尝罢之诏墨未干而花石供奉之舟", "x")]
    assert counts(overlap(held_out, [("前此盖尝罢之诏墨未干而花石供奉", "y")])) == (0, 0, 0, 1)
    assert counts(overlap(held_out, [("前此盖尝，罢之诏墨。", "y")])) == (0, 0, 0, 0)


def test_examples_are_short_whatever_the_text_is() -> None:
    assert example_of(3, ("a" * 200, "b" * 201)) == Example(3, "a" * 200, "b" * 199 + "…")
    assert shortened("abc", 3) == "abc"
    assert shortened("abcd", 3) == "ab…"
