"""Patterns of two clauses: conjunctions, relative clauses, infinitives, and pronouns with a single antecedent."""

from random import Random

from mtx.demo.adjectives import ATTRIBUTES, QUALITIES
from mtx.demo.clauses import (
    Clause,
    Part,
    english,
    english_gerund,
    english_infinitive,
    german,
    german_infinitive,
    german_inverted,
    german_subordinate,
)
from mtx.demo.grammar import Described, NounPhrase, Pronoun, pronoun_of, relative_pronoun
from mtx.demo.lexicon import Noun
from mtx.demo.phrases import (
    PEOPLE,
    Pair,
    deed,
    doable,
    noun,
    pair,
    phrase,
    resting,
    singular,
    someone,
    tense_for,
    thing,
    transitive,
)
from mtx.demo.verbs import BE, DATIVE, MIND, SEPARABLE, TRANSITIVE, TRYING, WONDER

_TIMES = ("present", "past", "past")


def _joined(main: Clause, en: str, de: str, sub: Clause, comma: str = "") -> Pair:
    """Join two clauses, main clause first: `… because …`, `…, weil …`."""
    return pair(f"{english(main)}{comma} {en} {english(sub)}", f"{german(main)}, {german_subordinate(sub, de)}")


def _reversed(main: Clause, en: str, de: str, sub: Clause) -> Pair:
    """Join two clauses, subordinate clause first, so that the main clause begins with its verb."""
    return pair(f"{en} {english(sub)}, {english(main)}", f"{german_subordinate(sub, de)}, {german_inverted(main)}")


def _either(rng: Random, main: Clause, en: str, de: str, sub: Clause) -> Pair:
    return (_joined if rng.random() < 0.5 else _reversed)(main, en, de, sub)


def _two(rng: Random, first: str, second: str) -> tuple[Clause, Clause]:
    no = rng.choice(("", "", "", "n't"))
    return deed(rng, first, no), deed(rng, second)


def because(rng: Random) -> Pair:
    main, sub = _two(rng, rng.choice(_TIMES), rng.choice(_TIMES))
    return _either(rng, main, "because", "weil", sub)


def although(rng: Random) -> Pair:
    tense = rng.choice(_TIMES)
    return _either(rng, deed(rng, tense), "although", "obwohl", deed(rng, tense, rng.choice(("", "n't"))))


def when_past(rng: Random) -> Pair:
    """Single event in the past: als."""
    return _either(rng, deed(rng, "past"), "when", "als", deed(rng, "past"))


def when_present(rng: Random) -> Pair:
    """Repeated or present event: wenn."""
    return _either(rng, deed(rng, "present"), "when", "wenn", deed(rng, "present"))


def if_future(rng: Random) -> Pair:
    main = deed(rng, "future", rng.choice(("", "n't")))
    return _either(rng, main, "if", "wenn", deed(rng, "present"))


def before(rng: Random) -> Pair:
    tense = rng.choice(_TIMES)
    return _either(rng, deed(rng, tense), "before", "bevor", deed(rng, tense))


def after(rng: Random) -> Pair:
    return _either(rng, deed(rng, "past"), "after", "nachdem", deed(rng, "pluperfect"))


def while_(rng: Random) -> Pair:
    tense = rng.choice(_TIMES)
    return _either(rng, deed(rng, tense), "while", "während", resting(rng, tense))


def until(rng: Random) -> Pair:
    tense = rng.choice(_TIMES)
    return _joined(resting(rng, tense), "until", "bis", deed(rng, tense))


def that(rng: Random) -> Pair:
    verb = rng.choice(tuple(MIND.values()))
    main = Clause(someone(rng), verb, rng.choice(("present", "perfect")))
    tense = rng.choice(("present", "perfect", "future", "can", "past"))
    return _joined(main, "that", "dass", deed(rng, tense, rng.choice(("", "", "n't"))))


def whether(rng: Random) -> Pair:
    who = phrase(rng, *PEOPLE)
    main = Clause(who, WONDER["ask"], rng.choice(("present", "past", "perfect")))
    return _joined(main, "whether", "ob", deed(rng, rng.choice(("present", "perfect", "future", "can"))))


def and_(rng: Random) -> Pair:
    tense = rng.choice(("present", "past", "perfect", "future"))
    first, second = deed(rng, tense), deed(rng, tense)
    return pair(f"{english(first)} and {english(second)}", f"{german(first)} und {german(second)}")


def but(rng: Random) -> Pair:
    first, second = deed(rng, "wanted", subject=phrase(rng, *PEOPLE)), deed(rng, "past", "n't")
    return pair(f"{english(first)}, but {english(second)}", f"{german(first)}, aber {german(second)}")


def therefore(rng: Random) -> Pair:
    tense = rng.choice(_TIMES)
    first, second = deed(rng, tense), deed(rng, tense, rng.choice(("", "n't")))
    return pair(f"{english(first)}, so {english(second)}", f"{german(first)}, deshalb {german_inverted(second)}")


# ------------------------------------------------------------------------------------- relative clauses, infinitives


def relative_subject(rng: Random) -> Pair:
    """Relative pronoun as subject: `The dog that sleeps is old`, `Der Hund, der schläft, ist alt`."""
    head = phrase(rng, *PEOPLE)
    pronoun = Pronoun("who", "whom", relative_pronoun(head, "nom"), "", "", head.reflexive, head.person)
    sub = deed(rng, rng.choice(("present", "past", "perfect")), subject=pronoun)
    who = Described(head, english(sub), german_subordinate(sub, ""))
    if rng.random() < 0.5:
        predicate = rng.choice(ATTRIBUTES[head.noun.kind])
        main = Clause(who, BE, "present", (Part("predicate", predicate.en, predicate.de),))
    else:
        main = deed(rng, rng.choice(("present", "past")), subject=who)
    return pair(english(main), german(main))


def relative_object(rng: Random) -> Pair:
    """Relative pronoun as object: `the car that the man buys`, `das Auto, das der Mann kauft`."""
    sub, head = transitive(rng, "present", "past", "perfect", "can")
    relative = relative_pronoun(head, "acc")
    what = Described(head, f"that {english(sub)}", german_subordinate(sub, relative))
    if rng.random() < 0.5:
        predicate = rng.choice(ATTRIBUTES[head.noun.kind])
        main = Clause(what, BE, rng.choice(("present", "past")), (Part("predicate", predicate.en, predicate.de),))
        return pair(english(main), german(main))
    verb = rng.choice([verb for verb in TRANSITIVE.values() if head.noun.kind in verb.objects])
    tense = tense_for(rng, verb, "present", "past", "progressive")
    main = Clause(someone(rng, tense), verb, tense, (thing(what),))
    return pair(english(main), german(main))


def relative_dative(rng: Random) -> Pair:
    """Relative pronoun in the dative: `the woman whom the boy helps`, `die Frau, der der Junge hilft`."""
    verb = rng.choice(tuple(DATIVE.values()))
    head = phrase(rng, *PEOPLE)
    tense = rng.choice(("present", "past", "perfect"))
    sub = Clause(someone(rng, tense), verb, tense)
    who = Described(head, f"whom {english(sub)}", german_subordinate(sub, relative_pronoun(head, "dat")))
    main = deed(rng, rng.choice(("present", "past")), subject=who)
    return pair(english(main), german(main))


def trying(rng: Random) -> Pair:
    """Infinitive clause: `tries to open the box`, `versucht, die Schachtel zu öffnen`."""
    tense = rng.choice(("present", "past", "perfect", "future"))
    who = someone(rng, tense)
    inner = doable(rng, who)
    main = Clause(who, rng.choice(tuple(TRYING.values())), tense)
    return pair(f"{english(main)} to {english_infinitive(inner)}", f"{german(main)}, {german_infinitive(inner)}")


def in_order_to(rng: Random) -> Pair:
    main = deed(rng, rng.choice(_TIMES))
    inner = doable(rng, main.subject)
    en = f"{english(main)} in order to {english_infinitive(inner)}"
    return pair(en, f"{german(main)}, um {german_infinitive(inner)}")


def without(rng: Random) -> Pair:
    main = deed(rng, rng.choice(_TIMES))
    inner = doable(rng, main.subject)
    return pair(f"{english(main)} without {english_gerund(inner)}", f"{german(main)}, ohne {german_infinitive(inner)}")


# ------------------------------------------------------------------------------------ pronouns with one candidate

_GOODS = ("furniture", "thing", "container", "clothing", "vehicle")


def _judged(rng: Random, noun: Noun, tense: str, blocks: bool) -> Clause:
    """Statement about the noun: `it was very cheap`, or `too cheap` as a reason not to do something."""
    adjective = rng.choice(QUALITIES[noun.kind])
    en, de = ("too ", "zu ") if blocks else rng.choice((("", ""), ("very ", "sehr "), ("so ", "so ")))
    return Clause(pronoun_of(noun), BE, tense, (Part("predicate", en + adjective.en, de + adjective.de),))


def because_it(rng: Random) -> Pair:
    """Person and one thing: `The man bought the table because it was cheap`."""
    tense = rng.choice(_TIMES)
    what = NounPhrase(noun(rng, *_GOODS, "dish", "fruit", "animal"))
    verb = rng.choice([verb for verb in TRANSITIVE.values() if what.noun.kind in verb.objects])
    no = rng.choice(("", "n't"))
    main = Clause(singular(rng, "man", "woman"), verb, tense, (thing(what),), no)
    return _either(rng, main, "because", "weil", _judged(rng, what.noun, tense, blocks=bool(no)))


def because_she(rng: Random) -> Pair:
    """Person, and a pronoun for that person."""
    tense = rng.choice(_TIMES)
    who = NounPhrase(noun(rng, "man", "woman"))
    no = rng.choice(("", "n't"))
    main = deed(rng, tense, no, subject=who)
    return _either(rng, main, "because", "weil", _judged(rng, who.noun, tense, blocks=bool(no)))


def and_it(rng: Random) -> Pair:
    """Pronoun as object: `The boy found the dog and then he stroked it`."""
    tense = rng.choice(("present", "past"))
    who, what = NounPhrase(noun(rng, "man", "woman")), singular(rng, *_GOODS, "animal")
    verbs = [verb for verb in (*TRANSITIVE.values(), *SEPARABLE.values()) if what.noun.kind in verb.objects]
    first, second = rng.sample(verbs, 2)
    he, it = pronoun_of(who.noun), pronoun_of(what.noun)
    main = Clause(who, first, tense, (thing(what),))
    sub = Clause(he, second, tense, (Part("pronoun", it.en_object, it.acc),))
    if rng.random() < 0.5:
        return pair(f"{english(main)} and {english(sub)}", f"{german(main)} und {german(sub)}")
    return pair(f"{english(main)} and then {english(sub)}", f"{german(main)} und {german_inverted(sub, 'dann')}")


SUBORDINATE = (
    because,
    although,
    when_past,
    when_present,
    if_future,
    before,
    after,
    while_,
    until,
    that,
    whether,
    and_,
    but,
    therefore,
    relative_subject,
    relative_object,
    relative_dative,
    trying,
    in_order_to,
    without,
    because_it,
    because_she,
    and_it,
)
