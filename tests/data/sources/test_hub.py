"""Data sets of the hub read as they go: the same pairs as from a copy, as few of them as are asked for."""

from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import datasets
import pytest

from mtx.config.settings import CleanSettings, DataSettings, TokenizerSettings
from mtx.config.sources import HubDataset
from mtx.data.prepared.prepare import prepare
from mtx.data.sources.hub import ROWS_AT_ONCE
from mtx.data.sources.read import read_pairs
from mtx.errors import ExitCode, UserError
from mtx.text.train_tokenizer import train_tokenizer

PAIRS = [(f"the dog {number}", f"der Hund {number}") for number in range(2 * ROWS_AT_ONCE + 7)]
COLUMNS = {"de": [tgt for _, tgt in PAIRS], "more": [0] * len(PAIRS), "en": [src for src, _ in PAIRS]}
NESTED = {"id": list(range(len(PAIRS))), "translation": [{"en": src, "de": tgt} for src, tgt in PAIRS]}

Serve = Callable[[dict[str, list[Any]]], None]


@pytest.fixture
def serve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Serve:
    """Let the hub have a data set owner/name of these columns, which lies in two Parquet files here."""
    monkeypatch.setenv("MTX_CACHE", str(tmp_path / "cache"))
    load = datasets.load_dataset

    def serve(columns: dict[str, list[Any]]) -> None:
        rows = datasets.Dataset.from_dict(columns)
        half = len(rows) // 2
        files = [str(tmp_path / f"{name}.parquet") for name in "ab"]
        rows.select(range(half)).to_parquet(files[0])
        rows.select(range(half, len(rows))).to_parquet(files[1])

        def load_from_here(dataset: str, name: str | None, *, split: str, streaming: bool) -> Any:
            assert (dataset, name, split) == ("owner/name", None, "train")
            return load("parquet", data_files=files, split=split, streaming=streaming, cache_dir=str(tmp_path / "hub"))

        monkeypatch.setattr(datasets, "load_dataset", load_from_here)

    return serve


def source(*, streaming: bool, **options: Any) -> HubDataset:
    return HubDataset(dataset="owner/name", streaming=streaming, **options)


@pytest.mark.parametrize("columns", [COLUMNS, NESTED], ids=["columns", "nested"])
def test_a_stream_gives_the_pairs_of_a_copy(serve: Serve, columns: dict[str, list[Any]], tmp_path: Path) -> None:
    serve(columns)
    streamed = list(read_pairs(source(streaming=True), "en", "de"))
    assert list(tmp_path.glob("hub/**/*.arrow")) == [], "a stream keeps nothing"
    assert streamed == list(read_pairs(source(streaming=False), "en", "de")) == PAIRS
    assert list(tmp_path.glob("hub/**/*.arrow")) != []


def test_a_stream_gives_the_columns_that_are_named(serve: Serve) -> None:
    serve({"one": COLUMNS["en"], "other": COLUMNS["de"], "en": [""] * len(PAIRS)})
    assert list(read_pairs(source(streaming=True, src="one", tgt="other"), "en", "de")) == PAIRS


def test_how_a_data_set_is_read_does_not_decide_what_is_prepared(serve: Serve) -> None:
    serve(COLUMNS)
    texts = [src for src, _ in PAIRS[:50]]
    tokenizer = train_tokenizer(texts, texts, TokenizerSettings(vocab_size=60, byte_fallback=False), print)
    corpora = []
    for streaming in (False, True):
        settings = DataSettings(train=(source(streaming=streaming),))
        corpora.append(prepare(settings.train, settings, CleanSettings(), tokenizer))
    assert corpora[0].key == corpora[1].key
    assert len(corpora[1]) == len(PAIRS)


def rows_of(num_rows: int, taken: list[int]) -> Iterator[dict[str, str]]:
    for number in range(num_rows):
        taken.append(number)
        yield {"en": f"dog {number}", "de": f"Hund {number}"}


def test_a_stream_without_a_list_of_columns_is_read_only_as_far_as_it_is_needed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    taken: list[int] = []
    stream = datasets.IterableDataset.from_generator(lambda: rows_of(10 * ROWS_AT_ONCE, taken))
    assert stream.column_names is None
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: stream)
    pairs = list(islice(read_pairs(source(streaming=True), "en", "de"), 3))
    assert pairs == [("dog 0", "Hund 0"), ("dog 1", "Hund 1"), ("dog 2", "Hund 2")]
    assert max(taken) < 2 * ROWS_AT_ONCE


@pytest.mark.parametrize(
    ("stream", "message"),
    [
        (lambda: iter(()), "no column en .*: none"),
        (lambda: iter([{"a": "x", "b": "y"}]), "no column en .*: a, b"),
        (lambda: iter([{"en": "x", "de": 5}]), "row 1.*|de is not text but int"),
    ],
)
def test_a_stream_that_does_not_fit_is_an_error_of_the_data(
    stream: Callable[[], Iterator[Any]], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    streamed = datasets.IterableDataset.from_generator(stream)
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: streamed)
    with pytest.raises(UserError, match=message) as caught:
        list(read_pairs(source(streaming=True), "en", "de"))
    assert caught.value.code == ExitCode.DATA


def test_a_connection_that_breaks_in_the_middle_is_an_error_of_the_data(monkeypatch: pytest.MonkeyPatch) -> None:
    """Never a corpus that is shorter."""

    def breaking() -> Iterator[dict[str, str]]:
        yield from rows_of(ROWS_AT_ONCE + 5, [])
        raise ConnectionError("gone")

    streamed = datasets.IterableDataset.from_generator(breaking)
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: streamed)
    pairs = read_pairs(source(streaming=True), "en", "de")
    assert len(list(islice(pairs, ROWS_AT_ONCE))) == ROWS_AT_ONCE
    with pytest.raises(UserError, match="cannot reach the data set owner/name") as caught:
        list(pairs)
    assert caught.value.code == ExitCode.DATA
