"""Every kind of source yields the same pairs; what is wrong with one is said with its place."""

import gzip
import json
import os
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mtx.config.sources import SOURCE_KINDS, Demo, HubDataset, Jsonl, Source, Tsv, TwoFiles
from mtx.data.sources.read import read_pairs, reader, readers
from mtx.demo import read_demo
from mtx.errors import ExitCode, UserError

# What readers of tables like to change: quotes, words for missing values, numbers, line ends that are none.
PAIRS = [
    ('He said "hi', 'Er sagte "hallo'),
    ("NA", "null"),
    ("None", "nan"),
    ("2", "007"),
    ("", "leer"),
    ("a\x85b\u2028c\x0cd", "a\rb"),
    ("'quoted'", '"quoted"'),
    ("日本語 🙂", "  spaced  "),
]


def lines(texts: Any) -> bytes:
    return "".join(f"{text}\n" for text in texts).encode()


def write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def data_set(pairs: list[tuple[str, str]], shape: str = "columns") -> datasets.Dataset:
    if shape == "columns":
        return datasets.Dataset.from_dict(
            {"id": range(len(pairs)), "en": [s for s, _ in pairs], "de": [t for _, t in pairs]}
        )
    features = datasets.Features({"translation": datasets.Translation(languages=["de", "en"])})
    return datasets.Dataset.from_dict({"translation": [{"en": s, "de": t} for s, t in pairs]}, features=features)


def make_source(kind: str, folder: Path) -> Source:
    """A source of that kind which holds PAIRS."""
    srcs, tgts = zip(*PAIRS, strict=True)
    match kind:
        case "files":
            return TwoFiles(src=write(folder / "a.en", lines(srcs)), tgt=write(folder / "a.de", lines(tgts)))
        case "packed files":
            packed = write(folder / "a.en", gzip.compress(lines(srcs)))
            crlf = write(folder / "a.de", b"\xef\xbb\xbf" + lines(f"{tgt}\r" for tgt in tgts))
            return TwoFiles(src=packed, tgt=crlf)
        case "tsv":
            return Tsv(tsv=write(folder / "a.tsv", lines(f"{s}\t{t}" for s, t in PAIRS)))
        case "tsv columns":
            return Tsv(tsv=write(folder / "a.tsv", lines(f"{t}\tx\t{s}\t" for s, t in PAIRS)), src=3, tgt=1)
        case "parquet folder":
            data_set(PAIRS).to_parquet(folder / "train.parquet")
            return HubDataset(dataset=str(folder))
        case "parquet file":
            data_set(PAIRS, "translation").to_parquet(folder / "a.parquet")
            return HubDataset(dataset=str(folder / "a.parquet"))
        case "saved":
            data_set(PAIRS).save_to_disk(folder / "saved")
            return HubDataset(dataset=str(folder / "saved"))
        case "saved splits":
            datasets.DatasetDict(train=data_set(PAIRS[:1]), extra=data_set(PAIRS, "translation")).save_to_disk(
                folder / "d"
            )
            return HubDataset(dataset=str(folder / "d"), split="extra")
        case "arrow file":
            data_set(PAIRS).rename_columns({"en": "id2", "de": "english"}).save_to_disk(folder / "saved")
            return HubDataset(dataset=str(next((folder / "saved").glob("*.arrow"))), src="id2", tgt="english")
    records = {
        "jsonl": [{"src": s, "tgt": t, "en": "no"} for s, t in PAIRS],
        "jsonl languages": [{"de": t, "en": s} for s, t in PAIRS],
        "jsonl translation": [{"translation": {"en": s, "de": t}} for s, t in PAIRS],
        "jsonl fields": [{"question": s, "answer": t, "src": "no"} for s, t in PAIRS],
    }[kind]
    fields = {"src": "question", "tgt": "answer"} if kind == "jsonl fields" else {}
    return Jsonl(jsonl=write(folder / "a.jsonl", lines(json.dumps(record) for record in records)), **fields)


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


KINDS = ["files", "packed files", "tsv", "tsv columns", "jsonl", "jsonl languages", "jsonl translation", "jsonl fields"]
HUB_KINDS = ["parquet folder", "parquet file", "saved", "saved splits", "arrow file"]


@pytest.mark.parametrize("kind", KINDS + HUB_KINDS)
def test_every_kind_of_source_yields_the_same_pairs(
    kind: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    source = make_source(kind, tmp_path)
    capfd.readouterr()
    assert list(read_pairs(source, "en", "de")) == PAIRS
    assert capfd.readouterr() == ("", "")
    assert reader(source).label


def test_each_reader_has_settings_in_the_union_of_sources() -> None:
    assert set(readers()) == set(SOURCE_KINDS.values()), "add the settings to `Source` in mtx/config/sources.py"
    for tag, kind in SOURCE_KINDS.items():
        assert kind is TwoFiles or tag == next(iter(kind.ordered_fields())), "the tag is the first key"


def test_the_demo_is_a_source_like_any_other() -> None:
    source = Demo(demo="dev")
    assert list(read_pairs(source, "en", "de")) == list(read_demo("dev"))
    assert reader(source).label == "demo dev"


@pytest.mark.parametrize(
    ("encoding", "pair"), [("latin-1", ("Größe", "naïve")), ("cp1252", ("“a”", "€")), ("koi8-r", ("Мир", "дом"))]
)
def test_files_may_be_in_another_encoding(encoding: str, pair: tuple[str, str], tmp_path: Path) -> None:
    src, tgt = (write(tmp_path / name, f"{text}\n".encode(encoding)) for name, text in zip("ab", pair, strict=True))
    tsv = write(tmp_path / "c", "\t".join(pair).encode(encoding))
    for source in (TwoFiles(src=src, tgt=tgt, encoding=encoding), Tsv(tsv=tsv, encoding=encoding)):
        assert list(read_pairs(source, "en", "de")) == [pair]
        reader(source).check("en", "de")
        with pytest.raises(UserError, match=r"not UTF-8 \(.* line 1 byte \d\)"):
            list(read_pairs(source.model_copy(update={"encoding": "utf-8"}), "en", "de"))


@pytest.mark.parametrize(("encoding", "raw"), [("cp1252", b"ok\na\x81\n"), ("iso-8859-7", b"ok\na\xae\n")])
def test_a_byte_that_an_encoding_has_not_is_told_with_its_place(encoding: str, raw: bytes, tmp_path: Path) -> None:
    path = write(tmp_path / "a", raw)
    with pytest.raises(UserError, match=rf"not {encoding.upper()} \(.*a line 2 byte 2\)"):
        list(read_pairs(TwoFiles(src=path, tgt=path, encoding=encoding), "en", "de"))


def test_empty_rows_of_a_table_are_empty_pairs(tmp_path: Path) -> None:
    tsv, jsonl = write(tmp_path / "a.tsv", b"a\tb\n\n"), write(tmp_path / "a.jsonl", b'{"en": "a", "de": "b"}\n\n')
    assert list(read_pairs(Tsv(tsv=tsv), "en", "de")) == [("a", "b"), ("", "")]
    assert list(read_pairs(Jsonl(jsonl=jsonl), "en", "de")) == [("a", "b"), ("", "")]
    # A column that no line has costs nothing until a line has text.
    assert list(read_pairs(Tsv(tsv=write(tmp_path / "b.tsv", b"\n"), src=10_000), "en", "de")) == [("", "")]
    data_set([("a", None), (None, None)]).to_parquet(tmp_path / "train.parquet")  # type: ignore[list-item]
    assert list(read_pairs(HubDataset(dataset=str(tmp_path)), "en", "de")) == [("a", ""), ("", "")]


def test_unequal_files_are_told_with_the_first_suspicious_line(tmp_path: Path) -> None:
    srcs = ["A sentence of some length here." if number % 2 else "Short." for number in range(1000)]
    tgts = [src * 5 for src in srcs]
    source = TwoFiles(src=write(tmp_path / "train.en", lines(srcs)), tgt=write(tmp_path / "train.de", lines(tgts)))
    for lost, place in ((411, "lengths first disagree at line 412"), (999, "lengths agree up to line 999")):
        write(source.tgt, lines(tgts[:lost] + tgts[lost + 1 :]))
        with pytest.raises(UserError, match=rf"train.en has 1000 lines, train.de 999 \({place}\)") as caught:
            list(read_pairs(source, "en", "de"))
        assert caught.value.code == ExitCode.DATA


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b'{"src": "a", "tgt": "b"}\n{"src": "a"\n', r"not JSON \(.*a.jsonl line 2\)"),
        (b"[1]\n", r"not a JSON object \(.*a.jsonl line 1\)"),
        (b"[" * 100_000 + b"\n", r"not JSON \(.*a.jsonl line 1\)"),
        (b'{"src": "a", "target": "b"}\n', r"no field tgt or de \(.*line 1\)\. .* its fields are src, target\."),
        (b'{"src": "a", "tgt": 7}\n', r"field tgt is not a string but 7 \(.*line 1\)"),
        (b'{"src": null, "tgt": "b"}\n', r"field src is not a string but null \(.*line 1\)"),
        (b'{"src": "\\ud83d", "tgt": "b"}\n', r"field src contains half a surrogate pair \(.*line 1\)"),
    ],
)
def test_bad_jsonl(raw: bytes, message: str, tmp_path: Path) -> None:
    source = Jsonl(jsonl=write(tmp_path / "a.jsonl", raw))
    with pytest.raises(UserError, match=message) as caught:
        list(read_pairs(source, "en", "de"))
    assert caught.value.code == ExitCode.DATA


def test_bad_tsv_and_bad_files(tmp_path: Path) -> None:
    tsv = Tsv(tsv=write(tmp_path / "a.tsv", b"a\tb\nalone\n"))
    with pytest.raises(UserError, match=r"found 1 columns, needed 2 \(.*a.tsv line 2\)"):
        list(read_pairs(tsv, "en", "de"))
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UserError, match="pipe is not a regular file"):
        list(read_pairs(Tsv(tsv=tmp_path / "pipe"), "en", "de"))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"dataset": "owner/name"}, "cannot reach the data set owner/name on the hub. Connect to the network"),
        (
            {"dataset": "{folder}/good", "split": "dev"},
            r"no files of the split dev, only train.parquet \(data set .*\)",
        ),
        (
            {"dataset": "{folder}/good", "tgt": "german"},
            r"no column german \(data set .*\)\. .* two of its columns: id, en, de\.",
        ),
        ({"dataset": "{folder}/good", "src": "id"}, r"id is not text but int \(data set .* row 1\)"),
        ({"dataset": "{folder}/nested"}, r"no language fr \(data set .* row 1\)\. .* two of its languages: de, en\."),
        (
            {"dataset": "{folder}/flat"},
            r"translation is not a struct but str \(data set .* row 1\)\. Give a struct with a text",
        ),
        ({"dataset": "{folder}/damaged"}, "cannot load the data set .*damaged: .*Parquet"),
        ({"dataset": "{folder}/script"}, r"no .parquet or .arrow files \(data set .*script\)"),
        ({"dataset": "{folder}/empty"}, r"no .parquet or .arrow files \(data set .*empty\)"),
        ({"dataset": "{folder}/text.txt"}, "text.txt is neither .parquet nor .arrow"),
    ],
)
def test_bad_data_sets(
    given: dict[str, str],
    message: str,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    for name in ("good", "nested", "flat", "damaged", "script", "empty"):
        (tmp_path / name).mkdir()
    pq.write_table(pa.table({"translation": ["text"]}), tmp_path / "flat" / "train.parquet")
    data_set(PAIRS).to_parquet(tmp_path / "good" / "train.parquet")
    data_set(PAIRS, "translation").to_parquet(tmp_path / "nested" / "train.parquet")
    whole = (tmp_path / "good" / "train.parquet").read_bytes()
    write(tmp_path / "damaged" / "train.parquet", whole[:-20])
    write(tmp_path / "script" / "script.py", b"")
    write(tmp_path / "text.txt", b"")
    capfd.readouterr()
    source = HubDataset(**{key: value.format(folder=tmp_path) for key, value in given.items()})
    with pytest.raises(UserError, match=message) as caught:
        list(read_pairs(source, "en", "fr" if "nested" in source.dataset else "de"))
    assert caught.value.code == ExitCode.DATA
    assert capfd.readouterr().err == ""
    assert caplog.messages == []


def test_a_hub_id_is_loaded_with_its_name_and_split_and_no_progress_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(*args: Any, **options: Any) -> datasets.Dataset:
        assert (args, options) == (("owner/name", "de-en"), {"split": "dev", "streaming": False})
        assert datasets.are_progress_bars_disabled()
        return data_set(PAIRS, "translation")

    monkeypatch.setattr("datasets.load_dataset", load)
    assert list(read_pairs(HubDataset(dataset="owner/name", name="de-en", split="dev"), "en", "de")) == PAIRS
    assert not datasets.are_progress_bars_disabled()


@pytest.mark.parametrize(
    "path", ["{folder}/nowhere", "./nowhere", "../no/where", "data/of/mine", "~/data", "https://a.b/c"]
)
def test_a_missing_path_is_never_looked_up_on_the_hub(
    path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("datasets.load_dataset", lambda *_, **__: pytest.fail("asked the hub"))
    with pytest.raises(UserError, match="no data set at ") as caught:
        list(read_pairs(HubDataset(dataset=path.format(folder=tmp_path)), "en", "de"))
    assert caught.value.code == ExitCode.DATA
