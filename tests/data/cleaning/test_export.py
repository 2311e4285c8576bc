"""Every pair is either kept or dropped, and the kept pairs are the ones that training would use."""

import io
import json
from collections import Counter
from pathlib import Path

import pytest

from mtx.config.settings import CleanSettings, Config, DataSettings
from mtx.config.sources import Folder, Jsonl, Source, Tsv
from mtx.data.check.diagnose import diagnose
from mtx.data.cleaning.clean import build_cleaner, format_kept
from mtx.data.cleaning.export import DROPPED_FILE, export_cleaned
from mtx.data.sources import read
from mtx.data.sources.base import Pair
from mtx.errors import ExitCode, UserError
from mtx.system.parallel import can_fork

from ..check.test_diagnose import clean_pairs, config, dirty_pairs, write

Files = dict[str, io.BytesIO]


def cleaned(whole: Config) -> tuple[str, dict[str, list[str]]]:
    """Export the cleaned data; return the summary and the lines of each file."""
    files: Files = {}
    done = export_cleaned(whole, lambda name: files.setdefault(name, io.BytesIO()))
    return done, {name: file.getvalue().decode().split("\n")[:-1] for name, file in files.items()}


def kept_pairs(files: dict[str, list[str]], name: str = "train") -> list[Pair]:
    return list(zip(files[f"{name}.en"], files[f"{name}.de"], strict=True))


@pytest.fixture(autouse=True)
def small_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read, "MAX_CHUNK_PAIRS", 37)


@pytest.mark.parametrize("duplicates", ["keep", "pair", "src", "tgt"])
@pytest.mark.parametrize("level", ["none", "mild", "strict"])
def test_what_is_kept_and_what_is_dropped_is_all(level: str, duplicates: str, tmp_path: Path) -> None:
    pairs = dirty_pairs(400)
    whole = config(write(tmp_path, "a", pairs), clean=CleanSettings(level=level, duplicates=duplicates))
    done, files = cleaned(whole)
    assert list(files) == ["train.en", "train.de", DROPPED_FILE]
    records = [json.loads(line) for line in files[DROPPED_FILE]]
    lines = [record["line"] for record in records]
    assert [(record["src"], record["tgt"]) for record in records] == [pairs[line - 1] for line in lines]
    assert kept_pairs(files) == [pair for line, pair in enumerate(pairs, start=1) if line not in set(lines)]
    assert {record["source"] for record in records} == {"a.en and a.de"}
    assert done == format_kept(400, Counter(record["reason"] for record in records))
    assert len(records) == diagnose(whole).sources[0].num_dropped


def test_what_is_kept_is_dropped_no_more(tmp_path: Path) -> None:
    clean = CleanSettings(level="strict", language="drop")
    _, files = cleaned(config(write(tmp_path, "a", dirty_pairs(400)), clean=clean))
    again, files_again = cleaned(config(write(tmp_path, "b", kept_pairs(files)), clean=clean))
    assert kept_pairs(files_again) == kept_pairs(files)
    assert again == f"kept {len(kept_pairs(files)):,} of {len(kept_pairs(files)):,} pairs"


def test_reasons_are_those_of_the_rules(tmp_path: Path) -> None:
    pairs = [*clean_pairs(3), ("", "x"), ("a\x07", "b"), ("dog", "Hund"), ("dog ", "Hund")]
    done, files = cleaned(config(write(tmp_path, "a", pairs)))
    assert [json.loads(line)["line"] for line in files[DROPPED_FILE]] == [4, 5, 7]
    assert done == "kept 4 of 7 pairs: dropped 1 empty, 1 damaged by a wrong encoding, 1 duplicate"


def test_repaired_text_is_kept_and_dropped_text_is_as_it_was(tmp_path: Path) -> None:
    pairs = [("CafÃ© au lait", "Kaffee"), ("CafÃ© au lait", "Kaffee")]
    _, files = cleaned(config(write(tmp_path, "a", pairs), clean=CleanSettings(repair=True)))
    assert kept_pairs(files) == [build_cleaner(CleanSettings(repair=True), "en", "de").repaired(pairs[0])]
    assert kept_pairs(files) == [("Café au lait", "Kaffee")]
    assert json.loads(files[DROPPED_FILE][0])["src"] == "CafÃ© au lait"


def test_duplicates_are_told_across_sources(tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    write(tmp_path / "more", "b", clean_pairs(30))
    (tmp_path / "more" / "c.tsv").write_bytes("".join(f"{src}\t{tgt}\n" for src, tgt in clean_pairs(40)).encode())
    done, files = cleaned(config(write(tmp_path, "a", clean_pairs(20)), Folder(folder=tmp_path / "more")))
    assert kept_pairs(files) == clean_pairs(40)
    assert done.endswith(": dropped 50 duplicate")
    sources = Counter(json.loads(line)["source"] for line in files[DROPPED_FILE])
    assert sources == {"b.en and b.de": 20, "c.tsv": 30}


def test_sources_with_other_tags_or_weights_stay_apart(tmp_path: Path) -> None:
    def source(number: int, weight: float, tag: str | None) -> Source:
        path = tmp_path / f"{number}.tsv"
        path.write_bytes("".join(f"{src}\t{tgt}\n" for src, tgt in clean_pairs(10, number)).encode())
        return Tsv(tsv=path, weight=weight, tag=tag)

    whole = config(source(0, 1, None), source(1, 2, None), source(2, 1, "2de"), source(3, 1, None))
    _, files = cleaned(whole)
    assert kept_pairs(files, "train-1") == [*clean_pairs(10, 0), *clean_pairs(10, 3)]
    assert kept_pairs(files, "train-2") == clean_pairs(10, 1)
    assert kept_pairs(files, "train-3") == clean_pairs(10, 2)
    assert len(files) == 7


def test_a_pair_is_a_line_whatever_is_in_it(tmp_path: Path) -> None:
    records = [{"src": "a\nb", "tgt": "c\rd\r\r"}, {"src": "x\u2028y", "tgt": "z\n"}]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    _, files = cleaned(config(Jsonl(jsonl=tmp_path / "a.jsonl")))
    assert kept_pairs(files) == [("a b", "c\rd"), ("x\u2028y", "z ")]


def test_one_language_gets_two_files(tmp_path: Path) -> None:
    source = write(tmp_path, "a", clean_pairs(5))
    _, files = cleaned(Config(data=DataSettings(train=(source,), src_lang="en", tgt_lang="en")))
    assert list(files) == ["train.src", "train.tgt", DROPPED_FILE]


def test_nothing_kept_is_bad_data(tmp_path: Path) -> None:
    for pairs in ([], [("", "")] * 3):
        with pytest.raises(UserError, match=f"no pair is kept among {len(pairs)} ") as caught:
            cleaned(config(write(tmp_path, "a", pairs)))
        assert caught.value.code == ExitCode.DATA


@pytest.mark.process
@pytest.mark.skipif(not can_fork(), reason="workers are forked, which mtx does on Linux only")
def test_several_processes_write_what_one_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = config(write(tmp_path, "a", dirty_pairs(400)), clean=CleanSettings(level="strict"))
    found = []
    for count in ("1", "2"):
        monkeypatch.setenv("OMP_NUM_THREADS", count)
        found.append(cleaned(whole))
    assert found[0] == found[1]
