"""Data sets: of the Hugging Face hub, the only source that opens a connection, or local Parquet and Arrow files.

Local tables may come from anyone, so they are found by name and read by type without `datasets`. That library follows
a data set's card and metadata, which may name other files, addresses, loaders and column types that open files.
"""

import logging
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from mtx.config.sources import HubDataset, Source
from mtx.data.sources.base import Pair, Reader, name_of
from mtx.errors import ExitCode, UserError

HUB_ID = re.compile(r"\w[\w.-]*(/\w[\w.-]*)?")  # The name of a data set, usually after its owner's
ROWS_AT_ONCE = 1000  # Rows that are in memory at a time

_SPLITS = {"train", "training", "dev", "val", "valid", "validation", "eval", "evaluation", "test", "testing"}

Rows = dict[str, list[Any]]  # Values of some rows, by column
# Columns of a split, and a function that reads some of them.
Table = tuple[Sequence[str], Callable[[list[str]], Iterator[Rows]]]


class HubReader(Reader[HubDataset]):
    settings_type = HubDataset
    suffixes = (".parquet", ".arrow")
    location = ("dataset",)

    @classmethod
    def settings_for(cls, path: Path, split: str, **options: Any) -> Source:
        return HubDataset(dataset=str(path), split=split, **options)

    @property
    def label(self) -> str:
        return " ".join(filter(None, [self.settings.dataset, self.settings.name, self.settings.split]))

    def pairs(self, src_lang: str, tgt_lang: str) -> Iterator[Pair]:
        """The pairs from the named columns, else from those of the language codes, else from a `translation` column.

        A null counts as an empty sentence.

        Raises:
            UserError: no such data set, split or column, no network, or a value that is not text (DATA).
        """
        settings, where = self.settings, f"data set {self.settings.dataset}"
        with _explain_errors(settings):
            columns, read = self._local_table() if os.path.exists(settings.dataset) else self._hub_table()
        src, tgt = settings.src or src_lang, settings.tgt or tgt_lang
        is_nested = "translation" in columns and not {src, tgt} <= set(columns)
        if not is_nested:
            src, tgt = (name_of(code, columns, where, "columns") for code in (src, tgt))
        wanted = ["translation"] if is_nested else [src, tgt]
        for number, record in enumerate(_records(read(wanted), settings), start=1):
            texts = (record["translation"] or {src: None, tgt: None}) if is_nested else record
            row = f"{where} row {number}"
            if not isinstance(texts, dict):
                what = f"translation is not a struct but {type(texts).__name__}"
                raise UserError(ExitCode.DATA, what, where=row, do="Give a struct with a text for each language.")
            yield _text(texts, src, row), _text(texts, tgt, row)

    def files(self) -> list[Path]:
        """The files of a local data set."""
        path, name = Path(self.settings.dataset), self.settings.name
        if not path.exists():
            return []
        if name is not None and (name == ".." or Path(name).name != name):
            do = "Give the name of a folder in it."
            raise UserError(ExitCode.DATA, f"no configuration {name}", where=f"data set {path}", do=do)
        return find_tables(path / (name or ""), self.settings.split)

    def check(self, src_lang: str, tgt_lang: str) -> None:
        """Read the first pair, unless the data set is on the hub."""
        if os.path.exists(self.settings.dataset) or not HUB_ID.fullmatch(self.settings.dataset):
            super().check(src_lang, tgt_lang)

    def _local_table(self) -> Table:
        files = self.files()
        return column_names(files[0]), lambda wanted: (rows for file in files for rows in read_columns(file, wanted))

    def _hub_table(self) -> Table:
        """A data set of the hub. A path that does not exist is never looked up there."""
        settings = self.settings
        if not HUB_ID.fullmatch(settings.dataset):
            do = "Give a folder that exists, or a hub id (owner/name)."
            raise UserError(ExitCode.DATA, f"no data set at {settings.dataset}", do=do)
        from datasets import load_dataset

        with _quiet():
            rows = load_dataset(settings.dataset, settings.name, split=settings.split, streaming=settings.streaming)
            # A stream may not know its columns before its first row.
            columns = rows.column_names or list(next(iter(rows), {}))
        return columns, lambda wanted: rows.select_columns(wanted).iter(batch_size=ROWS_AT_ONCE)


def _records(chunks: Iterator[Rows], settings: HubDataset) -> Iterator[dict[str, Any]]:
    with _explain_errors(settings):
        for chunk in chunks:
            for values in zip(*chunk.values(), strict=True):
                yield dict(zip(chunk, values, strict=True))


def _text(texts: dict[str, Any], name: str, where: str) -> str:
    value = texts[name_of(name, texts, where, "languages")]
    if not isinstance(value, str | None):
        what = f"{name} is not text but {type(value).__name__}"
        raise UserError(ExitCode.DATA, what, where=where, do="Set src and tgt of the source to columns of text.")
    return value or ""


@contextmanager
def _explain_errors(settings: HubDataset) -> Iterator[None]:
    """Turn whatever the libraries raise for a data set into one line for the user."""
    try:
        yield
    except (UserError, MemoryError):
        raise
    except ConnectionError as error:
        what = f"cannot reach the data set {settings.dataset} on the hub"
        do = "Connect to the network and check the id, or give a local folder."
        raise UserError(ExitCode.DATA, what, do=do) from error
    except Exception as error:
        reason = " ".join(str(error).split()).rstrip(".")[:300]
        is_script = "scripts are no longer supported" in reason
        do = "Give a data set of Parquet files: scripts are not run." if is_script else "Check its id, name and split."
        raise UserError(ExitCode.DATA, f"cannot load the data set {settings.dataset}: {reason}", do=do) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep progress bars and messages of the libraries off stderr; our own error says what matters."""
    import datasets

    were_off, level = datasets.are_progress_bars_disabled(), logging.root.manager.disable
    datasets.disable_progress_bars()
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(level)
        if not were_off:
            datasets.enable_progress_bars()


# --- Parquet and Arrow files -----------------------------------------------------------------------------------------


def find_tables(path: Path, split: str) -> list[Path]:
    """The file `path`, or the files of a split in the folder `path`, sorted by name.

    A file belongs to the split that is a word of its name or of a folder above it: `test-00000-of-00001.parquet`,
    `test/data.arrow`. Files that name no split belong to train.

    Raises:
        UserError: there are none (DATA).
    """
    if path.is_file():
        if path.suffix not in HubReader.suffixes:
            do = "Use the source tsv or jsonl, or src and tgt, for a file of text."
            raise UserError(ExitCode.DATA, f"{path} is neither .parquet nor .arrow", do=do)
        return [path]
    tables = {
        file: set(re.split(r"[^A-Za-z0-9]+", str(file.with_suffix(""))))
        for file in sorted(found.relative_to(path) for found in path.rglob("*") if found.is_file())
        # `datasets` keeps computed columns of a saved data set beside it, as cache-*.arrow.
        if file.suffix in HubReader.suffixes and not file.name.startswith("cache-")
        if not any(part.startswith(".") for part in file.parts)
    }
    chosen = [file for file, words in tables.items() if split in words]
    if split == "train" and not chosen:
        chosen = [file for file, words in tables.items() if not _SPLITS & words]
    if not chosen:
        names = ", ".join(map(str, list(tables)[:5])) + (", …" if len(tables) > 5 else "")
        what = f"no files of the split {split}, only {names}" if tables else "no .parquet or .arrow files"
        do = "Set its split to a word of their names." if tables else "Give a folder or a file of Parquet or Arrow."
        raise UserError(ExitCode.DATA, what, where=f"data set {path}", do=do)
    return [path / file for file in chosen]


def column_names(path: Path) -> list[str]:
    """The columns of a file."""
    with path.open("rb") as file:
        return [str(name) for name in _open_table(file, path.suffix)[0].names]


def read_columns(path: Path, columns: list[str]) -> Iterator[Rows]:
    """The values of a file, up to `ROWS_AT_ONCE` rows at a time."""
    with path.open("rb") as file:
        for batch in _open_table(file, path.suffix, columns)[1]:
            # Without this, reading trusts the offsets of texts that the file gives.
            batch.validate(full=True)
            for start in range(0, len(batch), ROWS_AT_ONCE):
                rows = batch.slice(start, ROWS_AT_ONCE)
                yield {name: rows.column(name).to_pylist() for name in columns}


def _open_table(file: BinaryIO, suffix: str, columns: list[str] | None = None) -> tuple[Any, Iterator[Any]]:
    """Schema and batches of a file. Of an Arrow file, which may have either form, batches have all columns."""
    if suffix == ".parquet":
        import pyarrow.parquet

        table = pyarrow.parquet.ParquetFile(file)
        return table.schema_arrow, table.iter_batches(ROWS_AT_ONCE, columns=columns)
    import pyarrow.ipc

    try:
        stream = pyarrow.ipc.open_stream(file)  # written by `datasets`
        return stream.schema, iter(stream)
    except pyarrow.ArrowInvalid:
        file.seek(0)
        table = pyarrow.ipc.open_file(file)
        return table.schema, map(table.get_batch, range(table.num_record_batches))
