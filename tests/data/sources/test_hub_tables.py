"""File names and types alone decide how a folder of tables is read; its scripts, cards and metadata are ignored."""

import json
import os
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet
import pytest

from mtx.config.sources import HubDataset
from mtx.data.sources.hub import column_names, find_tables, read_columns
from mtx.data.sources.read import read_pairs
from mtx.errors import ExitCode, UserError


def write_table(path: Path, *texts: str, metadata: dict[str, str] | None = None) -> Path:
    """Write a Parquet or Arrow file: `texts` in column en, the same in capitals in column de."""
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.table({"en": list(texts), "de": [text.upper() for text in texts]})
    if metadata is not None:
        table = table.replace_schema_metadata(metadata)
    if path.suffix == ".parquet":
        pyarrow.parquet.write_table(table, path)
    else:
        with pa.ipc.new_file(str(path), table.schema) as file:
            file.write_table(table)
    return path


def pairs(path: Path, **more: Any) -> list[tuple[str, str]]:
    return list(read_pairs(HubDataset(dataset=str(path), **more), "en", "de"))


CARD = """---
configs:
- config_name: default
  data_files: [{split: train, path: [/etc/passwd, "https://example.org/x.parquet", "../secret.parquet"]}]
dataset_info: !!python/object/apply:os.system ["touch canary"]
---
"""
IMAGES = {"info": {"features": {name: {"_type": "Image"} for name in ("en", "de")}}}


def test_nothing_beside_the_tables_decides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("load_dataset", "load_from_disk"):
        monkeypatch.setattr(datasets, name, lambda *_, **__: pytest.fail("asked `datasets`"))
    write_table(tmp_path / "secret.parquet", "secret")
    write_table(tmp_path / "secret.arrow", "secret")
    folder = tmp_path / "data"
    write_table(folder / "a.parquet", "one", metadata={"huggingface": json.dumps(IMAGES)})
    write_table(folder / "b.arrow", "two", metadata={"huggingface": json.dumps(IMAGES)})
    for name in ("README.md", ".huggingface.yaml", "dataset_infos.json", "data.py", "__init__.py"):
        (folder / name).write_text(CARD)
    (folder / "state.json").write_text('{"_data_files": [{"filename": "../secret.arrow"}]}')
    (folder / "dataset_dict.json").write_text('{"splits": ["train"]}')
    write_table(folder / "cache-0123.arrow", "computed")
    write_table(folder / ".cache" / "c.parquet", "hidden")
    os.mkfifo(folder / "pipe.parquet")
    (folder / "folder.parquet").mkdir()
    assert pairs(folder) == [("one", "ONE"), ("two", "TWO")]
    assert not (tmp_path / "canary").exists()


@pytest.mark.parametrize(
    ("files", "split", "found"),
    [
        (["a.parquet", "b.arrow"], "train", ["a.parquet", "b.arrow"]),
        (["train-1.parquet", "train-0.parquet", "test.parquet"], "train", ["train-0.parquet", "train-1.parquet"]),
        (["train.parquet", "test.parquet"], "test", ["test.parquet"]),
        (["data/test/x.arrow", "data/train/x.arrow"], "test", ["data/test/x.arrow"]),
        (["a.parquet", "validation.parquet"], "train", ["a.parquet"]),
        (["a.parquet", "pronouns.parquet"], "pronouns", ["pronouns.parquet"]),
        (["contest.parquet"], "train", ["contest.parquet"]),
        (["a.parquet"], "test", None),
        (["test.parquet"], "train", None),
        (["x.csv"], "train", None),
    ],
)  # fmt: skip
def test_a_split_is_a_word_of_the_names(files: list[str], split: str, found: list[str] | None, tmp_path: Path) -> None:
    for name in files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    if found is None:
        with pytest.raises(UserError, match=r"no files of the split|no \.parquet or \.arrow files") as caught:
            find_tables(tmp_path, split)
        assert caught.value.code == ExitCode.DATA
    else:
        assert find_tables(tmp_path, split) == [tmp_path / name for name in found]


def test_a_name_is_a_folder_in_the_data_set(tmp_path: Path) -> None:
    write_table(tmp_path / "data" / "de-en" / "train.parquet", "one")
    write_table(tmp_path / "secret" / "train.parquet", "secret")
    assert pairs(tmp_path / "data", name="de-en") == [("one", "ONE")]
    for name in ("..", "../secret", str(tmp_path / "secret"), "missing", "n" * 300):
        with pytest.raises(UserError) as caught:
            pairs(tmp_path / "data", name=name)
        assert caught.value.code == ExitCode.DATA


@pytest.mark.parametrize("suffix", ["parquet", "arrow"])
def test_large_tables_come_in_groups(suffix: str, tmp_path: Path) -> None:
    texts = [f"text {number}" for number in range(2500)]
    path = write_table(tmp_path / f"a.{suffix}", *texts)
    assert column_names(path) == ["en", "de"]
    groups = list(read_columns(path, ["en"]))
    assert [len(group["en"]) for group in groups] == [1000, 1000, 500]
    assert [text for group in groups for text in group["en"]] == texts


@pytest.mark.parametrize("suffix", ["parquet", "arrow"])
def test_a_damaged_table_is_one_line(suffix: str, tmp_path: Path) -> None:
    whole = write_table(tmp_path / f"a.{suffix}", "one", "two" * 50).read_bytes()
    for damaged in (b"", whole[:40], whole[:-9], bytes(len(whole))):
        (tmp_path / f"a.{suffix}").write_bytes(damaged)
        with pytest.raises(UserError, match=r"^cannot load the data set .*\.$") as caught:
            pairs(tmp_path / f"a.{suffix}")
        assert caught.value.code == ExitCode.DATA
        assert "\n" not in str(caught.value)


def test_places_of_texts_beyond_the_file_are_refused(tmp_path: Path) -> None:
    path = write_table(tmp_path / "a.arrow", "x" * 1000)
    head, offsets, texts = path.read_bytes().rpartition(bytes(4) + (1000).to_bytes(4, "little"))
    assert offsets
    path.write_bytes(head + bytes(4) + (1010).to_bytes(4, "little") + texts)
    with pytest.raises(UserError, match="cannot load the data set"):
        pairs(path)


@pytest.mark.parametrize("error", [KeyError("x"), TypeError("a\nb"), NotImplementedError("x"), AttributeError("x")])
def test_whatever_a_library_raises_is_one_line(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise error

    monkeypatch.setattr("mtx.data.sources.hub.column_names", fail)
    path = write_table(tmp_path / "a.parquet", "x")
    with pytest.raises(UserError, match="cannot load the data set") as caught:
        pairs(path)
    assert caught.value.code == ExitCode.DATA
    assert "\n" not in str(caught.value)
