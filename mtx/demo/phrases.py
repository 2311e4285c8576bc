"""Draws the parts of a sentence: who, what, where, when and how; and whole actions of people and animals."""

from dataclasses import dataclass, replace
from random import Random

from mtx.demo.adjectives import ATTRIBUTES, Adverb
from mtx.demo.clauses import Clause, Part
from mtx.demo.grammar import HE, SHE, THEY, WE, YOU, Case, I, Nominal, NounPhrase, prepositional
from mtx.demo.lexicon import Noun, Verb
from mtx.demo.nouns import NOUNS
from mtx.demo.verbs import (
    ACTING,
    ARRIVING,
    DATIVE,
    MOVING,
    PREPOSITIONAL,
    PREPOSITIONS,
    RESTING,
    SEPARABLE,
    STATES,
    TRANSITIVE,
)

PEOPLE = ("man", "woman", "child")
LANDSCAPE = ("way", "water", "land")
TENSES = ("present", "present", "past", "past", "progressive", "perfect", "future", "can", "must", "wanted", "should")
_DETERMINERS = ("the",) * 11 + ("a",) * 4 + ("my", "your", "his", "her", "our", "their", "this")
_DEFINITE = ("the",) * 8 + ("my", "your", "his", "her", "our", "their")
_PLURAL_DETERMINERS = ("the",) * 8 + ("my", "your", "his", "her", "our", "their", "these", "two", "three", "many")
_UNOWNED = ("man", "woman", "lady", "boy", "girl", "terrain")


@dataclass(frozen=True, slots=True)
class Pair:
    """A sentence and its translation.

    If only context resolves the pronoun, `triple` has both candidate antecedents and the word that decides, and
    `position` is the number of the right one, 1 or 2.
    """

    src: str
    tgt: str
    triple: tuple[str, str, str] | None = None
    position: int = 0


def pair(src: str, tgt: str, end: str = ".") -> Pair:
    """Turn clauses into sentences, with a capital and a full stop."""
    return Pair(_finish(src, end), _finish(tgt, end))


def _finish(text: str, end: str) -> str:
    return text[0].upper() + text[1:].removesuffix(",") + end


def noun(rng: Random, *kinds: str) -> Noun:
    """Draw a noun of the classes; each class is equally likely."""
    return rng.choice(NOUNS[rng.choice(kinds)])


def phrase(rng: Random, *kinds: str) -> NounPhrase:
    """Draw a noun of the classes with a determiner, sometimes with an adjective, sometimes in the plural."""
    bare = noun(rng, *kinds)
    adjective = rng.choice(ATTRIBUTES[bare.kind]) if rng.random() < 0.3 else None
    if not bare.counts:
        return NounPhrase(bare, rng.choice(_DEFINITE), adjective)
    if rng.random() < 0.2 and bare.kind not in LANDSCAPE:
        return NounPhrase(bare, _determiner(rng, bare, _PLURAL_DETERMINERS), adjective, plural=True)
    return NounPhrase(bare, _determiner(rng, bare, _DETERMINERS), adjective)


def indefinite(rng: Random, *kinds: str) -> NounPhrase:
    """Draw an indefinite noun phrase: `a dog`, `two dogs`."""
    bare = noun(rng, *kinds)
    adjective = rng.choice(ATTRIBUTES[bare.kind]) if rng.random() < 0.4 else None
    determiner = rng.choice(("a", "a", "a", "two", "three", "four", "five", "many"))
    return NounPhrase(bare, determiner, adjective, plural=determiner != "a")


def _determiner(rng: Random, bare: Noun, determiners: tuple[str, ...]) -> str:
    """Draw a determiner that suits the noun: there is no `our lady`."""
    return "the" if bare.en in _UNOWNED else rng.choice(determiners)


def definite(rng: Random, *kinds: str) -> NounPhrase:
    """Draw a definite noun phrase: with it, `not` is `nicht`, never `kein`."""
    bare = noun(rng, *kinds)
    adjective = rng.choice(ATTRIBUTES[bare.kind]) if rng.random() < 0.2 else None
    return NounPhrase(bare, _determiner(rng, bare, _DEFINITE), adjective, plural=bare.counts and rng.random() < 0.15)


def singular(rng: Random, *kinds: str) -> NounPhrase:
    """Draw a singular noun with `the`, sometimes with an adjective."""
    bare = noun(rng, *kinds)
    return NounPhrase(bare, "the", rng.choice(ATTRIBUTES[bare.kind]) if rng.random() < 0.2 else None)


def someone(rng: Random, tense: str = "present") -> Nominal:
    """Draw a person, as a noun or pronoun; no du in the preterite, where it sounds literary."""
    if rng.random() < 0.7:
        return phrase(rng, *PEOPLE)
    return rng.choice(
        (I, HE, SHE, WE, THEY) if tense in ("past", "pluperfect") else (I, I, YOU, YOU, HE, SHE, WE, THEY)
    )


def tense_for(rng: Random, verb: Verb, *tenses: str) -> str:
    """Draw a tense; states have no progressive."""
    tense = rng.choice(tenses or TENSES)
    return "present" if tense == "progressive" and verb.en in STATES else tense


def thing(nominal: Nominal, case: Case = "acc") -> Part:
    """Make an object in the accusative or dative."""
    return Part("dative" if case == "dat" else "object", nominal.en_object, nominal.de(case))


def no_thing(what: NounPhrase) -> Part:
    """Make an object that carries the negation: English `n't … a`, German `kein`."""
    en = replace(what, determiner="" if what.plural else "a").en
    return Part("kein", en, replace(what, determiner="no").de("acc"))


def place(rng: Random, *kinds: str) -> Part:
    """Draw a location: `in the garden`, `im Garten`."""
    return place_of(singular(rng, *kinds), "dat")


def place_of(where: NounPhrase, case: Case) -> Part:
    """Make a phrase with `in` or `on`; the accusative means motion into the place."""
    spot = where.noun
    english = {"in": "into", "on": "onto", "at": "to"}[spot.en_place] if case == "acc" else spot.en_place
    return Part("place", f"{english} {where.en}", prepositional(spot.de_place, where, case))


def adverb(role: str, words: Adverb) -> Part:
    return Part(role, *words)


def deed(rng: Random, tense: str, negation: str = "", subject: Nominal | None = None) -> Clause:
    """Draw an action of a person, with any verb that takes a person as subject."""
    group = rng.choice((TRANSITIVE, TRANSITIVE, SEPARABLE, SEPARABLE, DATIVE, ACTING, ARRIVING, MOVING, PREPOSITIONAL))
    verb = rng.choice(tuple(group.values()))
    who = subject or someone(rng, tense)
    draw = definite if negation else phrase
    what = draw(rng, *verb.objects) if verb.objects else None
    while what and isinstance(who, NounPhrase) and what.noun == who.noun:
        what = draw(rng, *verb.objects)
    parts: tuple[Part, ...] = ()
    if what and group is MOVING:
        parts = (place_of(NounPhrase(what.noun, "the", what.adjective), "acc"),)
    elif what and group is PREPOSITIONAL:
        parts = (about(verb, what),)
    elif what:
        parts = (thing(what, "dat" if group is DATIVE else "acc"),)
    return Clause(who, verb, tense_for(rng, verb, tense), parts, negation)


def doable(rng: Random, subject: Nominal) -> Clause:
    """Draw an action in the present, with an object and not a state, that one can ask about."""
    verb = rng.choice([verb for verb in (*TRANSITIVE.values(), *SEPARABLE.values()) if verb.en not in STATES])
    return Clause(subject, verb, "present", (thing(definite(rng, *verb.objects)),))


def about(verb: Verb, what: NounPhrase) -> Part:
    """Make the object of a verb with a preposition: `auf den Bus`."""
    preposition, case = PREPOSITIONS[verb.en]
    return Part("place", what.en, prepositional(preposition, what, case))


def transitive(rng: Random, *tenses: str, subject: Nominal | None = None) -> tuple[Clause, NounPhrase]:
    """Draw an action with an object: the clause without the object, and the object."""
    verb = rng.choice(tuple((TRANSITIVE if rng.random() < 0.7 else SEPARABLE).values()))
    tense = tense_for(rng, verb, *tenses)
    return Clause(subject or someone(rng, tense), verb, tense), phrase(rng, *verb.objects)


def resting(rng: Random, tense: str) -> Clause:
    """Draw a person or an animal that sleeps, waits or plays."""
    who = phrase(rng, *PEOPLE, "animal", "animal")
    return Clause(who, rng.choice(tuple(RESTING.values())), tense)
