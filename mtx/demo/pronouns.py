"""Patterns whose pronoun only context resolves.

"The animal didn't cross the street because it was too tired" has two candidate antecedents of different gender, and
one word that fits only one of them. Each call says which candidate is right and gives the genders of both, so that
positions and genders are balanced by construction.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Literal

from mtx.demo.adjectives import ADJECTIVES
from mtx.demo.clauses import Clause, Part, english, german, german_inverted, german_subordinate
from mtx.demo.grammar import IT, NounPhrase, prepositional, pronoun_of
from mtx.demo.lexicon import Gender, Noun, Verb
from mtx.demo.nouns import NOUNS
from mtx.demo.phrases import LANDSCAPE, Pair, noun, pair, place_of, thing
from mtx.demo.verbs import BE, SCENIC, TRANSITIVE, VERBS

Genders = tuple[Gender, Gender]  # Genders of the antecedent and of the other noun

_LIVING = (
    "tired hungry thirsty exhausted nervous shy lazy sleepy anxious cautious impatient lonely stubborn curious clever"
)
_INDOORS = "damp dark cramped draughty stuffy smoky"
_FITTING = {
    "animal": _LIVING,
    "way": "wide narrow slippery icy crowded steep uneven",
    "water": "wide deep murky shallow polluted",
    "land": "muddy foggy stony swampy windy shady",
    "shelter": _INDOORS,
    "room": _INDOORS,
    "dish": "salty spicy greasy bitter bland",
    "fruit": "sour unripe soft bitter hard",
    "furniture": "heavy fragile precious valuable expensive",
    "vehicle": "heavy slow fast loud",
}
_TIMID = "nervous shy anxious sensitive"


@dataclass(frozen=True, slots=True)
class Scene:
    """An action of one noun with another, or of a person with both, and words that fit only one of the nouns."""

    first: str
    second: str
    verbs: str
    relation: Literal["object", "dat", "acc"] = "object"
    """Role of the second noun: the verb's `object`, or the place where (`dat`) or into which (`acc`) it happens."""
    first_fits: str = ""
    second_fits: str = ""  # Adjectives, if they differ from those of the noun's class

    def fits(self, role: int) -> list[str]:
        """Adjectives of the first (0) or second (1) noun."""
        if role == 0:
            return (self.first_fits or _FITTING[self.first]).split()
        return (self.second_fits or _FITTING[self.second]).split()


_BIG, _SMALL = "big long thick bulky wide", "small short narrow flat full"
_ANIMALS = (
    Scene("animal", "way", "cross avoid use"),
    Scene("animal", "water", "cross avoid"),
    Scene("animal", "land", "enter leave avoid"),
    Scene("animal", "shelter", "enter leave avoid"),
    Scene("animal", "dish", "eat touch refuse"),
    Scene("animal", "fruit", "eat touch refuse"),
    Scene("animal", "shelter", "sleep wait", "dat"),
    Scene("animal", "land", "sleep play", "dat"),
)
_OTHERS = (
    Scene("vehicle", "way", "cross use", "object", "heavy slow fast", "narrow slippery icy crowded steep uneven"),
    Scene("thing", "container", "fit", "acc", _BIG, _SMALL),
    Scene("furniture", "room", "stand", "dat"),
    Scene("sound", "animal", "frighten wake", "object", "loud shrill near sudden unusual", _TIMID),
    Scene("vehicle", "animal", "frighten wake", "object", "loud fast", _TIMID),
)
_HANDLED = (
    Scene("animal", "shelter", "lead", "acc"),
    Scene("animal", "land", "lead", "acc"),
    Scene("furniture", "room", "carry", "acc"),
    Scene("thing", "container", "pack", "acc", _BIG, _SMALL),
)
# These are reasons for an action, so the main clause of `because` is affirmative.
_AVERSE = ("leave", "avoid", "refuse", "frighten", "wake")
_OWNERS = ("the",) * 8 + ("my", "your", "our", "their")
_UNOWNED = (*LANDSCAPE, "sound")


@dataclass(frozen=True, slots=True)
class Stage:
    """A scene with its actors: two nouns in order, the verb, and the adjective that refers to one of them."""

    scene: Scene
    nouns: tuple[Noun, Noun]
    determiners: tuple[str, str]
    verb: Verb
    meant: Noun
    adjective: str

    @property
    def averse(self) -> bool:
        return self.verb.en in _AVERSE

    def phrase(self, role: int) -> NounPhrase:
        return NounPhrase(self.nouns[role], self.determiners[role])


def set_stage(rng: Random, scenes: Sequence[Scene], role: int, genders: Genders) -> Stage:
    """Draw a scene whose adjective refers to the first (0) or second (1) noun."""
    scene = rng.choice(scenes)
    kinds = (scene.first, scene.second)
    meant = rng.choice([candidate for candidate in NOUNS[kinds[role]] if candidate.gender == genders[0]])
    other = rng.choice([candidate for candidate in NOUNS[kinds[1 - role]] if candidate.gender == genders[1]])
    nouns = (meant, other) if role == 0 else (other, meant)
    determiners = (_owner(rng, nouns[0]), _owner(rng, nouns[1]))
    verb = SCENIC[rng.choice(scene.verbs.split())]
    return Stage(scene, nouns, determiners, verb, meant, rng.choice(scene.fits(role)))


def _owner(rng: Random, owned: Noun) -> str:
    return "the" if owned.kind in _UNOWNED else rng.choice(_OWNERS)


def act(stage: Stage, tense: str, negation: str) -> Clause:
    """Main clause: `the animal didn't cross the street`."""
    second, relation = stage.phrase(1), stage.scene.relation
    part = thing(second) if relation == "object" else place_of(second, relation)
    return Clause(stage.phrase(0), stage.verb, tense, (part,), negation)


def judge(stage: Stage, tense: str, degree: tuple[str, str]) -> Clause:
    """Reason: `it was too tired`."""
    adjective = ADJECTIVES[stage.adjective]
    predicate = Part("predicate", f"{degree[0]} {adjective.en}", f"{degree[1]} {adjective.de}")
    return Clause(IT[stage.meant.gender], BE, tense, (predicate,))


def _marked(result: Pair, stage: Stage, position: int) -> Pair:
    """Make a pair whose antecedents are listed in the order in which they occur."""
    named = stage.nouns if stage.nouns[position - 1] == stage.meant else reversed(stage.nouns)
    first, second = named
    return replace(result, triple=(first.en, second.en, stage.adjective), position=position)


# -------------------------------------------------------------------------------------------------------- patterns

_TENSES = (
    ("past", "past"),
    ("past", "past"),
    ("could", "past"),
    ("present", "present"),
    ("can", "present"),
    ("perfect", "past"),
    ("future", "present"),
)
_TOO, _SO, _VERY = ("too", "zu"), ("so", "so"), ("very", "sehr")


def _no(rng: Random) -> str:
    return "not" if rng.random() < 0.15 else "n't"


def _reason(rng: Random, stage: Stage, plain: bool = False) -> tuple[Clause, Clause]:
    """An event or its absence, and the state of one noun as the reason: `… because it was too tired`."""
    if stage.averse:
        main, sub = ("past", "past") if plain else rng.choice((("past", "past"), ("present", "present")))
        return act(stage, main, ""), judge(stage, sub, rng.choice((_TOO, _SO, _VERY)))
    main, sub = ("past", "past") if plain else rng.choice(_TENSES)
    return act(stage, main, _no(rng)), judge(stage, sub, rng.choice((_TOO, _TOO, _SO)))


def because(rng: Random, position: int, genders: Genders) -> Pair:
    stage = set_stage(rng, _ANIMALS + _OTHERS, position - 1, genders)
    main, sub = _reason(rng, stage)
    src, tgt = f"{english(main)} because {english(sub)}", f"{german(main)}, {german_subordinate(sub, 'weil')}"
    return _marked(pair(src, tgt), stage, position)


def because_first(rng: Random, position: int, genders: Genders) -> Pair:
    stage = set_stage(rng, _ANIMALS + _OTHERS, position - 1, genders)
    main, sub = _reason(rng, stage)
    src, tgt = f"because {english(sub)}, {english(main)}", f"{german_subordinate(sub, 'weil')}, {german_inverted(main)}"
    return _marked(pair(src, tgt), stage, position)


def two_sentences(rng: Random, position: int, genders: Genders) -> Pair:
    stage = set_stage(rng, _ANIMALS + _OTHERS, position - 1, genders)
    first, second = (pair(english(clause), german(clause)) for clause in _reason(rng, stage))
    return _marked(Pair(f"{first.src} {second.src}", f"{first.tgt} {second.tgt}"), stage, position)


def although(rng: Random, position: int, genders: Genders) -> Pair:
    """The state of one noun as a reason against the event."""
    stage = set_stage(rng, _ANIMALS + _OTHERS, position - 1, genders)
    tense = rng.choice(("past", "past", "present"))
    main = act(stage, tense, _no(rng) if stage.averse else "")
    sub = judge(stage, tense, rng.choice((_VERY, _SO)))
    src, tgt = f"{english(main)} although {english(sub)}", f"{german(main)}, {german_subordinate(sub, 'obwohl')}"
    if rng.random() < 0.4:
        src = f"although {english(sub)}, {english(main)}"
        tgt = f"{german_subordinate(sub, 'obwohl')}, {german_inverted(main)}"
    return _marked(pair(src, tgt), stage, position)


def wanted_but(rng: Random, position: int, genders: Genders) -> Pair:
    stage = set_stage(rng, _ANIMALS, position - 1, genders)
    while stage.averse:
        stage = set_stage(rng, _ANIMALS, position - 1, genders)
    main, sub = act(stage, "wanted", ""), judge(stage, "past", _TOO)
    return _marked(pair(f"{english(main)}, but {english(sub)}", f"{german(main)}, aber {german(sub)}"), stage, position)


def passive(rng: Random, position: int, genders: Genders) -> Pair:
    """Passive, with the nouns in reverse order: `The street was not crossed by the animal`."""
    scenes = [scene for scene in _ANIMALS if scene.relation == "object"]
    stage = set_stage(rng, scenes, 2 - position, genders)
    actor = stage.phrase(0)
    agent = Part("agent", f"by {actor.en}", prepositional("von", actor, "dat"))
    no = "" if stage.averse else _no(rng)
    main = Clause(stage.phrase(1), stage.verb, "passive past", (agent,), no)
    sub = judge(stage, "past", rng.choice((_TOO, _SO)))
    src, tgt = f"{english(main)} because {english(sub)}", f"{german(main)}, {german_subordinate(sub, 'weil')}"
    return _marked(pair(src, tgt), stage, position)


def handled(rng: Random, position: int, genders: Genders) -> Pair:
    """An action of a person with both nouns: `The farmer didn't lead the horse into the barn because …`."""
    stage = set_stage(rng, _HANDLED, position - 1, genders)
    who = NounPhrase(noun(rng, "man", "woman"))
    parts = (thing(stage.phrase(0)), place_of(stage.phrase(1), "acc"))
    main_tense, tense = rng.choice(_TENSES)
    main = Clause(who, stage.verb, main_tense, parts, _no(rng))
    sub = judge(stage, tense, rng.choice((_TOO, _TOO, _SO)))
    src, tgt = f"{english(main)} because {english(sub)}", f"{german(main)}, {german_subordinate(sub, 'weil')}"
    return _marked(pair(src, tgt), stage, position)


_DOING = {
    "animal": ["feed", "stroke", "catch", "wake"],
    "thing": ["throw away", "give back"],
    "room": ["leave", "tidy up", "lock"],
}


def object_pronoun(rng: Random, position: int, genders: Genders) -> Pair:
    """Reference resolved by the verb: `The boy saw the dog in the kitchen, and then he fed it`."""
    first = rng.choice(("animal", "thing"))
    stage = set_stage(rng, (Scene(first, "room", "wake", "dat", "-", "-"),), position - 1, genders)
    who = NounPhrase(noun(rng, "man", "woman"))
    tense = rng.choice(("past", "past", "present"))
    found = TRANSITIVE[rng.choice(("find", "look for"))]
    main = Clause(who, found, tense, (thing(stage.phrase(0)), place_of(stage.phrase(1), "dat")))
    doing = rng.choice(_DOING[stage.meant.kind])
    it = IT[stage.meant.gender]
    verb = VERBS[doing]
    sub = Clause(pronoun_of(who.noun), verb, tense, (Part("pronoun", it.en_object, it.acc),))
    result = pair(f"{english(main)} and then {english(sub)}", f"{german(main)} und {german_inverted(sub, 'dann')}")
    return _marked(result, replace(stage, adjective=doing), position)


PRONOUNS = (
    because,
    because,
    because_first,
    two_sentences,
    although,
    wanted_but,
    passive,
    handled,
    object_pronoun,
)
