"""Pairs from data sets: those of the Hugging Face hub, the only source that opens a connection, and local tables."""

import logging
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mtx.config.sources import HubDataset
from mtx.data.sources.tables import ROWS_AT_ONCE, column_names, find_tables, read_columns
from mtx.errors import ExitCode, UserError

HUB_ID = re.compile(r"\w[\w.-]*(/\w[\w.-]*)?")
"""A name, mostly with its owner before it."""

Rows = dict[str, list[Any]]
"""The values of some rows, by column."""


@dataclass(frozen=True, slots=True)
class _Table:
    """A split of a data set."""

    columns: Sequence[str]
    read: Callable[[list[str]], Iterator[Rows]]
    """Groups of rows, of these columns."""


def read_hub(source: HubDataset, src_lang: str, tgt_lang: str) -> Iterator[tuple[str, str]]:
    """The pairs of a data set, from the columns named, else those of the language codes, else a `translation` column.

    A null counts as an empty sentence.

    Raises:
        UserError: (DATA) no such data set, split or column, no network, a value that is no text.
    """
    with _errors_explained(source):
        path = Path(source.dataset)
        table = _local_table(path, source) if os.path.exists(path) else _hub_table(source)
    src, tgt = source.src or src_lang, source.tgt or tgt_lang
    is_nested = "translation" in table.columns and not {src, tgt} <= set(table.columns)
    wanted = ["translation"] if is_nested else [src, tgt]
    for name in wanted:
        if name not in table.columns:
            do = f"Set src and tgt of the source to two of its columns: {', '.join(table.columns) or 'none'}."
            raise UserError(ExitCode.DATA, f"no column {name}", where=f"data set {source.dataset}", do=do)
    for number, record in enumerate(_records(table.read(wanted), source), start=1):
        where = f"data set {source.dataset} row {number}"
        texts = (record["translation"] or {src: None, tgt: None}) if is_nested else record
        if not isinstance(texts, dict):
            what, do = f"translation is no struct but {type(texts).__name__}", "Give one with a text for each language."
            raise UserError(ExitCode.DATA, what, where=where, do=do)
        yield _text(texts, src, where), _text(texts, tgt, where)


def local_files(source: HubDataset) -> list[Path]:
    """The files of a data set that lies here; none where it does not."""
    path = Path(source.dataset)
    return _local_tables(path, source) if os.path.exists(path) else []


def check_hub(source: HubDataset, src_lang: str, tgt_lang: str) -> None:
    """Read the first pair of a data set, unless it lies on the hub.

    Raises:
        UserError: (DATA) see `read_hub`.
    """
    if os.path.exists(source.dataset) or not HUB_ID.fullmatch(source.dataset):
        next(read_hub(source, src_lang, tgt_lang), None)


def _records(groups: Iterator[Rows], source: HubDataset) -> Iterator[dict[str, Any]]:
    with _errors_explained(source):
        for group in groups:
            for values in zip(*group.values(), strict=True):
                yield dict(zip(group, values, strict=True))


def _text(texts: dict[str, Any], name: str, where: str) -> str:
    if name not in texts:
        do = f"Set src and tgt of the source to two of its languages: {', '.join(texts)}."
        raise UserError(ExitCode.DATA, f"no language {name}", where=where, do=do)
    value = texts[name]
    if not isinstance(value, str | None):
        what = f"{name} is no text but {type(value).__name__}"
        raise UserError(ExitCode.DATA, what, where=where, do="Set src and tgt of the source to columns of text.")
    return value or ""


# --- open ------------------------------------------------------------------------------------------------------------


def _local_table(path: Path, source: HubDataset) -> _Table:
    files = _local_tables(path, source)
    return _Table(
        column_names(files[0]), lambda wanted: (rows for file in files for rows in read_columns(file, wanted))
    )


def _local_tables(path: Path, source: HubDataset) -> list[Path]:
    if source.name is not None and (source.name == ".." or Path(source.name).name != source.name):
        do = "Give the name of a folder in it."
        raise UserError(ExitCode.DATA, f"no configuration {source.name}", where=f"data set {path}", do=do)
    return find_tables(path / (source.name or ""), source.split)


def _hub_table(source: HubDataset) -> _Table:
    """A data set of the hub; a path that does not exist is never looked up there."""
    if not HUB_ID.fullmatch(source.dataset):
        do = "Give a folder that exists, or a hub id (owner/name)."
        raise UserError(ExitCode.DATA, f"no data set at {source.dataset}", do=do)
    import datasets

    with _quiet():
        rows = datasets.load_dataset(source.dataset, source.name, split=source.split, streaming=source.streaming)
        # A stream that does not know its columns beforehand looks at its first row.
        columns = rows.column_names or list(next(iter(rows), {}))
    return _Table(columns, lambda wanted: rows.select_columns(wanted).iter(batch_size=ROWS_AT_ONCE))


@contextmanager
def _errors_explained(source: HubDataset) -> Iterator[None]:
    """Turn what the libraries raise of a data set, each in its own way, into one line for the user."""
    try:
        yield
    except (UserError, MemoryError):
        raise
    except ConnectionError as error:
        what = f"cannot reach the data set {source.dataset} on the hub"
        do = "Connect to the network and check the id, or give a local folder."
        raise UserError(ExitCode.DATA, what, do=do) from error
    except Exception as error:
        reason = " ".join(str(error).split()).rstrip(".")[:300]
        is_script = "scripts are no longer supported" in reason
        do = "Give a data set of Parquet files: scripts are not run." if is_script else "Check its id, name and split."
        raise UserError(ExitCode.DATA, f"cannot load the data set {source.dataset}: {reason}", do=do) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the progress bars and the notes of the libraries off stderr: what matters of them is in our error."""
    import datasets

    were_off = datasets.are_progress_bars_disabled()
    loggers = [logging.getLogger(name) for name in ("datasets", "huggingface_hub")]
    levels = [logger.level for logger in loggers]
    datasets.disable_progress_bars()
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
        if not were_off:
            datasets.enable_progress_bars()
