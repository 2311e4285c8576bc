"""Patterns of being, having, liking and commanding: predicates, comparison, genitive, imperative."""

from dataclasses import replace
from random import Random

from mtx.demo.adjectives import ATTRIBUTES, QUALITIES
from mtx.demo.clauses import Clause, Part, english, english_infinitive, german, german_imperative, german_inverted
from mtx.demo.grammar import YOU, Nominal, NounPhrase, Owned
from mtx.demo.lexicon import Adjective
from mtx.demo.nouns import NOUNS
from mtx.demo.phrases import (
    LANDSCAPE,
    PEOPLE,
    Pair,
    definite,
    doable,
    indefinite,
    no_thing,
    noun,
    pair,
    phrase,
    place,
    singular,
    someone,
    tense_for,
    thing,
    transitive,
)
from mtx.demo.statements import negation, state
from mtx.demo.verbs import BE, BELONG, HAVE, LIKE, TRANSITIVE

_GOODS = ("furniture", "thing", "container", "clothing")


def _degree(rng: Random, adjective: Adjective) -> Part:
    en, de = rng.choice((("", ""), ("very ", "sehr "), ("too ", "zu "), ("not very ", "nicht sehr ")))
    return Part("predicate", en + adjective.en, de + adjective.de)


def _being(rng: Random) -> str:
    return rng.choice(("present", "past", "past", "perfect"))


def predicate(rng: Random) -> Pair:
    who = definite(rng, *PEOPLE, "animal", *LANDSCAPE, "shelter", "room", "vehicle", "dish", "fruit", *_GOODS)
    adjective = rng.choice(QUALITIES[who.noun.kind])
    return state(Clause(replace(who, adjective=None), BE, _being(rng), (_degree(rng, adjective),)))


def not_predicate(rng: Random) -> Pair:
    who = replace(definite(rng, *PEOPLE, "animal", "way", "shelter", "vehicle", *_GOODS), adjective=None)
    adjective = rng.choice(ATTRIBUTES[who.noun.kind])
    part = Part("predicate", adjective.en, adjective.de)
    return state(Clause(who, BE, rng.choice(("present", "past")), (part,), negation(rng)))


def _two_to_compare(rng: Random) -> tuple[NounPhrase, NounPhrase, Adjective]:
    kind = rng.choice((*PEOPLE[:2], "animal", "vehicle", "furniture", "clothing", "way", "thing"))
    first, second = rng.sample(NOUNS[kind], 2)
    adjective = rng.choice([adjective for adjective in ATTRIBUTES[kind] if adjective.de_comparative])
    return NounPhrase(first), NounPhrase(second), adjective


def comparative(rng: Random) -> Pair:
    first, second, adjective = _two_to_compare(rng)
    en = f"{adjective.en_comparative} than {second.en}"
    part = Part("predicate", en, f"{adjective.de_comparative} als {second.de('nom')}")
    return state(Clause(first, BE, rng.choice(("present", "past")), (part,)))


def as_much_as(rng: Random) -> Pair:
    first, second, adjective = _two_to_compare(rng)
    part = Part("predicate", f"as {adjective.en} as {second.en}", f"so {adjective.de} wie {second.de('nom')}")
    return state(Clause(first, BE, rng.choice(("present", "past")), (part,), rng.choice(("", negation(rng)))))


def superlative(rng: Random) -> Pair:
    clause, what = transitive(rng)
    adjectives = [adjective for adjective in ATTRIBUTES[what.noun.kind] if adjective.de_superlative]
    if not adjectives:
        return superlative(rng)
    adjective = rng.choice(adjectives)
    best = Adjective(adjective.en_superlative, adjective.de_superlative)
    return state(replace(clause, parts=(thing(NounPhrase(what.noun, "the", best, what.plural)),)))


def owned(rng: Random) -> Pair:
    """Genitive: `the doctor's car`, `das Auto des Arztes`."""
    owner = rng.choice(("the", "the", "my", "your", "his", "her"))
    whose = NounPhrase(noun(rng, *PEOPLE), owner)
    what = singular(rng, *_GOODS, "vehicle", "animal")
    own = Owned(whose, what)
    if rng.random() < 0.5:
        adjective = rng.choice(ATTRIBUTES[what.noun.kind])
        own = Owned(whose, replace(what, adjective=None))
        part = Part("predicate", adjective.en, adjective.de)
        return state(Clause(own, BE, rng.choice(("present", "past")), (part,)))
    verbs = [verb for verb in TRANSITIVE.values() if what.noun.kind in verb.objects]
    verb = rng.choice(verbs)
    tense = tense_for(rng, verb)
    return state(Clause(someone(rng, tense), verb, tense, (thing(own),)))


def having(rng: Random) -> Pair:
    tense = rng.choice(("present", "past", "future", "want"))
    what = indefinite(rng, *_GOODS, "vehicle", "animal", "shelter")
    part = no_thing(what) if rng.random() < 0.3 else thing(what)
    return state(Clause(someone(rng, tense), HAVE, tense, (part,), negation(rng) if part.role == "kein" else ""))


def belonging(rng: Random) -> Pair:
    owner: Nominal = phrase(rng, *PEOPLE)
    tense = rng.choice(("present", "past"))
    no = rng.choice(("", "", negation(rng)))
    return state(Clause(definite(rng, *_GOODS, "vehicle", "animal"), BELONG, tense, (thing(owner, "dat"),), no))


def there_is(rng: Random) -> Pair:
    indoors = rng.random() < 0.5
    where = place(rng, "room", "container") if indoors else place(rng, "land", "way", "shelter")
    what = noun(rng, "thing", "clothing") if indoors else noun(rng, "animal", *PEOPLE)
    determiner = rng.choice(("a", "a", "no", "two", "three", "four", "five", "many"))
    plural = determiner not in ("a", "no")
    adjective = rng.choice((None, rng.choice(ATTRIBUTES[what.kind])))
    clause = Clause(NounPhrase(what, determiner, adjective, plural), BE, rng.choice(("present", "past")))
    is_or_was = (BE.en_past if clause.tense == "past" else BE.en_present)[clause.subject.person]
    return pair(f"there {is_or_was} {clause.subject.en} {where.en}", german_inverted(clause, where.de))


def liking(rng: Random) -> Pair:
    """Liking: `The boy likes to dance`, `Der Junge tanzt gern`."""
    clause = doable(rng, someone(rng))
    no = rng.choice(("", "", negation(rng)))
    likes = replace(clause, verb=LIKE, parts=(), negation=no)
    gladly = replace(clause, parts=(*clause.parts, Part("manner", "", "gern")), negation=no)
    return pair(f"{english(likes)} to {english_infinitive(clause)}", german(gladly))


def command(rng: Random) -> Pair:
    clause = doable(rng, YOU)
    en, de = english_infinitive(clause), german_imperative(clause)
    polite = rng.random()
    if polite < 0.3:
        return pair(f"please {en}", f"bitte {de}", "!")
    if polite < 0.6:
        return pair(f"don't {en}", german_imperative(replace(clause, negation="n't")), "!")
    return pair(en, de, "!")


STATES_AND_WISHES = (
    predicate,
    not_predicate,
    comparative,
    as_much_as,
    superlative,
    owned,
    having,
    belonging,
    there_is,
    liking,
    command,
)
