"""A few rows that can't be read are skipped, counted and shown by every command; many, or one if asked, are code 3."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from .conftest import PAIRS

if TYPE_CHECKING:
    from .conftest import Mtx

SMALL = [
    "tokenizer.vocab_size=300", "model.d_model=8", "model.num_heads=1", "model.d_ff=8", "model.encoder_layers=1",
    "model.decoder_layers=1", "train.max_steps=2", "train.warmup_steps=1", "train.precision=fp32",
]  # fmt: skip


@pytest.fixture
def source(tmp_path: Path) -> str:
    """The override for a source of 120 rows, of which row 31 can't be read."""
    rows = [json.dumps({"en": src, "de": tgt}) for src, tgt in PAIRS]
    rows[30] = "null"
    (tmp_path / "a.jsonl").write_text("".join(f"{row}\n" for row in rows))
    return "data.train=[{jsonl: a.jsonl}]"


def test_every_command_skips_and_tells(mtx: "Mtx", source: str, tmp_path: Path) -> None:
    told = "kept 119 of 120 pairs: dropped 1 not a JSON object"
    answer = mtx("train", source, *SMALL, "--run-dir", "run")
    assert (answer.code, told in answer.err) == (0, True), answer.err
    assert told in (tmp_path / "run" / "model" / "README.md").read_text()
    answer = mtx("data", "check", source, "--html", "page.html")
    assert answer.code == 0, answer.err
    assert "dropped              1  not a JSON object\n                   line 31  null | \n" in answer.out
    assert "not a JSON object" in (tmp_path / "page.html").read_text()
    [report] = json.loads(mtx("data", "check", source, "--json").out)["sources"]
    assert report["num_dropped"] == 1
    assert report["findings"][0]["rule"] == "not a JSON object"
    answer = mtx("data", "clean", source, "-o", "cleaned")
    assert (answer.code, answer.err) == (0, f"mtx: {told}\n")
    [dropped] = (tmp_path / "cleaned" / "dropped.jsonl").read_text().splitlines()
    reason = "not a JSON object"
    assert json.loads(dropped) == {"source": "a.jsonl", "line": 31, "reason": reason, "src": "null", "tgt": ""}
    assert mtx("init", "a.jsonl", "--src-lang", "en", "--tgt-lang", "de", "--device", "cpu").code == 0
    assert "1 not a JSON object" in (tmp_path / "en-de.yaml").read_text()


@pytest.mark.parametrize("command", [["train", *SMALL], ["data", "check"], ["data", "clean", "-o", "cleaned"]])
def test_one_stops_on_request_and_many_always(mtx: "Mtx", source: str, tmp_path: Path, command: list[str]) -> None:
    wanted = 1 if command == ["data", "check"] else 3  # which reports it as a problem
    where = f"not a JSON object ({tmp_path}/a.jsonl line 31). Give one JSON object a line."
    answer = mtx(*command, source, "data.on_bad_row=stop")
    assert (answer.code, where in answer.err + answer.out) == (wanted, True), answer.err
    with (tmp_path / "a.jsonl").open("a") as file:
        file.write("{\n")
    answer = mtx(*command, source)
    assert answer.code == wanted
    assert f"2 of 121 rows can't be read, the first: {where}" in answer.err + answer.out
    assert not (tmp_path / "runs").exists()
    assert not (tmp_path / "cleaned").exists()


def test_held_out_sets_are_scored_without_bad_rows(mtx: "Mtx", source: str) -> None:
    sets = [f"data.{role}={{jsonl: a.jsonl}}" for role in ("dev", "test")]
    answer = mtx("train", source, *sets, *SMALL, "train.eval_sentences=200", "--run-dir", "run")
    assert answer.code == 0, answer.err
    assert "a.jsonl: skipped rows: 1 not a JSON object" in answer.err
    answer = mtx("evaluate", "--model", "run", "--beam", 1, "--json")
    assert json.loads(answer.out)["num_sentences"] == 119
