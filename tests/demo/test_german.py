"""German of the demo, checked against examples by hand: agreement, tenses, negation and word order."""

import pytest

from mtx.demo.adjectives import ADJECTIVES
from mtx.demo.clauses import (
    Clause,
    Part,
    english,
    english_question,
    german,
    german_imperative,
    german_infinitive,
    german_inverted,
    german_subordinate,
)
from mtx.demo.grammar import HE, IT, THEY, WE, YOU, Case, I, Nominal, NounPhrase, Owned, prepositional
from mtx.demo.nouns import NOUNS
from mtx.demo.phrases import no_thing, place_of, thing
from mtx.demo.verbs import VERBS

NOUN = {noun.en: noun for nouns in NOUNS.values() for noun in nouns}


def np(words: str, plural: bool = False) -> NounPhrase:
    """Parse `the old dog`, `a dog`, or ` dogs` without a determiner."""
    determiner, *adjective, noun = words.split(" ")
    return NounPhrase(NOUN[noun], determiner, ADJECTIVES[adjective[0]] if adjective else None, plural)


@pytest.mark.parametrize(
    ("words", "plural", "case", "expected"),
    [
        ("the old dog", False, "nom", "der alte Hund"),
        ("the old dog", False, "acc", "den alten Hund"),
        ("the old dog", False, "dat", "dem alten Hund"),
        ("the old dog", False, "gen", "des alten Hundes"),
        ("the old cat", False, "acc", "die alte Katze"),
        ("the old cat", False, "dat", "der alten Katze"),
        ("the old cat", False, "gen", "der alten Katze"),
        ("the old car", False, "nom", "das alte Auto"),
        ("the old car", False, "dat", "dem alten Auto"),
        ("the old car", False, "gen", "des alten Autos"),
        ("the old dog", True, "nom", "die alten Hunde"),
        ("the old dog", True, "dat", "den alten Hunden"),
        ("the old dog", True, "gen", "der alten Hunde"),
        ("a old dog", False, "nom", "ein alter Hund"),
        ("a old dog", False, "acc", "einen alten Hund"),
        ("a old cat", False, "nom", "eine alte Katze"),
        ("a old cat", False, "dat", "einer alten Katze"),
        ("a old car", False, "acc", "ein altes Auto"),
        ("my old car", False, "nom", "mein altes Auto"),
        ("our old car", True, "nom", "unsere alten Autos"),
        ("no old cat", True, "acc", "keine alten Katzen"),
        ("this old dog", False, "acc", "diesen alten Hund"),
        ("every child", False, "nom", "jedes Kind"),
        ("which cat", False, "dat", "welcher Katze"),
        ("two old dog", True, "acc", "zwei alte Hunde"),
        ("many old dog", True, "dat", "vielen alten Hunden"),
        ("the boy", False, "acc", "den Jungen"),
        ("the neighbour", False, "gen", "des Nachbarn"),
        ("the garden", False, "dat", "dem Garten"),
        ("the car", True, "dat", "den Autos"),
        ("a expensive car", False, "nom", "ein teures Auto"),
        ("the dark house", False, "nom", "das dunkle Haus"),
        ("the tired child", False, "nom", "das müde Kind"),
    ],
)
def test_noun_phrases_agree(words: str, plural: bool, case: Case, expected: str) -> None:
    assert np(words, plural).de(case) == expected


def clause(who: Nominal, verb: str, tense: str = "present", *parts: Part, negation: str = "") -> Clause:
    return Clause(who, VERBS[verb], tense, parts, negation)


def being(adjective: str) -> Part:
    return Part("predicate", adjective, ADJECTIVES[adjective].de)


TODAY = Part("time", "today", "heute")
THE_MAN, THE_DOG, THE_BUS = np("the man"), np("the dog"), thing(np("the bus"))
INTO_GARDEN, IN_GARDEN = place_of(np("the garden"), "acc"), place_of(np("the garden"), "dat")
BY_THE_MAN = Part("agent", "by the man", prepositional("von", THE_MAN, "dat"))
CALLS = clause(THE_MAN, "call", "present", thing(np("the doctor")))
CROSSES = clause(np("the animal"), "cross", "past", thing(np("the street")), negation="n't")


@pytest.mark.parametrize(
    ("given", "en", "de"),
    [
        (clause(I, "see", "present", THE_BUS), "I see the bus", "ich sehe den Bus"),
        (clause(YOU, "see", "present", THE_BUS), "you see the bus", "du siehst den Bus"),
        (clause(YOU, "wait", "present"), "you wait", "du wartest"),
        (clause(HE, "eat", "present", thing(np("a apple"))), "he eats an apple", "er isst einen Apfel"),
        (clause(np("the cat"), "sleep", "progressive"), "the cat is sleeping", "die Katze schläft"),
        (clause(np("the dog", True), "sleep", "past"), "the dogs slept", "die Hunde schliefen"),
        (clause(WE, "find", "perfect", THE_BUS), "we have found the bus", "wir haben den Bus gefunden"),
        (clause(I, "go", "perfect", INTO_GARDEN), "I have gone into the garden", "ich bin in den Garten gegangen"),
        (clause(THEY, "arrive", "pluperfect"), "they had arrived", "sie waren angekommen"),
        (clause(I, "visit", "future", thing(HE)), "I will visit him", "ich werde ihn besuchen"),
        (clause(THE_DOG, "sleep", "past", IN_GARDEN), "the dog slept in the garden", "der Hund schlief im Garten"),
        (
            clause(THE_MAN, "help", "past", thing(np("the boy"), "dat")),
            "the man helped the boy",
            "der Mann half dem Jungen",
        ),
        (
            clause(THE_MAN, "give", "present", thing(np("the woman"), "dat"), thing(np("a book"))),
            "the man gives the woman a book",
            "der Mann gibt der Frau ein Buch",
        ),
        (CALLS, "the man calls the doctor", "der Mann ruft den Arzt an"),
        (clause(I, "pick up", "want", THE_BUS), "I want to pick the bus up", "ich will den Bus abholen"),
        (
            clause(I, "tidy up", "perfect", thing(np("a kitchen"))),
            "I have tidied a kitchen up",
            "ich habe eine Küche aufgeräumt",
        ),
        (clause(YOU, "hide", "past", Part("reflexive", "", "dich")), "you hid", "du verstecktest dich"),
        (CROSSES, "the animal didn't cross the street", "das Tier überquerte die Straße nicht"),
        (
            clause(I, "buy", "perfect", no_thing(np("a car")), negation="n't"),
            "I haven't bought a car",
            "ich habe kein Auto gekauft",
        ),
        (
            clause(THE_MAN, "wash", "can", THE_BUS, negation="not"),
            "the man cannot wash the bus",
            "der Mann kann den Bus nicht waschen",
        ),
        (
            clause(THE_DOG, "go", "past", INTO_GARDEN, negation="n't"),
            "the dog didn't go into the garden",
            "der Hund ging nicht in den Garten",
        ),
        (
            clause(THE_DOG, "be", "past", being("tired"), negation="n't"),
            "the dog wasn't tired",
            "der Hund war nicht müde",
        ),
        (
            clause(
                np("the house"),
                "paint",
                "passive past",
                Part("agent", "by the man", prepositional("von", THE_MAN, "dat")),
            ),
            "the house was painted by the man",
            "das Haus wurde vom Mann gestrichen",
        ),
        (
            clause(Owned(np("my uncle"), np("the car")), "be", "present", being("red")),
            "my uncle's car is red",
            "das Auto meines Onkels ist rot",
        ),
        (clause(I, "buy", "past", THE_BUS, TODAY), "I bought the bus today", "ich kaufte heute den Bus"),
    ],
)
def test_main_clauses(given: Clause, en: str, de: str) -> None:
    assert (english(given), german(given)) == (en, de)


def test_word_order_of_other_clauses() -> None:
    assert english(CALLS, "today") == "today the man calls the doctor"
    assert german_inverted(CALLS, "heute") == "heute ruft der Mann den Arzt an"
    assert german_subordinate(CALLS, "weil") == "weil der Mann den Arzt anruft"
    assert german_subordinate(clause(I, "arrive", "perfect"), "dass") == "dass ich angekommen bin"
    assert german_subordinate(CROSSES, "weil") == "weil das Tier die Straße nicht überquerte"
    assert german_infinitive(CALLS) == "den Arzt anzurufen"
    assert german_imperative(clause(YOU, "take along", "present", thing(np("the ball")))) == "nimm den Ball mit"
    assert german_imperative(clause(YOU, "open", "present", thing(np("the box")))) == "öffne die Schachtel"
    assert english_question(CROSSES, "why") == "why didn't the animal cross the street"
    assert english_question(clause(THE_DOG, "be", "past", being("old"))) == "was the dog old"
    assert [IT[gender].acc for gender in "mfn"] == ["ihn", "sie", "es"]
