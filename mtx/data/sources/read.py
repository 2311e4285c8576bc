"""The readers of all kinds of sources."""

import os
from collections.abc import Iterable, Iterator
from typing import Any

from mtx.config.sources import Source, SourceSettings
from mtx.data.sources.base import Pair, Reader
from mtx.data.sources.demo import DemoReader
from mtx.data.sources.folder import FolderReader
from mtx.data.sources.hub import HubReader
from mtx.data.sources.jsonl import JsonlReader
from mtx.data.sources.tmx import TmxReader
from mtx.data.sources.tsv import TsvReader
from mtx.data.sources.two_files import TwoFilesReader
from mtx.data.sources.zip import ZipReader

READERS: dict[type[SourceSettings], type[Reader[Any]]] = {
    kind.settings_type: kind
    for kind in (TwoFilesReader, TsvReader, JsonlReader, TmxReader, ZipReader, FolderReader, HubReader, DemoReader)
}
"""The reader of each kind of settings."""


def reader(source: Source) -> Reader[Any]:
    """The reader of one source."""
    return READERS[type(source)](source)


def read_pairs(source: Source, src_lang: str, tgt_lang: str) -> Iterator[Pair]:
    """All (source, target) pairs of `source` in order.

    Raises:
        UserError: a file is missing, damaged or not in the expected form (DATA).
    """
    return reader(source).pairs(src_lang, tgt_lang)


def expand_folders(sources: Iterable[Source], src_lang: str, tgt_lang: str) -> tuple[Source, ...]:
    """`sources` with each folder replaced by the sources in it.

    Raises:
        UserError: see `FolderReader.parts`.
    """
    return tuple(part for source in sources for part in reader(source).parts(src_lang, tgt_lang))


def is_same_text(one: Source, other: Source) -> bool:
    """Whether two sources are equal, or share a file under whatever name."""
    return one == other or any(
        os.path.exists(path) and os.path.exists(other_path) and os.path.samefile(path, other_path)
        for path in reader(one).files()
        for other_path in reader(other).files()
    )
