"""Patterns of one main clause: cases, tenses, modal and separable verbs, negation, word order."""

from dataclasses import replace
from random import Random

from mtx.demo.adjectives import ANY_TIMES, FREQUENCIES, FUTURE_TIMES, MANNERS, PAST_TIMES
from mtx.demo.clauses import Clause, Part, english, german, german_inverted
from mtx.demo.grammar import HE, SHE, THEY, WE, YOU, I, NounPhrase, prepositional
from mtx.demo.lexicon import Verb
from mtx.demo.phrases import (
    PEOPLE,
    Pair,
    about,
    adverb,
    deed,
    no_thing,
    noun,
    pair,
    phrase,
    place,
    place_of,
    resting,
    singular,
    someone,
    tense_for,
    thing,
    transitive,
)
from mtx.demo.verbs import (
    ACTING,
    ARRIVING,
    DATIVE,
    GIVING,
    LIE,
    MOVING,
    PREPOSITIONAL,
    REFLEXIVE,
    REFLEXIVE_IN_ENGLISH,
    SEPARABLE,
    TRANSITIVE,
)


def state(clause: Clause) -> Pair:
    return pair(english(clause), german(clause))


def _any(rng: Random, verbs: dict[str, Verb]) -> Verb:
    return rng.choice(tuple(verbs.values()))


def negation(rng: Random) -> str:
    """Draw an English negation, usually contracted."""
    return "not" if rng.random() < 0.2 else "n't"


# ---------------------------------------------------------------------------------------------------- cases, tenses


def accusative(rng: Random) -> Pair:
    clause, what = transitive(rng)
    return state(replace(clause, parts=(thing(what),)))


def dative(rng: Random) -> Pair:
    verb = _any(rng, DATIVE)
    tense = tense_for(rng, verb)
    return state(Clause(someone(rng, tense), verb, tense, (thing(phrase(rng, *verb.objects), "dat"),)))


def two_objects(rng: Random) -> Pair:
    verb = _any(rng, GIVING)
    tense = tense_for(rng, verb)
    parts = (thing(phrase(rng, *PEOPLE), "dat"), thing(phrase(rng, *verb.objects)))
    return state(Clause(someone(rng, tense), verb, tense, parts))


def pronoun_objects(rng: Random) -> Pair:
    """Pronouns as objects: `The woman sees him`, `The boy gives her the book`."""
    whom = rng.choice((I, YOU, HE, SHE, WE, THEY))
    who = phrase(rng, *PEOPLE)
    parts: tuple[Part, ...] = ()
    if rng.random() < 0.4:
        verb = _any(rng, GIVING)
        parts += (_pronoun(whom.en_object, whom.dat), thing(phrase(rng, *verb.objects)))
    elif rng.random() < 0.4:
        verb = _any(rng, DATIVE)
        parts += (_pronoun(whom.en_object, whom.dat),)
    else:
        verb = rng.choice([verb for verb in (*TRANSITIVE.values(), *SEPARABLE.values()) if "man" in verb.objects])
        parts += (_pronoun(whom.en_object, whom.acc),)
    return state(Clause(who, verb, tense_for(rng, verb), parts))


def _pronoun(en: str, de: str) -> Part:
    return Part("pronoun", en, de)


def prepositional_object(rng: Random) -> Pair:
    verb = _any(rng, PREPOSITIONAL)
    tense = tense_for(rng, verb)
    return state(Clause(someone(rng, tense), verb, tense, (about(verb, phrase(rng, *verb.objects)),)))


def reflexive(rng: Random) -> Pair:
    verb = _any(rng, REFLEXIVE)
    tense = tense_for(rng, verb)
    who = someone(rng, tense)
    en, de = who.reflexive
    itself = Part("reflexive", en if verb.en in REFLEXIVE_IN_ENGLISH else "", de)
    return state(Clause(who, verb, tense, (itself,)))


def separable(rng: Random) -> Pair:
    """Separable verb with its prefix at the end: `Der Mann ruft den Arzt an`."""
    verb = _any(rng, SEPARABLE)
    tense = tense_for(rng, verb, "present", "past", "progressive")
    return state(Clause(someone(rng, tense), verb, tense, (thing(phrase(rng, *verb.objects)),)))


def separable_joined(rng: Random) -> Pair:
    """Separable verb in one word: `hat angerufen`, `will anrufen`."""
    verb = _any(rng, SEPARABLE)
    tense = tense_for(rng, verb, "perfect", "future", "can", "must", "wanted", "have to", "would", "may")
    return state(Clause(someone(rng, tense), verb, tense, (thing(phrase(rng, *verb.objects)),)))


def modal(rng: Random) -> Pair:
    clause, what = transitive(
        rng, "can", "could", "must", "should", "may", "want", "wanted", "have to", "had to", "would"
    )
    return state(replace(clause, parts=(thing(what),)))


def movement(rng: Random) -> Pair:
    """Direction, in the accusative."""
    verb = _any(rng, MOVING)
    tense = tense_for(rng, verb)
    return state(Clause(someone(rng, tense), verb, tense, (place_of(singular(rng, *verb.objects), "acc"),)))


def perfect_of_movement(rng: Random) -> Pair:
    """Perfect with sein."""
    verb = _any(rng, rng.choice((MOVING, ARRIVING)))
    tense = rng.choice(("perfect", "perfect", "pluperfect"))
    parts = (place_of(singular(rng, *verb.objects), "acc"),) if verb.objects else ()
    return state(Clause(someone(rng, tense), verb, tense, parts))


def rest(rng: Random) -> Pair:
    """Location, in the dative."""
    clause = resting(rng, rng.choice(("present", "past", "perfect", "progressive", "future", "can")))
    return state(replace(clause, parts=(place(rng, "land", "room", "shelter"),)))


def every(rng: Random) -> Pair:
    clause = resting(rng, rng.choice(("present", "past", "future")))
    who = NounPhrase(noun(rng, *PEOPLE, "animal"), "every")
    return state(replace(clause, subject=who, parts=(place(rng, "land", "room", "shelter"),)))


def lying(rng: Random) -> Pair:
    tense = rng.choice(("present", "past", "progressive"))
    return state(Clause(phrase(rng, "thing", "clothing"), LIE, tense, (place(rng, "container", "room"),)))


def manner(rng: Random) -> Pair:
    tense = rng.choice(("present", "past", "progressive", "perfect", "can"))
    parts = (adverb("manner", rng.choice(MANNERS)),)
    return state(Clause(someone(rng, tense), _any(rng, ACTING), tense, parts))


def passive(rng: Random) -> Pair:
    clause, what = transitive(rng, "passive", "passive past", subject=I)
    who = phrase(rng, *PEOPLE)
    agent = (Part("agent", f"by {who.en}", prepositional("von", who, "dat")),) if rng.random() < 0.6 else ()
    return state(replace(clause, subject=what, parts=agent))


# ------------------------------------------------------------------------------------------------------- word order


def _time(rng: Random) -> tuple[str, Part]:
    """Draw a tense and a matching adverb of time."""
    tense = rng.choice(("present", "past", "future"))
    times = {"present": ANY_TIMES, "past": PAST_TIMES, "future": FUTURE_TIMES}[tense]
    return tense, adverb("time", rng.choice((*times, *ANY_TIMES)))


def time_first(rng: Random) -> Pair:
    """Verb second after an adverb: `Gestern kaufte der Mann ein Auto`."""
    tense, time = _time(rng)
    clause = deed(rng, tense)
    return pair(english(clause, time.en), german_inverted(clause, time.de))


def time_within(rng: Random) -> Pair:
    """Time adverb at the end in English, before the object in German."""
    tense, time = _time(rng)
    clause = deed(rng, tense)
    return state(replace(clause, parts=(*clause.parts, time)))


def place_first(rng: Random) -> Pair:
    where = place(rng, "land", "room", "shelter")
    clause = resting(rng, rng.choice(("present", "past", "progressive", "perfect")))
    return pair(english(clause, where.en), german_inverted(clause, where.de))


def frequency(rng: Random) -> Pair:
    clause = deed(rng, rng.choice(("present", "past", "perfect")))
    return state(replace(clause, parts=(*clause.parts, adverb("frequency", rng.choice(FREQUENCIES)))))


# --------------------------------------------------------------------------------------------------------- negation


def not_definite(rng: Random) -> Pair:
    clause = deed(rng, rng.choice(("present", "past", "perfect", "future")), negation=negation(rng))
    return state(clause)


def not_modal(rng: Random) -> Pair:
    tense = rng.choice(("can", "could", "should", "may", "want", "wanted", "have to", "would"))
    return state(deed(rng, tense, negation=negation(rng)))


def not_any(rng: Random) -> Pair:
    """Negated object: `didn't buy a car`, `kaufte kein Auto`."""
    clause, what = transitive(rng, "present", "past", "perfect", "future", "can")
    if not what.noun.counts:
        return not_any(rng)
    return state(replace(clause, parts=(no_thing(what),), negation=negation(rng)))


def nobody(rng: Random) -> Pair:
    clause = resting(rng, rng.choice(("present", "past", "future")))
    who = NounPhrase(noun(rng, *PEOPLE, "animal"), "no")
    return state(replace(clause, subject=who, parts=(place(rng, "land", "room", "shelter"),)))


STATEMENTS = (
    accusative,
    dative,
    two_objects,
    pronoun_objects,
    prepositional_object,
    reflexive,
    separable,
    separable_joined,
    modal,
    movement,
    perfect_of_movement,
    rest,
    every,
    lying,
    manner,
    passive,
    time_first,
    time_within,
    place_first,
    frequency,
    not_definite,
    not_modal,
    not_any,
    nobody,
)
