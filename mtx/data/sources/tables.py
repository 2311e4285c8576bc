"""Parquet and Arrow files of anyone: found by their names, read by their type. Nothing beside them is looked at.

A data set's card or its own notes could name other files, addresses and loaders, and types of columns that open what
their values name. So `datasets` is not asked, which follows these.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from mtx.errors import ExitCode, UserError

SUFFIXES = (".parquet", ".arrow")
ROWS_AT_ONCE = 1000

_SPLITS = {"train", "training", "dev", "val", "valid", "validation", "eval", "evaluation", "test", "testing"}


def find_tables(path: Path, split: str) -> list[Path]:
    """The file `path`, or the files in the folder `path` that are of `split`, in the order of their names.

    A file is of a split that is a word of its name or of a folder's above it: `test-00000-of-00001.parquet`,
    `test/data.arrow`. Those that name none are of train.

    Raises:
        UserError: (DATA) there are none.
    """
    if path.is_file():
        if path.suffix not in SUFFIXES:
            do = "Use the source tsv or jsonl, or src and tgt, for a file of text."
            raise UserError(ExitCode.DATA, f"{path} is neither .parquet nor .arrow", do=do)
        return [path]
    found = [file.relative_to(path) for file in sorted(path.rglob("*")) if _is_table(file, path)]
    chosen = [file for file in found if split in _words(file)]
    if split == "train" and not chosen:
        chosen = [file for file in found if not _SPLITS & _words(file)]
    if not chosen:
        names = ", ".join(map(str, found[:5])) + (", …" if len(found) > 5 else "")
        what = f"no files of the split {split}, only {names}" if found else "no .parquet or .arrow files"
        do = "Set its split to a word of their names." if found else "Give a folder or a file of Parquet or Arrow."
        raise UserError(ExitCode.DATA, what, where=f"data set {path}", do=do)
    return [path / file for file in chosen]


def column_names(path: Path) -> list[str]:
    """The columns of a file."""
    with path.open("rb") as file:
        schema = _parquet(file).schema_arrow if path.suffix == ".parquet" else _arrow(file).schema
        return [str(name) for name in schema.names]


def read_columns(path: Path, columns: Sequence[str]) -> Iterator[dict[str, list[Any]]]:
    """Groups of rows of a file: their values by column."""
    with path.open("rb") as file:
        batches = (
            _parquet(file).iter_batches(ROWS_AT_ONCE, columns=list(columns))
            if path.suffix == ".parquet"
            else _arrow_batches(file)
        )
        for batch in batches:
            # All else believes what a file says of the places where its texts lie.
            batch.validate(full=True)
            for start in range(0, len(batch), ROWS_AT_ONCE):
                rows = batch.slice(start, ROWS_AT_ONCE)
                yield {name: rows.column(name).to_pylist() for name in columns}


def _parquet(file: BinaryIO) -> Any:
    import pyarrow.parquet

    return pyarrow.parquet.ParquetFile(file)


def _arrow(file: BinaryIO) -> Any:
    """A reader of either form of Arrow file: `datasets` writes streams."""
    import pyarrow.ipc

    try:
        return pyarrow.ipc.open_stream(file)
    except pyarrow.ArrowInvalid:
        file.seek(0)
        return pyarrow.ipc.open_file(file)


def _arrow_batches(file: BinaryIO) -> Iterator[Any]:
    reader = _arrow(file)
    if hasattr(reader, "num_record_batches"):
        return (reader.get_batch(number) for number in range(reader.num_record_batches))
    return iter(reader)


def _is_table(file: Path, folder: Path) -> bool:
    # What `datasets` computed from a saved data set it keeps beside it, as cache-*.arrow.
    is_hidden = any(part.startswith(".") for part in file.relative_to(folder).parts)
    return file.suffix in SUFFIXES and not file.name.startswith("cache-") and not is_hidden and file.is_file()


def _words(file: Path) -> set[str]:
    return set(re.split(r"[^A-Za-z0-9]+", str(file.with_suffix(""))))
