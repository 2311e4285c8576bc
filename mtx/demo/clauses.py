"""Clauses: one meaning, expressed in English and in each German word order."""

from dataclasses import dataclass
from typing import NamedTuple

from mtx.demo.grammar import Nominal
from mtx.demo.lexicon import Forms, Verb

_SEIN = (("bin", "bist", "ist", "sind"), ("war", "warst", "war", "waren"))
_HABEN = (("habe", "hast", "hat", "haben"), ("hatte", "hattest", "hatte", "hatten"))
_WERDEN = (("werde", "wirst", "wird", "werden"), ("wurde", "wurdest", "wurde", "wurden"))
_BE = (("am", "are", "is", "are"), ("was", "were", "was", "were"))
_HAVE = (("have", "have", "has", "have"), ("had",) * 4)
_DO = (("do", "do", "does", "do"), ("did",) * 4)
_WANT = (("want", "want", "wants", "want"), ("wanted",) * 4)
_MUST = (("have", "have", "has", "have"), ("had",) * 4)


class Modal(NamedTuple):
    """Modal before an infinitive: an English auxiliary, or an English verb with `to`, and a German verb."""

    en: str
    en_verb: tuple[Forms, Forms] | None
    is_past: bool
    de: Forms


MODALS = {
    "future": Modal("will", None, False, _WERDEN[0]),
    "would": Modal("would", None, False, ("würde", "würdest", "würde", "würden")),
    "can": Modal("can", None, False, ("kann", "kannst", "kann", "können")),
    "could": Modal("could", None, False, ("konnte", "konntest", "konnte", "konnten")),
    "must": Modal("must", None, False, ("muss", "musst", "muss", "müssen")),
    "should": Modal("should", None, False, ("sollte", "solltest", "sollte", "sollten")),
    "may": Modal("may", None, False, ("darf", "darfst", "darf", "dürfen")),
    "want": Modal("want", _WANT, False, ("will", "willst", "will", "wollen")),
    "wanted": Modal("want", _WANT, True, ("wollte", "wolltest", "wollte", "wollten")),
    "have to": Modal("have", _MUST, False, ("muss", "musst", "muss", "müssen")),
    "had to": Modal("have", _MUST, True, ("musste", "musstest", "musste", "mussten")),
}
_CONTRACTED = {"will": "won't", "can": "can't", "may": "may not", "am": "am not"}
_APART = {"can": "cannot"}

# Position of a part: between the verbs in German, after the verb in English.
_GERMAN_ORDER = (
    *("pronoun", "reflexive", "time", "frequency", "dative", "object", "kein", "agent"),
    *("not", "manner", "place", "predicate"),
)
_ENGLISH_ORDER = (
    *("dative", "pronoun", "reflexive", "object", "kein", "particle"),
    *("predicate", "agent", "place", "manner", "time"),
)
_MOVABLE = ("up", "on", "along", "away", "back")


class Part(NamedTuple):
    """Part of a clause other than subject and verb, in both languages."""

    role: str
    en: str
    de: str


@dataclass(frozen=True, slots=True)
class Clause:
    """Meaning of a clause. `negation` is empty, `n't` or `not`; in German, an object with `kein` carries it."""

    subject: Nominal
    verb: Verb
    tense: str = "present"
    parts: tuple[Part, ...] = ()
    negation: str = ""


# ---------------------------------------------------------------------------------------------------------- English


def english(clause: Clause, front: str = "") -> str:
    """Statement: `the dog doesn't sleep in the garden`; with `front`: `today the dog sleeps`."""
    auxiliary, verb = _english_verb(clause)
    if clause.negation and not auxiliary:
        auxiliary, verb = _do(clause)
    return _join(front, clause.subject.en, _negated(auxiliary, clause.negation), *_english_rest(clause, verb))


def english_question(clause: Clause, question_word: str = "") -> str:
    """Question: `does the dog sleep`, `where didn't the dog sleep`."""
    auxiliary, verb = _english_verb(clause)
    if not auxiliary:
        auxiliary, verb = _do(clause)
    subject = [clause.subject.en]
    if clause.negation == "not":
        subject.append("not")
    else:
        auxiliary = _negated(auxiliary, clause.negation)
    return _join(question_word, auxiliary, *subject, *_english_rest(clause, verb))


def english_infinitive(clause: Clause) -> str:
    """Infinitive: `open the door`, to follow `to` or be a command."""
    return _join(*_english_rest(clause, _base(clause.verb)))


def english_gerund(clause: Clause) -> str:
    """Gerund: `opening the door`."""
    return _join(*_english_rest(clause, clause.verb.en_ing))


def _english_rest(clause: Clause, verb: str) -> list[str]:
    parts = list(clause.parts)
    particle = clause.verb.particle
    if particle in _MOVABLE:
        parts.append(Part("particle", particle, ""))
        particle = ""
    often = [part.en for part in parts if part.role == "frequency"]
    after = sorted(
        (part for part in parts if part.role != "frequency"), key=lambda part: _ENGLISH_ORDER.index(part.role)
    )
    return [*often, verb, particle, *(part.en for part in after)]


def _english_verb(clause: Clause) -> tuple[str, str]:
    """Auxiliary (empty if there is none) and the verb after it."""
    verb, person = clause.verb, clause.subject.person
    if clause.tense in MODALS:
        modal = MODALS[clause.tense]
        base = _base(verb)
        if modal.en_verb is None:
            return modal.en, base
        return "", f"{modal.en_verb[modal.is_past][person]} to {base}"
    match clause.tense:
        case "present" | "past":
            finite = (verb.en_past if clause.tense == "past" else verb.en_present)[person]
            return (finite, "") if verb.en == "be" else ("", finite)
        case "progressive":
            return _BE[0][person], verb.en_ing
        case "perfect":
            return _HAVE[0][person], verb.en_participle
        case "pluperfect":
            return "had", verb.en_participle
        case "passive":
            return _BE[0][person], verb.en_participle
        case "passive past":
            return _BE[1][person], verb.en_participle
    raise ValueError(f"no such tense: {clause.tense}")


def _do(clause: Clause) -> tuple[str, str]:
    """Auxiliary `do` and base form, for a verb without another auxiliary."""
    base = _base(clause.verb)
    modal = MODALS.get(clause.tense)
    is_past = modal.is_past if modal else clause.tense == "past"
    return _DO[is_past][clause.subject.person], f"{modal.en} to {base}" if modal else base


def _base(verb: Verb) -> str:
    return verb.en_present[3] if verb.en != "be" else "be"


def _negated(auxiliary: str, negation: str) -> str:
    if negation == "n't":
        return _CONTRACTED.get(auxiliary, auxiliary + "n't")
    if negation == "not":
        return _APART.get(auxiliary, f"{auxiliary} not")
    return auxiliary


# ----------------------------------------------------------------------------------------------------------- German


def german(clause: Clause) -> str:
    """Main clause with the subject first and the verb second: `der Hund wacht heute auf`."""
    finite, last = _german_verb(clause)
    return _join(clause.subject.de("nom"), finite, *_middle(clause), last)


def german_inverted(clause: Clause, front: str = "") -> str:
    """Clause with the verb before the subject: after `front` (an adverb or a clause), and in questions."""
    finite, last = _german_verb(clause)
    return _join(front, finite, clause.subject.de("nom"), *_middle(clause), last)


def german_subordinate(clause: Clause, conjunction: str) -> str:
    """Subordinate clause with the verb last, and separable verbs in one word: `weil der Hund heute aufwacht`."""
    finite, last = _german_verb(clause)
    verbs = [last + finite] if last == clause.verb.prefix else [last, finite]
    return _join(conjunction, clause.subject.de("nom"), *_middle(clause), *verbs)


def german_infinitive(clause: Clause) -> str:
    """Infinitive with zu: `die Tür zu öffnen`, `den Arzt anzurufen`."""
    verb = clause.verb
    return _join(*_middle(clause), f"{verb.prefix}zu{verb.de}" if verb.prefix else f"zu {verb.de}")


def german_imperative(clause: Clause) -> str:
    """Command to du: `öffne das Paket`, `nimm den Ball mit`."""
    first, _, third, infinitive = clause.verb.de_present
    changed = "i" in third and "i" not in infinitive
    return _join(third.removesuffix("t") if changed else first, *_middle(clause), clause.verb.prefix)


def _middle(clause: Clause) -> list[str]:
    """Parts between the two verbs; `nicht` follows the objects and precedes manner, place and predicate."""
    parts = list(clause.parts)
    if clause.negation and all(part.role != "kein" for part in parts):
        parts.append(Part("not", "", "nicht"))
    return [part.de for part in sorted(parts, key=lambda part: _GERMAN_ORDER.index(part.role))]


def _german_verb(clause: Clause) -> tuple[str, str]:
    """Finite verb, and the prefix, participle or infinitive that ends a main clause."""
    verb, person = clause.verb, clause.subject.person
    if clause.tense in MODALS:
        return MODALS[clause.tense].de[person], verb.infinitive
    auxiliary = _SEIN if verb.auxiliary == "sein" else _HABEN
    match clause.tense:
        case "present" | "progressive":
            return verb.de_present[person], verb.prefix
        case "past":
            return verb.de_past[person], verb.prefix
        case "perfect":
            return auxiliary[0][person], verb.participle
        case "pluperfect":
            return auxiliary[1][person], verb.participle
        case "passive":
            return _WERDEN[0][person], verb.participle
        case "passive past":
            return _WERDEN[1][person], verb.participle
    raise ValueError(f"no such tense: {clause.tense}")


def _join(*words: str) -> str:
    return " ".join(word for word in words if word)
