"""Test sets looked up in training data: how often it has their words, and which of their sentences it has."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from mtx.config.load import load_config
from mtx.config.settings import CleanSettings, DataSettings
from mtx.config.sources import HubDataset
from mtx.data.check.overlap import counted_words
from mtx.data.cleaning.clean import read_held_out
from mtx.data.cleaning.hashes import words_of
from mtx.data.sources.base import NoPair, Pair
from mtx.data.sources.read import expand_folders, read_pairs, relocated
from mtx.errors import ExitCode, UserError
from mtx.judge.test_set import TestSet

MAX_PAIRS = 5_000_000  # Training pairs to read, from the first one on: a minute or two


@dataclass(frozen=True, slots=True)
class Seen:
    """The sentences of a test set as training has seen them, regardless of case, spaces and punctuation."""

    rarest: list[int]  # Occurrences in training of the rarest word of each source
    has_source: list[bool]  # Whether training has the source
    has_pair: list[bool]  # Whether it has the source with one of its references
    num_pairs: int  # Training pairs that were read


def training_pairs(data: DataSettings, clean: CleanSettings) -> Iterator[Pair]:
    """The pairs that a training reads, without those that it holds out.

    Raises:
        UserError: they cannot be read, or only over a network (DATA).
    """
    sources = expand_folders(data.train, data.src_lang, data.tgt_lang)
    if any(isinstance(source, HubDataset) for source in sources):
        what, do = "training data of a hub is not read again", "Give files as data.train."
        raise UserError(ExitCode.DATA, what, where="data.train", do=do)
    held_out = read_held_out(data, clean)
    for source in sources:
        pairs = read_pairs(source, data.src_lang, data.tgt_lang, data.on_bad_row)
        yield from (pair for pair in pairs if not isinstance(pair, NoPair) and pair not in held_out)


def recorded_training_pairs(run: Path) -> Iterator[Pair]:
    """The pairs that the training of a run folder has read; its files may have moved together with it.

    Raises:
        UserError: the run has no config (USAGE); see `training_pairs`.
    """
    config = load_config(run / "config.yaml", [])
    roles = ("train",) if config.clean.held_out == "keep" else ("train", "dev", "test")
    found = {role: tuple(relocated(source, run) for source in getattr(config.data, role)) for role in roles}
    return training_pairs(config.data.model_copy(update=found), config.clean)


def look_up(sets: Sequence[TestSet], pairs: Iterable[Pair]) -> list[Seen]:
    """Look up the sentences of `sets` and their words in the training `pairs`. Memory grows with the sets alone."""
    counts: dict[str, int] = {}
    wanted: dict[str, set[str]] = {}  # The references by the source
    for each in sets:
        for src, *targets in zip(each.sources, *each.references, strict=True):
            words = words_of(src)
            counts.update(dict.fromkeys(counted_words(src, words), 0))
            wanted.setdefault(" ".join(words), set()).update(map(_key, targets))
    sources, both, num_pairs = set[str](), set[tuple[str, str]](), 0
    for src, tgt in islice(pairs, MAX_PAIRS):
        num_pairs += 1
        words = words_of(src)
        for word in counted_words(src, words):
            if word in counts:
                counts[word] += 1
        if (references := wanted.get(key := " ".join(words))) is not None:
            sources.add(key)
            if (translation := _key(tgt)) in references:
                both.add((key, translation))
    found = []
    for each in sets:
        rarest = [min(counts[word] for word in counted_words(src, words_of(src))) for src in each.sources]
        keys = [list(map(_key, lines)) for lines in zip(each.sources, *each.references, strict=True)]
        has_pair = [any((src, tgt) in both for tgt in references) for src, *references in keys]
        found.append(Seen(rarest, [src in sources for src, *_ in keys], has_pair, num_pairs))
    return found


def _key(text: str) -> str:
    return " ".join(words_of(text))
