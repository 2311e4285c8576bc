"""Neighbouring pairs together, as many as one process works on at once."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from mtx.data.sources.read import Pair

PAIRS_AT_ONCE, CHARS_AT_ONCE = 10_000, 1 << 24
"""A group is full once it has so many pairs, or characters: a line alone may have four times as many."""


@dataclass(frozen=True, slots=True)
class Group:
    """Neighbouring pairs of one source."""

    source: int
    """Its number among the sources."""
    pairs: list[Pair]


def grouped(pairs: Iterable[Pair], source: int = 0) -> Iterator[Group]:
    """All `pairs` of the source of this number, in their order.

    The same pairs give the same groups, whatever else: what goes on after a kill counts them.
    """
    group: list[Pair] = []
    num_chars = 0
    for pair in pairs:
        group.append(pair)
        num_chars += len(pair[0]) + len(pair[1])
        if len(group) >= PAIRS_AT_ONCE or num_chars >= CHARS_AT_ONCE:
            yield Group(source, group)
            group, num_chars = [], 0
    if group:
        yield Group(source, group)
