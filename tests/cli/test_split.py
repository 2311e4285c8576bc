"""`--split`: every sentence of a line is translated, and JSONL says how the line was cut."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mtx.decode.loops import Loops

if TYPE_CHECKING:
    from tests.cli.conftest import Mtx

LINE = "  The dog sees a cat.\tThe man hears a bird.  The cook finds a guest. "
SENTENCES = ["The dog sees a cat.", "The man hears a bird.", "The cook finds a guest."]


def test_a_line_is_its_sentences_one_by_one_with_its_white_space(mtx: "Mtx", finished_run: Path) -> None:
    translate = ["translate", "-m", finished_run]
    first, second, third = mtx(*translate, *SENTENCES).out.splitlines()
    assert mtx(*translate, LINE).out == f"  {first}\t{second}  {third} \n"
    assert mtx(*translate, "--split", "always", LINE, " \t").out == f"  {first}\t{second}  {third} \n \t\n"
    whole = mtx(*translate, "--split", "never", "--format", "jsonl", "A dog. A cat.")
    assert len(json.loads(whole.out)["sentences"]) == 1
    assert mtx(*translate, "--split", "sometimes", LINE).code == 2


def test_translations_that_ran_into_loops_are_counted(
    mtx: "Mtx", finished_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    translate = ["translate", "-m", finished_run, LINE, "A dog.", "42"]
    assert mtx(*translate).err == ""
    monkeypatch.setattr("mtx.decode.translator.loops_in", lambda *_: Loops(""))
    [told] = mtx(*translate).err.splitlines()
    assert told.startswith("mtx: warning: lines searched again because their translation repeated")
    assert told.endswith(": 2 of 3")


def test_jsonl_says_how_a_line_was_cut(mtx: "Mtx", finished_run: Path) -> None:
    answer = mtx("translate", "-m", finished_run, "--format", "jsonl", "--n-best", 2, "--beam", 3, LINE, "")
    record, empty = map(json.loads, answer.out.splitlines())
    parts = record["sentences"]
    assert [part["src"] for part in parts] == SENTENCES
    assert all(part.keys() == {"src", "tgt", "score"} and part["tgt"] in record["tgt"] for part in parts)
    assert record["score"] == pytest.approx(sum(part["score"] for part in parts) / 3)
    assert (record["src"], len(record["nbest"])) == (LINE, 2)
    assert empty["sentences"] == []


def test_evaluate_splits_as_translate_does(mtx: "Mtx", finished_run: Path, tmp_path: Path) -> None:
    (tmp_path / "s").write_text(" ".join(SENTENCES) + "\n")
    (tmp_path / "r").write_text("Der Hund sieht einen Kater.\n")
    found = {}
    for split in ("auto", "never"):
        evaluate = ["evaluate", "-m", finished_run, "--src", "s", "--ref", "r", "--save-hyp", split, "--split", split]
        assert mtx(*evaluate).code == 0
        found[split] = (tmp_path / split).read_text()
        assert found[split] == mtx("translate", "-m", finished_run, "--split", split, "-i", "s").out
    assert found["auto"] == mtx("translate", "-m", finished_run, *SENTENCES).out.replace("\n", " ").strip() + "\n"


def test_the_training_counts_the_sentences_of_its_sources(finished_run: Path) -> None:
    generation = json.loads((finished_run / "model" / "generation_config.json").read_text())
    assert generation["sentences_per_source"] == [120] + [0] * 15
