"""`mtx score` and several models on the command line."""

import gzip
import json
from pathlib import Path

import pytest

from tests.cli.conftest import PAIRS, Mtx

SRC = "".join(src + "\n" for src, _ in PAIRS[:7])


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """Seven pairs, one blank pair, a source without text, and one longer than those of the training."""
    src, tgt = tmp_path / "src", tmp_path / "tgt"
    src.write_text(SRC + " \n\n" + PAIRS[0][0] * 9 + "\n", encoding="utf-8")
    tgt.write_text("".join(tgt + "\n" for _, tgt in PAIRS[:7]) + "\nDer Hund.\nDer Hund.\n", encoding="utf-8")
    return src, tgt


def test_every_pair_gets_a_line_with_its_score(finished_run: Path, files: tuple[Path, Path], mtx: Mtx) -> None:
    src, tgt = files
    answer = mtx("score", "-m", finished_run, "--src", src, "--tgt", tgt, "--words", "--format", "jsonl")
    assert answer.code == 0, answer.err
    found = [json.loads(line) for line in answer.out.splitlines()]
    assert [(each["src"], each["tgt"]) for each in found] == list(
        zip(src.read_text().splitlines(), tgt.read_text().splitlines(), strict=True)
    )
    assert found[7] == {"src": " ", "tgt": "", "score": 0.0, "logp": 0.0, "num_tokens": 0, "words": [], "end": 0.0}
    for each in [*found[:7], *found[8:]]:
        assert each["score"] == pytest.approx(each["logp"] / each["num_tokens"])
        assert [word["word"] for word in each["words"]] == each["tgt"].split()
        assert sum(word["logp"] for word in each["words"]) + each["end"] == pytest.approx(each["logp"])
    assert "pairs with one empty line, scored like any other: 1" in answer.err
    assert "sources longer than any training line, scored whole, less reliably: 1" in answer.err

    packed = src.parent / "scores.tsv.gz"
    answer = mtx("score", "-m", finished_run, "--src", "-", "--tgt", tgt, "--words", "-o", packed,
                 stdin=src.read_bytes())  # fmt: skip
    assert (answer.code, answer.out) == (0, "")
    rows = [line.split("\t") for line in gzip.decompress(packed.read_bytes()).decode().splitlines()]
    for row, each in zip(rows, found, strict=True):
        assert (float(row[0]), int(row[2]), row[3].split()) == (
            pytest.approx(each["score"]), each["num_tokens"], each["tgt"].split())  # fmt: skip
        assert [float(number) for number in row[4].split()] == pytest.approx(
            [*(word["logp"] for word in each["words"]), each["end"]]
        )


def test_the_score_is_that_of_translate(finished_run: Path, mtx: Mtx, tmp_path: Path) -> None:
    (tmp_path / "src").write_text(SRC, encoding="utf-8")
    for option in ([], ["--length-penalty", "0.3"]):
        answer = mtx("translate", "-m", finished_run, "-i", "src", "--format", "jsonl", *option)
        translated = [json.loads(line) for line in answer.out.splitlines()]
        (tmp_path / "tgt").write_text("".join(each["tgt"] + "\n" for each in translated), encoding="utf-8")
        scored = mtx("score", "-m", finished_run, "--src", "src", "--tgt", "tgt", *option)
        scores = [float(line.split("\t")[0]) for line in scored.out.splitlines()]
        assert scores == pytest.approx([each["score"] for each in translated], rel=1e-4)


def test_wrong_input_is_told(finished_run: Path, files: tuple[Path, Path], mtx: Mtx) -> None:
    src, tgt = files
    tgt.write_text("Der Hund.\n", encoding="utf-8")
    answer = mtx("score", "-m", finished_run, "--src", src, "--tgt", tgt, "-o", "out")
    assert (answer.code, Path("out").exists()) == (3, False)
    assert "has 10 lines" in answer.err
    assert mtx("score", "-m", finished_run, "--src", src, "--tgt", "missing").code == 3
    assert mtx("score", "-m", finished_run, "--src", "-", "--tgt", "-").code == 2
    assert mtx("score", "-m", finished_run, "--src", src, "--tgt", tgt, "-o", src).code == 2
    assert mtx("score", "-m", finished_run, "--src", src, "--tgt", tgt, "--beam", "3").code == 2
    assert mtx("score", "-m", "missing", "--src", src, "--tgt", tgt).code == 4


def test_a_model_with_itself_translates_and_scores_as_the_model(finished_run: Path, mtx: Mtx, tmp_path: Path) -> None:
    (tmp_path / "src").write_text(SRC, encoding="utf-8")
    (tmp_path / "tgt").write_text(SRC, encoding="utf-8")
    twice = ["-m", finished_run, "-m", finished_run / "model"]
    for command in (["translate", "-i", "src", "--format", "jsonl"], ["score", "--src", "src", "--tgt", "tgt"]):
        assert mtx(*command, *twice).out == mtx(*command, "-m", finished_run).out != ""
    alone = json.loads(mtx("evaluate", *twice[:2], "--json").out)
    for mean in ("probs", "logprobs"):
        together = json.loads(mtx("evaluate", *twice, "--ensemble", mean, "--json").out)
        assert together["bleu"] == alone["bleu"]
        assert together["model"] == f"{finished_run / 'model'} + {finished_run / 'model'}"


def test_models_of_other_vocabularies_are_refused(
    finished_run: Path, mtx: Mtx, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = Path(__file__).parents[1] / "checkpoint" / "format-1" / "model"
    (tmp_path / "src").write_text(SRC, encoding="utf-8")
    for command in (["translate", "-i", "src"], ["evaluate"], ["score", "--src", "src", "--tgt", "src"]):
        answer = mtx(*command, "-m", finished_run, "-m", old)
        assert (answer.code, answer.out, len(answer.errors)) == (2, "", 1)
        assert "the vocabulary of" in answer.errors[0]


def test_minimum_bayes_risk_on_the_command_line(finished_run: Path, mtx: Mtx) -> None:
    answer = mtx("translate", "-m", finished_run, "--format", "jsonl", "--mbr", 8, "--n-best", 3, PAIRS[0][0])
    chosen = [each["tgt"] for each in json.loads(answer.out)["nbest"]]
    assert (answer.code, len(chosen), len(set(chosen))) == (0, 3, 3)
    one, plain = (mtx("translate", "-m", finished_run, PAIRS[0][0], *option) for option in (["--mbr", 1], []))
    assert one.out == plain.out
    answer = mtx("translate", "-m", finished_run, "--format", "jsonl", "--mbr", 4, "--n-best", 5, PAIRS[0][0])
    assert (answer.code, answer.errors) == (2, ["mtx: error: --n-best 5 is above --mbr 4 (command line). Raise --mbr."])
