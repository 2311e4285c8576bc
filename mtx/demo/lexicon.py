"""Words of the demo, and the parsers of its word tables.

Each English word has exactly one German word, so that a sentence has exactly one translation.
"""

from dataclasses import dataclass
from typing import Literal

Gender = Literal["m", "f", "n"]
Forms = tuple[str, str, str, str]  # Finite forms of a verb: I, you (du), third person singular, plural

ARTICLE_GENDER: dict[str, Gender] = {"der": "m", "die": "f", "das": "n"}
INSEPARABLE = ("be", "emp", "ent", "er", "ge", "miss", "über", "unter", "ver", "zer")


@dataclass(frozen=True, slots=True)
class Noun:
    """A noun; verbs and adjectives select it by its class, `kind`."""

    en: str
    en_plural: str
    de: str
    de_genitive: str
    de_plural: str
    gender: Gender
    kind: str
    en_place: str = ""
    de_place: str = ""  # Prepositions of a place: `on` the meadow is `auf` der Wiese

    @property
    def counts(self) -> bool:
        """Whether the noun has a plural and takes `a`."""
        return self.en_plural != "-"


@dataclass(frozen=True, slots=True)
class Adjective:
    """An adjective and its degrees."""

    en: str
    de: str
    en_comparative: str = ""
    en_superlative: str = ""
    de_comparative: str = ""
    de_superlative: str = ""


@dataclass(frozen=True, slots=True)
class Verb:
    """A verb. It is separable if `prefix` is not empty; `particle` is the second word of the English verb."""

    en: str
    en_present: Forms
    en_past: Forms
    en_participle: str
    en_ing: str
    particle: str
    de: str
    de_present: Forms
    de_past: Forms
    de_participle: str
    auxiliary: str
    prefix: str = ""
    objects: tuple[str, ...] = ()  # Classes of nouns that can be its object

    @property
    def infinitive(self) -> str:
        return self.prefix + self.de

    @property
    def participle(self) -> str:
        return self.prefix + self.de_participle


def parse_nouns(kind: str, table: str) -> tuple[Noun, ...]:
    """Parse a table of nouns: `dog dogs der Hund Hundes Hunde`; a place is followed by `in:auf`."""
    nouns = []
    for line in table.strip().splitlines():
        en, en_plural, article, de, genitive, plural, *place = (
            line.replace("_", " ").split() if "_" not in line else [word.replace("_", " ") for word in line.split()]
        )
        en_place, _, de_place = place[0].partition(":") if place else ("", "", "")
        nouns.append(Noun(en, en_plural, de, genitive, plural, ARTICLE_GENDER[article], kind, en_place, de_place))
    return tuple(nouns)


def parse_adjectives(table: str) -> dict[str, Adjective]:
    """Parse a table of adjectives, by English name: `old alt` or `old older oldest alt älter ältest`."""
    adjectives = {}
    for line in table.strip().splitlines():
        words = line.split()
        if len(words) == 2:
            en, de = words
            adjectives[en] = Adjective(en, de)
        else:
            en, en_more, en_most, de, de_more, de_most = (word.replace("_", " ") for word in words)
            adjectives[en] = Adjective(en, de, en_more, en_most, de_more, de_most)
    return adjectives


def parse_verbs(table: str) -> dict[str, Verb]:
    """Parse a table of verbs, by English name; see `parse_verb`."""
    return {verb.en: verb for verb in map(parse_verb, table.strip().splitlines())}


def parse_verb(line: str) -> Verb:
    """Parse a verb, such as `call called called calling | an|rufen ruft rief gerufen | man woman`.

    A regular German verb needs only its infinitive. `+sein` marks verbs whose auxiliary is not haben. The objects are
    optional.
    """
    english, german, *objects = line.split(" | ")
    base, past, participle, ing = english.split()
    base, _, particle = base.partition("_")
    infinitive, *forms = german.split()
    auxiliary = "sein" if "+sein" in forms else "haben"
    strong = [form for form in forms if form != "+sein"]
    prefix, _, stem = infinitive.rpartition("|")
    present, past_de, participle_de = strong or regular_german(stem)
    return Verb(
        en=f"{base} {particle}".strip(),
        en_present=(base, base, third_person(base), base),
        en_past=(past,) * 4,
        en_participle=participle,
        en_ing=ing,
        particle=particle.replace("_", " "),
        de=stem,
        de_present=german_present(stem, present),
        de_past=german_past(past_de),
        de_participle=participle_de,
        auxiliary=auxiliary,
        prefix=prefix,
        objects=tuple(objects[0].split()) if objects else (),
    )


def third_person(base: str) -> str:
    """Third person singular: `tries`, `washes`, `sees`."""
    if base == "have":
        return "has"
    if base.endswith("y") and base[-2] not in "aeou":
        return base[:-1] + "ies"
    return base + ("es" if base.endswith(("s", "sh", "ch", "x", "o")) else "s")


def german_stem(infinitive: str) -> str:
    return infinitive[:-2] if infinitive.endswith("en") else infinitive[:-1]


def regular_german(infinitive: str) -> tuple[str, str, str]:
    """Third person, preterite and participle of a weak verb: `öffnet`, `öffnete`, `geöffnet`."""
    stem = german_stem(infinitive)
    linked = stem + "e" if stem.endswith(("t", "d", "chn", "ffn", "tm")) else stem
    bare = infinitive.startswith(INSEPARABLE) or infinitive.endswith("ieren")
    return linked + "t", linked + "te", ("" if bare else "ge") + linked + "t"


def german_present(infinitive: str, third: str) -> Forms:
    """Present: `füttere, fütterst, füttert, füttern`; du shares a changed vowel (`schläft`, `schläfst`)."""
    stem = german_stem(infinitive)
    first = stem[:-2] + "le" if stem.endswith("el") else stem + "e"
    bare = third if stem.endswith("t") and not third.endswith("et") else third.removesuffix("t")
    second = bare + ("t" if bare.endswith(("s", "ß", "z", "x")) else "st")
    return first, second, third, infinitive


def german_past(third: str) -> Forms:
    """Preterite: `kaufte, kauftest, kaufte, kauften`; `fand, fandest, fand, fanden`."""
    if third.endswith("e"):
        return third, third + "st", third, third + "n"
    link = "e" if third.endswith(("t", "d", "s", "ß", "z")) else ""
    return third, third + link + "st", third, third + "en"
