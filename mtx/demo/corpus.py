"""Splits of the demo: which patterns occur how often, and which words training never combines."""

import random
import zlib
from collections.abc import Callable, Iterator
from itertools import cycle, islice, product
from typing import Literal

from mtx.demo.phrases import Pair
from mtx.demo.pronouns import PRONOUNS, Genders
from mtx.demo.questions import QUESTIONS
from mtx.demo.statements import STATEMENTS
from mtx.demo.states import STATES_AND_WISHES
from mtx.demo.subordinate import SUBORDINATE

Split = Literal["train", "dev", "test", "pronouns"]
SIZES: dict[Split, int] = {"train": 30_000, "dev": 500, "test": 1_000, "pronouns": 400}
PATTERNS = STATEMENTS + STATES_AND_WISHES + QUESTIONS + SUBORDINATE

HELD_OUT = (
    Pair(
        "The animal didn't cross the street because it was too tired.",
        "Das Tier überquerte die Straße nicht, weil es zu müde war.",
        ("animal", "street", "tired"),
        1,
    ),
    Pair(
        "The animal didn't cross the street because it was too wide.",
        "Das Tier überquerte die Straße nicht, weil sie zu breit war.",
        ("animal", "street", "wide"),
        2,
    ),
)
"""Example from Google's blog post on the Transformer (2017): only context tells what `it` refers to."""

_PRONOUN_SHARE = 0.65
_HELD_OUT_TRIPLES = frozenset(pair.triple for pair in HELD_OUT)
_GENDERS: tuple[Genders, ...] = (("m", "f"), ("f", "n"), ("n", "m"), ("f", "m"), ("n", "f"), ("m", "n"))
_MOST_ATTEMPTS = 10_000


def read_demo(split: Split) -> Iterator[tuple[str, str]]:
    """Sentence pairs of a split; the same ones in the same order on every machine."""
    for pair in draw_split(split):
        yield pair.src, pair.tgt


def draw_split(split: Split) -> list[Pair]:
    """Pairs of a split, annotated with their antecedents; all sources differ."""
    rng = random.Random(f"mtx demo {split}")
    if split == "pronouns":
        pronouns = _draw_pronouns(rng, split, SIZES[split] - len(HELD_OUT), seen={pair.src for pair in HELD_OUT})
        return [*HELD_OUT, *pronouns]
    size = SIZES[split]
    seen: set[str] = set()
    pairs = _draw_pronouns(rng, split, round(size * _PRONOUN_SHARE), seen)
    pairs += [_draw(pattern, (rng,), split, seen) for pattern in islice(cycle(PATTERNS), size - len(pairs))]
    rng.shuffle(pairs)
    return pairs


def _draw_pronouns(rng: random.Random, split: Split, count: int, seen: set[str]) -> list[Pair]:
    """Draw pairs that are balanced over antecedent positions, pairs of genders, and patterns."""
    turns = cycle(product(_GENDERS, (1, 2), PRONOUNS))
    return [
        _draw(pattern, (rng, position, genders), split, seen) for genders, position, pattern in islice(turns, count)
    ]


def _draw(pattern: Callable[..., Pair], arguments: tuple[object, ...], split: Split, seen: set[str]) -> Pair:
    """Draw a new pair of the pattern that belongs to the split."""
    for _ in range(_MOST_ATTEMPTS):
        pair = pattern(*arguments)
        if pair.src not in seen and split_of(pair) == split:
            seen.add(pair.src)
            return pair
    raise RuntimeError(f"the pattern {pattern.__name__} has no more sentences for {split}")


def split_of(pair: Pair) -> Split:
    """Split of a pair. Its words alone decide, so that splits cannot overlap."""
    if pair.triple and _is_held_out(pair.triple):
        return "pronouns"
    bucket = zlib.crc32(pair.src.encode()) % 20
    return "test" if bucket == 0 else "dev" if bucket == 1 else "train"


def _is_held_out(triple: tuple[str, str, str]) -> bool:
    """Whether training never sees these two nouns, in either order, with this selecting word."""
    first, second, selector = triple
    key = (*sorted((first, second)), selector)
    return key in _HELD_OUT_TRIPLES or zlib.crc32("|".join(key).encode()) % 10 == 0
