"""The same sentences translated in different company: no translation may depend on what it shares a batch with."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from mtx.decode.translator import Translation, Translator

NEAR_TIE = 1e-5
"""Scores this close may change places by rounding; it is counted all the same."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """What one way of batching changed."""

    way: str
    num_sentences: int
    near_ties: tuple[str, ...]
    """Sentences whose translation is another one, with a score that is all but the same."""
    differing: tuple[str, ...]
    """Sentences whose translation is another one, for no such reason."""


def compare_batchings(
    translator: Translator, sentences: Sequence[str], long_sentence: str, *, most_batches: int, seed: int = 1
) -> list[Comparison]:
    """Translations alone, by 2, 7 and 64, shuffled, and beside a long one, against those of all sentences at once.

    Of each way the first `most_batches` batches are translated; 1,000 sentences make 1,000 alone. `translator` should
    put all that it is given at once into one batch, as far as that fits (a large `batch_tokens`, one worker).
    """
    everything = list(range(len(sentences)))
    shuffled = random.Random(seed).sample(everything, len(everything))
    ways = {
        "alone": in_groups(everything, 1),
        "2 in a batch": in_groups(everything, 2),
        "7 in a batch": in_groups(everything, 7),
        "64 in a batch": in_groups(everything, 64),
        "shuffled, 64 in a batch": in_groups(shuffled, 64),
    }
    wanted = translator.translate(sentences)
    comparisons = [
        _comparison(way, translator, sentences, wanted, batches[:most_batches], beside=[])
        for way, batches in ways.items()
    ]
    beside_long = in_groups(everything, 64)[:most_batches]
    comparisons.append(
        _comparison("beside a long one", translator, sentences, wanted, beside_long, beside=[long_sentence])
    )
    return comparisons


def in_groups(indices: Sequence[int], size: int) -> list[Sequence[int]]:
    """Groups of `size`, the last of which may be smaller."""
    return [indices[start : start + size] for start in range(0, len(indices), size)]


def _comparison(
    way: str,
    translator: Translator,
    sentences: Sequence[str],
    wanted: Sequence[Translation],
    batches: Sequence[Sequence[int]],
    beside: list[str],
) -> Comparison:
    near_ties: list[str] = []
    differing: list[str] = []
    for batch in batches:
        found = translator.translate([*beside, *(sentences[index] for index in batch)])[len(beside) :]
        for index, translation in zip(batch, found, strict=True):
            if translation.tgt != wanted[index].tgt:
                is_near = abs(translation.nbest[0].score - wanted[index].nbest[0].score) < NEAR_TIE
                (near_ties if is_near else differing).append(translation.src)
    return Comparison(way, sum(map(len, batches)), tuple(near_ties), tuple(differing))
