"""Noun phrases and pronouns: agreement in gender, case and number."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

from mtx.demo.lexicon import Adjective, Gender, Noun

Case = Literal["nom", "acc", "dat", "gen"]
Person = Literal[0, 1, 2, 3]  # Index of a verb form: I, you, third person singular, or plural

Endings = Mapping[Case, tuple[str, str, str, str]]

# Endings by case, for masculine, feminine, neuter and plural.
_COLUMN = {"m": 0, "f": 1, "n": 2, "p": 3}
_THE: Endings = {
    "nom": ("der", "die", "das", "die"),
    "acc": ("den", "die", "das", "die"),
    "dat": ("dem", "der", "dem", "den"),
    "gen": ("des", "der", "des", "der"),
}
_STRONG: Endings = {
    "nom": ("er", "e", "es", "e"),
    "acc": ("en", "e", "es", "e"),
    "dat": ("em", "er", "em", "en"),
    "gen": ("es", "er", "es", "er"),
}
_WEAK: Endings = {
    "nom": ("e", "e", "e", "en"),
    "acc": ("en", "e", "e", "en"),
    "dat": ("en", "en", "en", "en"),
    "gen": ("en", "en", "en", "en"),
}
_MIXED: Endings = {**_WEAK, "nom": ("er", "e", "es", "en"), "acc": ("en", "e", "es", "en")}
_EIN: Endings = {**_STRONG, "nom": ("", "e", "", "e"), "acc": ("en", "e", "", "e")}

_LIKE_EIN = {
    "a": "ein",
    "no": "kein",
    "my": "mein",
    "your": "dein",
    "his": "sein",
    "her": "ihr",
    "our": "unser",
    "their": "ihr",
}
_LIKE_THE = {"this": "dies", "these": "dies", "every": "jed", "which": "welch"}
_UNINFLECTED = {"": "", "two": "zwei", "three": "drei", "four": "vier", "five": "fünf"}
_CONTRACTIONS = {
    "in dem": "im",
    "in das": "ins",
    "an dem": "am",
    "an das": "ans",
    "zu dem": "zum",
    "zu der": "zur",
    "von dem": "vom",
    "bei dem": "beim",
}


class Nominal(Protocol):
    """A phrase that can be subject or object."""

    @property
    def en(self) -> str: ...
    @property
    def en_object(self) -> str: ...
    @property
    def person(self) -> Person: ...
    @property
    def reflexive(self) -> tuple[str, str]: ...
    def de(self, case: Case) -> str: ...


@dataclass(frozen=True, slots=True)
class Pronoun:
    """A pronoun in both languages, with its `reflexive` form."""

    en: str
    en_object: str
    nom: str
    acc: str
    dat: str
    reflexive: tuple[str, str]
    person: Person

    def de(self, case: Case) -> str:
        return {"nom": self.nom, "acc": self.acc, "dat": self.dat}[case]


I = Pronoun("I", "me", "ich", "mich", "mir", ("myself", "mich"), 0)  # noqa: E741
YOU = Pronoun("you", "you", "du", "dich", "dir", ("yourself", "dich"), 1)
HE = Pronoun("he", "him", "er", "ihn", "ihm", ("himself", "sich"), 2)
SHE = Pronoun("she", "her", "sie", "sie", "ihr", ("herself", "sich"), 2)
WE = Pronoun("we", "us", "wir", "uns", "uns", ("ourselves", "uns"), 3)
THEY = Pronoun("they", "them", "sie", "sie", "ihnen", ("themselves", "sich"), 3)
WHO = Pronoun("who", "whom", "wer", "wen", "wem", ("himself", "sich"), 2)
IT: dict[Gender, Pronoun] = {
    "m": Pronoun("it", "it", "er", "ihn", "ihm", ("itself", "sich"), 2),
    "f": Pronoun("it", "it", "sie", "sie", "ihr", ("itself", "sich"), 2),
    "n": Pronoun("it", "it", "es", "es", "ihm", ("itself", "sich"), 2),
}


@dataclass(frozen=True, slots=True)
class NounPhrase:
    """Determiner, adjective and noun; `determiner` is an English word, or empty."""

    noun: Noun
    determiner: str = "the"
    adjective: Adjective | None = None
    plural: bool = False

    @property
    def en(self) -> str:
        words = [self.adjective.en] if self.adjective else []
        words.append(self.noun.en_plural if self.plural else self.noun.en)
        if self.determiner == "a" and words[0][0] in "aeiou" and not words[0].startswith("un"):
            return " ".join(["an", *words])
        return " ".join([self.determiner, *words]).strip()

    @property
    def en_object(self) -> str:
        return self.en

    @property
    def person(self) -> Person:
        return 3 if self.plural else 2

    @property
    def reflexive(self) -> tuple[str, str]:
        if self.plural:
            return THEY.reflexive
        return pronoun_of(self.noun).reflexive

    def de(self, case: Case) -> str:
        column = 3 if self.plural else _COLUMN[self.noun.gender]
        determiner, endings = _determiner(self.determiner, case, column)
        words = [determiner] if determiner else []
        if self.adjective:
            words.append(attributive_stem(self.adjective.de) + endings[case][column])
        words.append(inflect(self.noun, case, self.plural))
        return " ".join(words)


@dataclass(frozen=True, slots=True)
class Owned:
    """A thing with its owner: `the doctor's car`, `das Auto des Arztes`."""

    owner: NounPhrase
    owned: NounPhrase

    @property
    def en(self) -> str:
        genitive = "'" if self.owner.en.endswith("s") and self.owner.plural else "'s"
        return f"{self.owner.en}{genitive} {self.owned.en.removeprefix('the ')}"

    @property
    def en_object(self) -> str:
        return self.en

    @property
    def person(self) -> Person:
        return self.owned.person

    @property
    def reflexive(self) -> tuple[str, str]:
        return self.owned.reflexive

    def de(self, case: Case) -> str:
        return f"{self.owned.de(case)} {self.owner.de('gen')}"


@dataclass(frozen=True, slots=True)
class Described:
    """A noun with a relative clause in both languages: `the dog that sleeps`, `der Hund, der schläft,`."""

    head: NounPhrase
    en_clause: str
    de_clause: str

    @property
    def en(self) -> str:
        return f"{self.head.en} {self.en_clause}"

    @property
    def en_object(self) -> str:
        return self.en

    @property
    def person(self) -> Person:
        return self.head.person

    @property
    def reflexive(self) -> tuple[str, str]:
        return self.head.reflexive

    def de(self, case: Case) -> str:
        return f"{self.head.de(case)}, {self.de_clause},"


def relative_pronoun(head: NounPhrase, case: Case) -> str:
    """Relative pronoun: `der`, `den`, `dem`, …; like the article, except in the dative plural."""
    if head.plural and case == "dat":
        return "denen"
    return _THE[case][3 if head.plural else _COLUMN[head.noun.gender]]


def _determiner(en: str, case: Case, column: int) -> tuple[str, Endings]:
    """German determiner, and the adjective endings that it requires."""
    if en == "the":
        return _THE[case][column], _WEAK
    if en in _LIKE_EIN:
        return _LIKE_EIN[en] + _EIN[case][column], _MIXED
    if en in _LIKE_THE:
        return _LIKE_THE[en] + _STRONG[case][column], _WEAK
    if en == "many":
        return "viel" + _STRONG[case][column], _STRONG
    return _UNINFLECTED[en], _STRONG


def inflect(noun: Noun, case: Case, plural: bool) -> str:
    """Form of a noun: weak masculines take -n except in the nominative, and datives plural end in -n."""
    if plural:
        return noun.de_plural + ("n" if case == "dat" and not noun.de_plural.endswith(("n", "s")) else "")
    if case == "nom":
        return noun.de
    weak = noun.gender == "m" and noun.de_genitive.endswith("n") and noun.de_genitive != noun.de
    return noun.de_genitive if case == "gen" or weak else noun.de


def attributive_stem(adjective: str) -> str:
    """Stem of an adjective before endings: `müd`, `dunkl`, `teur`."""
    if adjective.endswith("e"):
        return adjective[:-1]
    if adjective.endswith("el"):
        return adjective[:-2] + "l"
    if adjective.endswith(("euer", "auer")):
        return adjective[:-2] + "r"
    return adjective


def pronoun_of(noun: Noun) -> Pronoun:
    """Pronoun for a singular noun: he or she for people, it for anything else."""
    return {"man": HE, "woman": SHE}.get(noun.kind) or IT[noun.gender]


def prepositional(preposition: str, nominal: Nominal, case: Case) -> str:
    """Prepositional phrase: `im Garten`, `auf der Wiese`. The article merges with the preposition if it can."""
    article, _, rest = nominal.de(case).partition(" ")
    pair = f"{preposition} {article}"
    return f"{_CONTRACTIONS.get(pair, pair)} {rest}".strip()
