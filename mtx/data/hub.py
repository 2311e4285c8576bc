"""Pairs from what Hugging Face `datasets` loads: hub ids, local folders and files. All that may open a connection."""

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mtx.config.settings import HubDataset
from mtx.errors import ExitCode, UserError

ROWS_AT_ONCE = 1000

_HUB_ID = re.compile(r"\w[\w.-]*(/\w[\w.-]*)?")


def read_hub(source: HubDataset, src_lang: str, tgt_lang: str) -> Iterator[tuple[str, str]]:
    """The pairs of a data set, from the columns named, else those of the language codes, else a `translation` column.

    A null counts as an empty sentence.

    Raises:
        UserError: (DATA) no such data set, split or column, no network, a value that is no text.
    """
    with _errors_explained(source), _quiet():
        rows = _load(source)
        columns = rows.column_names or list(next(iter(rows), {}))
    src, tgt = source.src or src_lang, source.tgt or tgt_lang
    is_nested = "translation" in columns and not {src, tgt} <= set(columns)
    for name in ["translation"] if is_nested else [src, tgt]:
        if name not in columns:
            do = f"Set src and tgt of the source to two of its columns: {', '.join(columns) or 'none'}."
            raise UserError(ExitCode.DATA, f"no column {name}", where=f"data set {source.dataset}", do=do)
    for number, record in enumerate(_records(rows, source, ["translation"] if is_nested else [src, tgt]), start=1):
        texts = (record["translation"] or {src: None, tgt: None}) if is_nested else record
        where = f"data set {source.dataset} row {number}"
        yield _text(texts, src, where), _text(texts, tgt, where)


def _records(rows: Any, source: HubDataset, columns: list[str]) -> Iterator[dict[str, Any]]:
    with _errors_explained(source):
        for group in rows.select_columns(columns).iter(batch_size=ROWS_AT_ONCE):
            for values in zip(*(group[column] for column in columns), strict=True):
                yield dict(zip(columns, values, strict=True))


def _text(texts: dict[str, Any], name: str, where: str) -> str:
    if name not in texts:
        do = f"Set src and tgt of the source to two of its languages: {', '.join(texts)}."
        raise UserError(ExitCode.DATA, f"no language {name}", where=where, do=do)
    value = texts[name]
    if not isinstance(value, str | None):
        what = f"{name} is no text but {type(value).__name__}"
        raise UserError(ExitCode.DATA, what, where=where, do="Set src and tgt of the source to columns of text.")
    return value or ""


# --- load ------------------------------------------------------------------------------------------------------------


def _load(source: HubDataset) -> Any:
    """The split of the data set that `source` names; a path that does not exist is never looked up on the hub."""
    import datasets

    path = Path(source.dataset)
    if not path.exists():
        if not _HUB_ID.fullmatch(source.dataset):
            do = "Give a folder that exists, or a hub id (owner/name)."
            raise UserError(ExitCode.DATA, f"no data set at {path}", do=do)
        return datasets.load_dataset(source.dataset, source.name, split=source.split)
    if (path / "state.json").exists():
        return datasets.load_from_disk(str(path))
    if (path / "dataset_dict.json").exists():
        splits = datasets.load_from_disk(str(path))
        if source.split not in splits:
            raise ValueError(f"Bad split: {source.split}. Available splits: {list(splits)}")
        return splits[source.split]
    # Streaming reads the files themselves, where `datasets` may else answer from a copy made before they changed.
    if path.is_dir():
        return datasets.load_dataset(str(path), source.name, split=source.split, streaming=True)
    if path.suffix not in (".parquet", ".arrow"):
        do = "Use the source tsv or jsonl, or src and tgt, for a file of text."
        raise UserError(ExitCode.DATA, f"{path} is neither .parquet nor .arrow", do=do)
    return datasets.load_dataset(path.suffix[1:], data_files=str(path), split=source.split, streaming=True)


@contextmanager
def _errors_explained(source: HubDataset) -> Iterator[None]:
    """Turn what `datasets` raises into one line for the user."""
    from datasets.exceptions import DatasetsError

    try:
        yield
    except ConnectionError as error:
        what = f"cannot reach the data set {source.dataset} on the hub"
        do = "Connect to the network and check the id, or give a local folder."
        raise UserError(ExitCode.DATA, what, do=do) from error
    except (OSError, ValueError, RuntimeError, DatasetsError) as error:
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
