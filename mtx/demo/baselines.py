"""Baselines without a neural network: a word-for-word dictionary, and the first noun as every antecedent."""

import re
from collections.abc import Iterable, Mapping, Sequence

from mtx.demo.grammar import IT
from mtx.demo.lexicon import Gender
from mtx.demo.nouns import NOUNS

_WORD = re.compile(r"[\w']+|[^\w\s]")
_PRONOUN = re.compile(r"\b(?:er|sie|es|ihn)\b", re.IGNORECASE)

# Nouns that `it` can refer to, by the first word of their English name.
_GENDER: dict[str, Gender] = {
    noun.en.split()[-1]: noun.gender
    for kind, nouns in NOUNS.items()
    if kind not in ("man", "woman", "child")
    for noun in nouns
}


def learn_dictionary(pairs: Iterable[tuple[str, str]], rounds: int = 10) -> dict[str, str]:
    """Find the most likely German word for each English one by expectation maximization (IBM Model 1)."""
    sentences = [(_letters(src), _letters(tgt)) for src, tgt in pairs]
    likely: dict[str, dict[str, float]] = {}
    for _ in range(rounds):
        counts: dict[str, dict[str, float]] = {}
        for src, tgt in sentences:
            rows = [(likely.get(en), counts.setdefault(en, {})) for en in src]
            for de in tgt:
                shares = [row.get(de, 0.0) if row else 1.0 for row, _ in rows]
                total = sum(shares)
                for share, (_, count) in zip(shares, rows, strict=True):
                    count[de] = count.get(de, 0.0) + share / total
        likely = {}
        for en, count in counts.items():
            total = sum(count.values())
            likely[en] = {de: value / total for de, value in count.items()}
    return {en: max(row, key=row.__getitem__) for en, row in likely.items()}


def word_for_word(src: str, dictionary: Mapping[str, str]) -> str:
    """Translate each word on its own, in English order."""
    return _sentence(dictionary.get(word, word) for word in _words(src))


def first_noun(src: str, dictionary: Mapping[str, str]) -> str:
    """Translate word for word, and `it` as the pronoun of the first noun: as a subject before `is` and `was`."""
    words = _words(src)
    it = IT[next((_GENDER[word] for word in words if word in _GENDER), "n")]
    german = []
    for word, following in zip(words, [*words[1:], ""], strict=True):
        pronoun = it.nom if following in ("is", "was") else it.acc
        german.append(pronoun if word.lower() == "it" else dictionary.get(word, word))
    return _sentence(german)


def pronoun_accuracy(hypotheses: Sequence[str], references: Sequence[str]) -> float:
    """Percentage of hypotheses with exactly the pronouns (er, sie, es, ihn) of their references."""
    pairs = list(zip(hypotheses, references, strict=True))
    return 100 * sum(_pronouns(hypothesis) == _pronouns(reference) for hypothesis, reference in pairs) / len(pairs)


def _pronouns(sentence: str) -> list[str]:
    return [pronoun.lower() for pronoun in _PRONOUN.findall(sentence)]


def _words(sentence: str) -> list[str]:
    return _WORD.findall(sentence[:1].lower() + sentence[1:])


def _letters(sentence: str) -> list[str]:
    """Words without punctuation, which would otherwise align with every frequent word."""
    return [word for word in _words(sentence) if word[0].isalnum()]


def _sentence(words: Iterable[str]) -> str:
    text = re.sub(r" ([.,!?])", r"\1", " ".join(words))
    return text[:1].upper() + text[1:]
