"""Pairs from what Hugging Face `datasets` loads: hub ids, local folders and files. All that may open a connection."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mtx.config.settings import HubDataset
from mtx.errors import ExitCode, UserError

ROWS_AT_ONCE = 1000


def read_hub(source: HubDataset, src_lang: str, tgt_lang: str) -> Iterator[tuple[str, str]]:
    """The pairs of a data set, from the columns named, else those of the language codes, else a `translation` column.

    A null counts as an empty sentence.

    Raises:
        UserError: (DATA) no such data set, split or column, no network, a value that is no text.
    """
    with _quiet():
        rows = _load(source)
    columns = rows.column_names
    src, tgt = source.src or src_lang, source.tgt or tgt_lang
    nested = "translation" in columns and not (source.src or source.tgt) and not {src, tgt} <= set(columns)
    for name in ["translation"] if nested else [src, tgt]:
        if name not in columns:
            do = f"Set src and tgt of the source to two of its columns: {', '.join(columns)}."
            raise UserError(ExitCode.DATA, f"no column {name}", where=f"data set {source.dataset}", do=do)
    rows = rows.select_columns(["translation"] if nested else sorted({src, tgt}))
    number = 0
    for group in rows.iter(batch_size=ROWS_AT_ONCE):
        records = (
            group["translation"] if nested else [{src: s, tgt: t} for s, t in zip(group[src], group[tgt], strict=True)]
        )
        for record in records:
            number += 1
            where = f"data set {source.dataset} row {number}"
            yield _text(record, src, where), _text(record, tgt, where)


def _text(record: dict[str, Any] | None, name: str, where: str) -> str:
    value = (record or {}).get(name)
    if value is None and (record is None or name in record):
        return ""
    if not isinstance(value, str):
        what = f"no text for {name} but {type(value).__name__}"
        raise UserError(ExitCode.DATA, what, where=where, do="Set src and tgt of the source to columns of text.")
    return value


def _load(source: HubDataset) -> Any:
    """The split of the data set that `source` names; a path that does not exist is never looked up on the hub."""
    import datasets

    path = Path(source.dataset)
    if not path.exists() and (path.is_absolute() or source.dataset.startswith((f".{os.sep}", f"..{os.sep}"))):
        raise UserError(
            ExitCode.DATA, f"no data set at {path}", do="Give a folder that exists, or a hub id (owner/name)."
        )
    try:
        if path.is_file():
            return datasets.load_dataset(_format(path), data_files=str(path), split=source.split)
        if (path / "state.json").exists():
            return datasets.load_from_disk(str(path))
        if (path / "dataset_dict.json").exists():
            return _split(datasets.load_from_disk(str(path)), source)
        return datasets.load_dataset(source.dataset, source.name, split=source.split)
    except ConnectionError as error:
        what = f"cannot reach the data set {source.dataset} on the hub"
        do = "Connect to the network and check the id, or give a local folder."
        raise UserError(ExitCode.DATA, what, do=do) from error
    except (OSError, ValueError, RuntimeError, datasets.exceptions.DatasetsError) as error:
        reason = " ".join(str(error).split()).rstrip(".")[:300]
        do = (
            "Use a data set of Parquet, Arrow or JSON files."
            if "scripts" in reason
            else "Check its id, name and split."
        )
        raise UserError(ExitCode.DATA, f"cannot load the data set {source.dataset}: {reason}", do=do) from error


def _split(splits: Any, source: HubDataset) -> Any:
    if source.split not in splits:
        raise ValueError(f'Unknown split "{source.split}". Should be one of {list(splits)}')
    return splits[source.split]


def _format(path: Path) -> str:
    """The builder of `datasets` for a single file."""
    if path.suffix not in (".parquet", ".arrow"):
        raise UserError(
            ExitCode.DATA,
            f"{path} is neither Parquet nor Arrow",
            do="Use the sources tsv, jsonl or src and tgt for text.",
        )
    return path.suffix[1:]


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the progress bars and the retry notes of the libraries off stderr."""
    import datasets

    shown = not datasets.are_progress_bars_disabled()
    hub = logging.getLogger("huggingface_hub")
    level = hub.level
    datasets.disable_progress_bars()
    hub.setLevel(logging.ERROR)
    try:
        yield
    finally:
        hub.setLevel(level)
        if shown:
            datasets.enable_progress_bars()
