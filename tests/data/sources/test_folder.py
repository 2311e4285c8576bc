"""A folder of files: each is read by its name, none is left out in silence."""

import gzip
import logging
from pathlib import Path

import datasets
import pytest

from mtx.config.sources import Csv, Folder, HubDataset, Jsonl, Source, Tmx, Tsv, TwoFiles, Zip
from mtx.data.sources.read import expand_folders, is_same_text, read_pairs, reader
from mtx.errors import ExitCode, UserError


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")


def test_every_kind_of_file_by_its_name(tmp_path: Path) -> None:
    names = ["a.tsv.gz", "b.jsonl", "c.tmx", "d.zip", "e.parquet", "f.en", "f.de.xz", "g-h.i.en.zst", "g-h.i.de"]
    touch(tmp_path, *names, ".hidden.tsv", "below/j.tsv")
    found = reader(Folder(folder=tmp_path, weight=2.0, tag="x")).parts("en", "de")
    kinds: list[Source] = [
        Tsv(tsv=tmp_path / "a.tsv.gz"),
        Jsonl(jsonl=tmp_path / "b.jsonl"),
        Tmx(tmx=tmp_path / "c.tmx"),
        Zip(zip=tmp_path / "d.zip"),
        HubDataset(dataset=str(tmp_path / "e.parquet")),
        TwoFiles(src=tmp_path / "f.en", tgt=tmp_path / "f.de.xz"),
        TwoFiles(src=tmp_path / "g-h.i.en.zst", tgt=tmp_path / "g-h.i.de"),
    ]
    assert found == [kind.model_copy(update={"weight": 2.0, "tag": "x"}) for kind in kinds]


@pytest.mark.parametrize(
    ("match", "expected"),
    [("*.tsv", ["a.tsv"]), ("**/*", ["a.tsv", "below/b.tsv"]), ("below/*", ["below/b.tsv"]), ("?.tsv", ["a.tsv"])],
)
def test_a_pattern_says_which(match: str, expected: list[str], tmp_path: Path) -> None:
    touch(tmp_path, "a.tsv", "below/b.tsv")
    found = reader(Folder(folder=tmp_path, match=match)).parts("en", "de")
    assert found == [Tsv(tsv=tmp_path / name) for name in expected]


def test_csv_files_are_read_where_the_pattern_names_them(tmp_path: Path) -> None:
    touch(tmp_path, "a.tsv", "b.csv", "c.csv.gz")
    assert reader(Folder(folder=tmp_path)).parts("en", "de") == [Tsv(tsv=tmp_path / "a.tsv")]
    found = reader(Folder(folder=tmp_path, match="*.csv*")).parts("en", "de")
    assert found == [Csv(csv=tmp_path / "b.csv"), Csv(csv=tmp_path / "c.csv.gz")]


def test_ignored_files_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "mtx")
    touch(tmp_path, "a.tsv", "README", *(f"x.{number}" for number in range(6)))
    reader(Folder(folder=tmp_path)).parts("en", "de")
    assert caplog.messages == [f"{tmp_path}: not parallel text, ignored: README, x.0, x.1, x.2, x.3 and 2 more"]


@pytest.mark.parametrize(
    ("names", "options", "message", "code"),
    [
        ([], {}, "no parallel files among the 0 that match *", ExitCode.DATA),
        (["README"], {}, "no parallel files among the 1 that match *", ExitCode.DATA),
        (["a.tsv"], {"match": "*.tmx"}, "no parallel files among the 0 that match *.tmx", ExitCode.DATA),
        (["a.en"], {}, "no a.de beside a.en", ExitCode.DATA),
        (["a.en", "a.de", "b.de"], {}, "no b.en beside b.de", ExitCode.DATA),
        (["a.tsv", "a.tsv.gz"], {}, "a.tsv and a.tsv.gz have the same name apart from the packing", ExitCode.DATA),
        (["a.tsv"], {"match": "../*"}, "match ../* leaves the folder", ExitCode.USAGE),
        (["a.tsv"], {"match": "/etc/*"}, "match /etc/* leaves the folder", ExitCode.USAGE),
        (["a.tsv"], {"match": "**.tsv"}, "match **.tsv", ExitCode.USAGE),
    ],
)
def test_what_is_wrong_is_one_line(
    names: list[str], options: dict[str, str], message: str, code: ExitCode, tmp_path: Path
) -> None:
    touch(tmp_path, *names)
    with pytest.raises(UserError) as caught:
        reader(Folder(folder=tmp_path, **options)).parts("en", "de")
    assert message in str(caught.value)
    assert caught.value.code == code


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such folder") as caught:
        reader(Folder(folder=tmp_path / "none")).check("en", "de")
    assert caught.value.code == ExitCode.DATA


def test_its_pairs_are_those_of_its_files_in_the_order_of_their_names(tmp_path: Path) -> None:
    (tmp_path / "b.tsv").write_text("yes\tja\n")
    (tmp_path / "a.en").write_bytes(gzip.compress(b"no\nwell\n"))
    (tmp_path / "a.de").write_text("nein\nnun\n")
    datasets.Dataset.from_dict({"en": ["dog"], "de": ["Hund"]}).to_parquet(tmp_path / "c.parquet")
    folder = Folder(folder=tmp_path)
    reader(folder).check("en", "de")
    pairs = [("no", "nein"), ("well", "nun"), ("yes", "ja"), ("dog", "Hund")]
    assert list(read_pairs(folder, "en", "de")) == pairs
    expanded = expand_folders((folder, Tsv(tsv=tmp_path / "b.tsv")), "en", "de")
    assert [pair for source in expanded for pair in read_pairs(source, "en", "de")] == [*pairs, pairs[2]]
    assert {path for source in expanded for path in reader(source).files()} == set(reader(folder).files())
    assert reader(folder).label == f"{tmp_path.name}/*"
    assert is_same_text(folder, Tsv(tsv=tmp_path / "b.tsv"))
