"""Patterns of questions. English asks about the past with did, German in the perfect."""

from dataclasses import replace
from random import Random

from mtx.demo.clauses import Clause, english, english_question, german, german_inverted
from mtx.demo.grammar import WHO, NounPhrase
from mtx.demo.phrases import PEOPLE, Pair, deed, noun, pair, phrase, resting, someone, tense_for, transitive
from mtx.demo.verbs import DATIVE, MOVING, SEPARABLE, TRANSITIVE

_TENSES = ("present", "past", "past", "progressive", "perfect", "future", "can", "should", "want")


def _ask(clause: Clause, en_word: str = "", de_word: str = "") -> Pair:
    return pair(english_question(clause, en_word), german_inverted(_spoken(clause), de_word), "?")


def _spoken(clause: Clause) -> Clause:
    return replace(clause, tense="perfect") if clause.tense == "past" else clause


def yes_or_no(rng: Random) -> Pair:
    return _ask(deed(rng, rng.choice(("present", "progressive", "perfect", "future"))))


def yes_or_no_past(rng: Random) -> Pair:
    return _ask(deed(rng, "past", subject=someone(rng)))


def yes_or_no_modal(rng: Random) -> Pair:
    return _ask(deed(rng, rng.choice(("can", "must", "should", "may", "want", "have to"))))


def yes_or_no_negated(rng: Random) -> Pair:
    return _ask(deed(rng, rng.choice(("present", "past", "can", "want")), "n't", subject=phrase(rng, *PEOPLE)))


def who_does(rng: Random) -> Pair:
    clause = deed(rng, rng.choice(("present", "past", "progressive", "can", "future")), subject=WHO)
    return pair(english(clause), german(_spoken(clause)), "?")


def whom(rng: Random) -> Pair:
    """Question for a person: `Who did the boy help?`, `Wem hat der Junge geholfen?`."""
    verb = rng.choice([verb for verb in (*TRANSITIVE.values(), *DATIVE.values()) if "man" in verb.objects])
    clause = Clause(someone(rng), verb, tense_for(rng, verb, *_TENSES))
    return _ask(clause, "whom", WHO.dat if verb.en in DATIVE else WHO.acc)


def what(rng: Random) -> Pair:
    things = [verb for verb in (*TRANSITIVE.values(), *SEPARABLE.values()) if "man" not in verb.objects]
    verb = rng.choice(things)
    return _ask(Clause(someone(rng), verb, tense_for(rng, verb, *_TENSES)), "what", "was")


def which(rng: Random) -> Pair:
    """Question for one of several: `Which car did she buy?`, `Welches Auto hat sie gekauft?`."""
    clause, thing = transitive(rng, *_TENSES, subject=someone(rng))
    asked = NounPhrase(thing.noun, "which", thing.adjective, thing.plural)
    return _ask(clause, asked.en, asked.de("acc"))


def which_does(rng: Random) -> Pair:
    who = NounPhrase(noun(rng, *PEOPLE, "animal"), "which", plural=rng.random() < 0.2)
    clause = replace(resting(rng, rng.choice(("present", "progressive", "past", "future"))), subject=who)
    if who.noun.kind != "animal":
        clause = deed(rng, clause.tense, subject=who)
    return pair(english(clause), german(_spoken(clause)), "?")


def where(rng: Random) -> Pair:
    return _ask(resting(rng, rng.choice(_TENSES)), "where", "wo")


def whereto(rng: Random) -> Pair:
    verb = rng.choice((MOVING["go"], MOVING["run"], MOVING["jump"]))
    return _ask(Clause(phrase(rng, *PEOPLE), verb, rng.choice(_TENSES)), "where", "wohin")


def why(rng: Random) -> Pair:
    tense = rng.choice(("present", "progressive", "past", "perfect", "want"))
    return _ask(deed(rng, tense, rng.choice(("", "", "n't")), subject=someone(rng)), "why", "warum")


def when(rng: Random) -> Pair:
    return _ask(deed(rng, rng.choice(("past", "future", "can", "have to")), subject=someone(rng)), "when", "wann")


def whose(rng: Random) -> Pair:
    """Question for an owner: `Whose car does the doctor repair?`, `Wessen Auto repariert der Arzt?`."""
    clause, thing = transitive(rng, *_TENSES, subject=someone(rng))
    noun_alone = NounPhrase(thing.noun, "", plural=thing.plural)
    return _ask(clause, f"whose {noun_alone.en}", f"wessen {noun_alone.de('acc')}")


QUESTIONS = (
    yes_or_no,
    yes_or_no_past,
    yes_or_no_modal,
    yes_or_no_negated,
    who_does,
    whom,
    what,
    which,
    which_does,
    where,
    whereto,
    why,
    when,
    whose,
)
