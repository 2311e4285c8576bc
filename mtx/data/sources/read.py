"""The readers of all kinds of sources, and their pairs in chunks, the unit of work of one process."""

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import cache
from importlib import import_module
from itertools import product
from pathlib import Path
from pkgutil import iter_modules
from typing import Any, NamedTuple

from mtx.config.settings import OnBadRow
from mtx.config.sources import Source, SourceSettings
from mtx.data.sources.base import NoPair, Pair, Reader
from mtx.data.sources.variants import Variants
from mtx.errors import ExitCode, UserError
from mtx.system.logs import LOGGER

# A chunk ends when it has reached one of these; its last line alone may have four times as many characters.
MAX_CHUNK_PAIRS, MAX_CHUNK_CHARS = 10_000, 1 << 24

MAX_BAD_SHARE = 0.01  # Share of rows that may be unreadable before a source is refused
FEW_ROWS = 10  # Number of rows below which none may be unreadable


@cache
def readers() -> dict[type[SourceSettings], type[Reader[Any]]]:
    """The reader of each kind of settings, from all files of this folder."""
    for module in iter_modules([os.path.dirname(__file__)]):
        import_module(f"mtx.data.sources.{module.name}")
    found = (kind for kind in Reader.__subclasses__() if kind.__module__.startswith("mtx.data.sources."))
    return {kind.settings_type: kind for kind in found}


def readers_by_suffix() -> dict[str, type[Reader[Any]]]:
    """The readers of single files, by the suffixes of these."""
    return {suffix: kind for kind in readers().values() for suffix in kind.suffixes}


def reader(source: Source, variants: Variants | None = None) -> Reader[Any]:
    """The reader of one source, which counts the variants of its languages in `variants`."""
    return readers()[type(source)](source, variants)


def read_pairs(
    source: Source, src_lang: str, tgt_lang: str, on_bad_row: OnBadRow = "skip", variants: Variants | None = None
) -> Iterator[Pair]:
    """All (source, target) pairs of `source` in order, with a `NoPair` for each row without a pair.

    If `source` sets its languages, they replace `src_lang` and `tgt_lang`.

    Raises:
        UserError: a file is missing, damaged or not in the expected form, see also `limit_bad_rows` (DATA).
    """
    return limit_bad_rows(reader(source, variants).pairs(*source.languages(src_lang, tgt_lang)), on_bad_row)


def limit_bad_rows(pairs: Iterable[Pair], on_bad_row: OnBadRow = "skip") -> Iterator[Pair]:
    """Pass on `pairs`, and count those that can't be read.

    Raises:
        UserError: more than `MAX_BAD_SHARE` of them, or with "stop" a single one, can't be read (DATA).
    """
    first, num_bad, number = None, 0, 0
    for number, pair in enumerate(pairs, start=1):  # noqa: B007 - used after the loop
        if isinstance(pair, NoPair) and pair.fault is not None:
            first, num_bad = first or pair, num_bad + 1
            if on_bad_row == "stop":
                raise pair.error()
        yield pair
    # A single bad row is accepted, except among few.
    allowed = max(1, int(MAX_BAD_SHARE * number)) if number >= FEW_ROWS else 0
    if first is not None and num_bad > allowed:
        raise first.error(f"{num_bad:,} of {number:,} rows can't be read, the first: " if num_bad > 1 else "")


def usable_pairs(source: Source, src_lang: str, tgt_lang: str, on_bad_row: OnBadRow = "skip") -> Iterator[Pair]:
    """The pairs of `read_pairs` without any `NoPair`. Log the number of rows that can't be read, and the variants."""
    reasons, variants = Counter[str](), Variants()
    for pair in read_pairs(source, src_lang, tgt_lang, on_bad_row, variants):
        if not isinstance(pair, NoPair):
            yield pair
        elif pair.fault is not None:
            reasons[pair.reason] += 1
    if reasons:
        counts = ", ".join(f"{count:,} {reason}" for reason, count in reasons.items())
        LOGGER.warning("%s: skipped rows: %s", reader(source).label, counts)
    for note in variants.notes():
        LOGGER.warning("%s: %s", reader(source).label, note)


def expand_folders(sources: Iterable[Source], src_lang: str, tgt_lang: str) -> tuple[Source, ...]:
    """`sources` with each folder replaced by the sources in it.

    Raises:
        UserError: see `FolderReader.parts`.
    """
    return tuple(part for source in sources for part in reader(source).parts(*source.languages(src_lang, tgt_lang)))


def is_same_text(one: Source, other: Source) -> bool:
    """Whether two sources are equal, or share a file under whatever name."""
    if one == other:
        return True
    files = product(reader(one).files(), reader(other).files())
    return any(all(map(os.path.exists, pair)) and os.path.samefile(*pair) for pair in files)


def relocated(source: Source, near: Path) -> Source:
    """Find the files of `source` again after the project was moved or copied as a whole.

    A path that no longer exists is replaced by the one at or above `near` that shares the longest end with it.

    Raises:
        UserError: there is none (DATA).
    """
    found: dict[str, Path] = {}
    for name, path in source:
        if isinstance(path, Path) and not path.exists():
            ends = (Path(*path.parts[start:]) for start in range(1, len(path.parts)))
            paths = (folder / end for end in ends for folder in (near, *near.parents))
            if (moved := next(filter(Path.exists, paths), None)) is None:
                do = "Give --src FILE and --ref FILE, or set its new path in data with mtx train."
                raise UserError(ExitCode.DATA, f"{path} is missing", where=f"recorded in {near}", do=do)
            found[name] = moved
    return source.model_copy(update=found)


class Chunk(NamedTuple):
    """Neighbouring pairs of one source."""

    source: int  # Index of the source
    pairs: list[Pair]


def in_chunks(pairs: Iterable[Pair], source: int = 0) -> Iterator[Chunk]:
    """All `pairs` of the source with this index, in order.

    Chunk borders depend on the pairs alone: preparation that continues after a kill counts chunks.
    """
    chunk: list[Pair] = []
    num_chars = 0
    for pair in pairs:
        chunk.append(pair)
        num_chars += len(pair[0]) + len(pair[1])
        if len(chunk) >= MAX_CHUNK_PAIRS or num_chars >= MAX_CHUNK_CHARS:
            yield Chunk(source, chunk)
            chunk, num_chars = [], 0
    if chunk:
        yield Chunk(source, chunk)
