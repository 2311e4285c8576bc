"""Sentences of a dev or test set that training data holds, too: whole, or most of their words in the same order."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from mtx.data.corpus import Pair
from mtx.data.duplicates import hash_of

NGRAM = 8
"""Words, or characters where a script has no spaces between words, that are looked for as one."""

NEAR = 0.5
"""The share of its n-grams from which on a sentence counts as nearly the same."""

_WORDS = re.compile(r"\w+")
_NO_SPACES = re.compile("[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff]")


@dataclass(slots=True)
class Overlap:
    """What a set of pairs has in common with the pairs that were compared to it."""

    num_pairs: int
    both: set[int] = field(default_factory=set)
    """Pairs that occur whole."""
    src: set[int] = field(default_factory=set)
    """Pairs whose source occurs."""
    tgt: set[int] = field(default_factory=set)
    """Pairs whose target occurs."""
    near: set[int] = field(default_factory=set)
    """Pairs of which one side nearly occurs."""


class HeldOut:
    """A dev or test set, to be compared with training pairs one by one."""

    def __init__(self, pairs: Sequence[Pair]) -> None:
        self.pairs = pairs
        self._found = Overlap(len(pairs))
        self._whole: tuple[dict[int, list[int]], ...] = ({}, {}, {})
        self._ngrams: tuple[dict[int, list[int]], ...] = ({}, {})
        self._unseen: tuple[list[set[int]], ...] = ([], [])  # of each pair: n-grams that did not occur yet
        for number, (src, tgt) in enumerate(pairs):
            for places, key in zip(self._whole, text_keys(src, tgt), strict=True):
                places.setdefault(key, []).append(number)
            for places, unseen, text in zip(self._ngrams, self._unseen, (src, tgt), strict=True):
                unseen.append(set(_ngrams(text)))
                for ngram in unseen[-1]:
                    places.setdefault(ngram, []).append(number)
        self._sizes = tuple([len(ngrams) for ngrams in unseen] for unseen in self._unseen)

    def compare(self, src: str, tgt: str) -> None:
        """Note what this training pair has in common with any of the set."""
        for places, key, found in zip(
            self._whole, text_keys(src, tgt), (self._found.src, self._found.tgt, self._found.both), strict=True
        ):
            found.update(places.get(key, ()))
        for places, unseen, text in zip(self._ngrams, self._unseen, (src, tgt), strict=True):
            if places:
                for ngram in _ngrams(text):
                    for number in places.get(ngram, ()):
                        unseen[number].discard(ngram)

    def overlap(self) -> Overlap:
        """What was found so far; the n-grams of a sentence that occurs nearly may lie in several training sentences."""
        whole = self._found.src | self._found.tgt
        for unseen, sizes in zip(self._unseen, self._sizes, strict=True):
            for number, (left, size) in enumerate(zip(unseen, sizes, strict=True)):
                if size and 1 - len(left) / size >= NEAR and number not in whole:
                    self._found.near.add(number)
        return self._found


def has_words(text: str) -> bool:
    """Whether there is more in `text` than spaces and punctuation."""
    return _WORDS.search(text) is not None


def text_keys(src: str, tgt: str) -> tuple[int, int, int]:
    """What stands for the source, the target and both, whatever their case, spaces and punctuation."""
    plain = " ".join(_WORDS.findall(src.casefold())) or src, " ".join(_WORDS.findall(tgt.casefold())) or tgt
    return hash_of(plain[0]), hash_of(plain[1]), hash_of(*plain)


def _ngrams(text: str) -> Iterator[int]:
    words: Sequence[str] = _WORDS.findall(text.casefold())
    if _NO_SPACES.search(text):
        words = "".join(words)
    return (hash(tuple(words[start : start + NGRAM])) for start in range(len(words) - NGRAM + 1))
