"""Which texts were seen before, among more of them than Python's own sets could hold."""

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]

NUM_PARTS = 16
"""Hashes are kept in so many parts: to merge one takes memory for that alone."""

GROWTH = 4
"""A run is merged with those after it once these are together more than this share of it: one fourth."""


def hash_of(*texts: str) -> int:
    """64 bits that stand for `texts`; two of 20 million texts share them once in 90,000 corpora."""
    digest = hashlib.blake2b("\0".join(texts).encode(), digest_size=8)
    return int.from_bytes(digest.digest(), "little")


def pair_hashes(pairs: Sequence[tuple[str, str]], duplicates: str, tag: str | None = None) -> Hashes | None:
    """What stands for what two pairs may not have in common: `pair`, `src` or `tgt`; None where they may have all.

    Pairs of another `tag` are never alike: a name may well be the same in two languages.
    """
    tags = [] if tag is None else [tag]
    match duplicates:
        case "keep":
            return None
        case "src":
            hashes = [hash_of(*tags, src.strip()) for src, _ in pairs]
        case "tgt":
            hashes = [hash_of(*tags, tgt.strip()) for _, tgt in pairs]
        case _:
            hashes = [hash_of(*tags, src.strip(), tgt.strip()) for src, tgt in pairs]
    return np.array(hashes, np.uint64)


class Seen:
    """The hashes that were added so far, 8 bytes each, in a few sorted runs."""

    def __init__(self) -> None:
        self._parts: list[list[Hashes]] = [[] for _ in range(NUM_PARTS)]

    def add(self, hashes: Hashes) -> NDArray[np.bool_]:
        """For each of `hashes` whether it is new, which the second of two equal ones is not."""
        order = np.argsort(hashes, kind="stable")
        ordered = hashes[order]
        is_new = np.ones(len(hashes), np.bool_)
        is_new[1:] = ordered[1:] != ordered[:-1]
        bounds = np.arange(1, NUM_PARTS, dtype=np.uint64) * np.uint64(2**64 // NUM_PARTS)
        starts = [0, *np.searchsorted(ordered, bounds).tolist(), len(ordered)]
        for runs, start, end in zip(self._parts, starts, starts[1:], strict=False):
            some = slice(start, end)
            for run in runs:
                places = np.searchsorted(run, ordered[some])
                is_new[some] &= run[np.minimum(places, len(run) - 1)] != ordered[some]
            _add_run(runs, ordered[some][is_new[some]])
        result = np.empty_like(is_new)
        result[order] = is_new
        return result

    def add_pairs(self, pairs: Sequence[tuple[str, str]], duplicates: str, tag: str | None = None) -> NDArray[np.bool_]:
        """For each of `pairs` whether it is new, see `pair_hashes`."""
        hashes = pair_hashes(pairs, duplicates, tag)
        return np.ones(len(pairs), np.bool_) if hashes is None else self.add(hashes)


def _add_run(runs: list[Hashes], run: Hashes) -> None:
    """Add a sorted run, of which there stay few: each is several times as long as all after it."""
    if not len(run):
        return
    while runs and len(runs[-1]) < GROWTH * len(run):
        run = np.concatenate([runs.pop(), run])
        run.sort(kind="stable")  # which is a merge of the two
    runs.append(run)
