"""Contract of the commands: their output, files and exit codes."""

import gzip
import json
import os
import random
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mtx.cli.translate import TEXT_MARK, mark_text

if TYPE_CHECKING:
    from .conftest import Mtx


# --- translate ---


def test_the_recorded_test_set_is_not_overwritten(mtx: "Mtx", finished_run: Path) -> None:
    references = finished_run.parents[1] / "test.de"
    before = references.read_bytes()
    answer = mtx("evaluate", "--model", finished_run, "--save-hyp", references)
    assert (answer.code, answer.out) == (2, "")
    assert f"the output is the input {references}" in answer.err
    assert references.read_bytes() == before


def test_translate_prints_only_translations_in_order(mtx: "Mtx", finished_run: Path) -> None:
    texts = ["The dog sees a cat.", "The man knows a bird.", "The dog sees a cat."]
    given = mtx("translate", "--model", finished_run, *texts)
    piped = mtx("translate", "-m", finished_run / "model", stdin="\n".join(texts).encode())
    assert (given.code, given.err) == (0, "")
    assert given.out == piped.out
    lines = given.out.splitlines()
    assert len(lines) == 3
    assert lines[0] == lines[2]


@pytest.mark.parametrize(
    "text",
    [
        "", "  ", "a\u2028b", "x\x85y", "one\rtwo", "</s> <pad> <unk> <s>", "\u2581under", "\x00nul", "tab\there",
        "😀 日本語", "a" * 300, "The dog sees a cat. " * 30, "- a dash",
    ],
)  # fmt: skip
def test_translate_gives_one_line_for_any_line(mtx: "Mtx", finished_run: Path, text: str) -> None:
    answer = mtx("translate", "--model", finished_run, "--beam", 2, stdin=f"The dog.\n{text}\nThe dog.\n".encode())
    lines = answer.out.split("\n")
    assert answer.code == 0
    assert len(lines) == 4
    assert lines[0] == lines[2]
    assert bool(lines[1].strip()) <= bool(text.strip())


def test_translate_reads_and_writes_files(mtx: "Mtx", finished_run: Path, tmp_path: Path) -> None:
    (tmp_path / "in.gz").write_bytes(gzip.compress("\ufeffThe dog sees a cat.\r\nThe man hears a dog.".encode()))
    answer = mtx("translate", "--model", finished_run, "--input", "in.gz", "--output", "out.txt")
    assert (answer.code, answer.out) == (0, "")
    plain = mtx("translate", "--model", finished_run, "The dog sees a cat.", "The man hears a dog.")
    assert mtx("translate", "-m", finished_run, "-i", "-", stdin=b"The dog sees a cat.\nThe man hears a dog.") == plain
    assert (tmp_path / "out.txt").read_text(encoding="utf-8") == plain.out


def test_translate_prints_json_with_n_best(mtx: "Mtx", finished_run: Path) -> None:
    answer = mtx(
        "translate", "-m", finished_run, "--format", "jsonl", "--n-best", 3, "--beam", 4, "The cook hears a guest.", ""
    )
    record, empty = map(json.loads, answer.out.splitlines())
    scores = [candidate["score"] for candidate in record["nbest"]]
    assert record["src"] == "The cook hears a guest."
    assert (record["tgt"], record["score"]) == (record["nbest"][0]["tgt"], scores[0])
    assert len(scores) == 3
    assert scores == sorted(scores, reverse=True)
    assert scores[0] < 0
    assert empty["tgt"] == ""


def test_lines_that_are_too_long_are_split_cut_or_refused(mtx: "Mtx", finished_run: Path) -> None:
    long = "The dog sees a cat. " * 9
    text = f"The man hears a bird.\n{long}\nThe bird knows a cook.\n{long}\n".encode()
    one_by_one = mtx("translate", "-m", finished_run, "--on-too-long", "error", stdin=text)
    assert (one_by_one.code, one_by_one.out.count("\n"), one_by_one.err) == (0, 4, "")  # no sentence is too long
    never = ["--split", "never"]
    split = mtx("translate", "-m", finished_run, *never, stdin=text)
    assert mtx("translate", "-m", finished_run, *never, "--on-too-long", "split", stdin=text) == split
    assert (split.code, split.out.count("\n"), split.err) == (0, 4, "")

    cut = mtx("translate", "-m", finished_run, *never, "--on-too-long", "truncate", stdin=text)
    assert (cut.code, cut.out.count("\n")) == (0, 4)
    assert cut.out.splitlines()[::2] == split.out.splitlines()[::2]
    first, second, count = cut.err.splitlines()
    assert first.startswith("mtx: warning: ")
    assert first.endswith(" tokens longer than any training sentence, which were cut off (stdin line 2)")
    assert second == first.replace("line 2", "line 4")
    assert count == "mtx: warning: 2 lines were too long and were cut off"

    refused = mtx("translate", "-m", finished_run, "-i", "-", *never, "--on-too-long", "error", stdin=text)
    assert (refused.code, refused.out) == (3, split.out[: split.out.index("\n") + 1])
    assert "(stdin line 2). Shorten it" in refused.errors[0]
    refused = mtx("translate", "-m", finished_run, *never, "--on-too-long", "error", "The dog sees a cat.", long)
    assert (refused.code, "(sentence 2)" in refused.errors[0]) == (3, True)
    fitting = mtx("translate", "-m", finished_run, "--on-too-long", "error", "The dog sees a cat.")
    assert (fitting.code, fitting.err) == (0, "")


@pytest.mark.parametrize("beam", [1, 3])
def test_a_model_whose_numbers_overflow_is_code_4(mtx: "Mtx", finished_run: Path, tmp_path: Path, beam: int) -> None:
    """Every weight is finite, but far too large."""
    from mtx.checkpoint.model_folder import load_model, save_model
    from mtx.checkpoint.tensors import weights_of
    from mtx.config.settings import ModelSettings

    trained = load_model(finished_run / "model")
    sizes = ModelSettings(d_model=32, num_heads=2, d_ff=64, encoder_layers=1, decoder_layers=1)
    huge = {name: weight * 1e30 for name, weight in weights_of(trained.model).items()}
    save_model(tmp_path / "huge", trained, sizes, huge, {}, "A card.")
    answer = mtx("translate", "-m", "huge", "--beam", beam, stdin=b"The dog sees a cat.\n")
    assert (answer.code, answer.out, len(answer.err.splitlines())) == (4, "", 1)
    assert answer.errors[0].startswith("mtx: error: the model's numbers overflow. Try --precision fp32")


@pytest.mark.process
def test_translate_writes_lines_before_its_input_ends(program: Sequence[str], finished_run: Path) -> None:
    command = [*program, "translate", "--model", str(finished_run)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b"The dog sees a cat.\n")
        process.stdin.flush()
        assert process.stdout.readline().endswith(b"\n")  # would block for ever if input had to end first
        process.stdin.close()
    assert process.returncode == 0


@pytest.mark.process
def test_translate_is_silent_when_its_reader_goes_away(program: Sequence[str], finished_run: Path) -> None:
    lines = "The dog sees a cat.\n" * 5000
    command = f"{shlex.join(program)} translate --model {finished_run} --beam 1 --batch-tokens 100"
    script = f"{command} | head -n 1; echo ${{PIPESTATUS[0]}}"
    run = subprocess.run(["bash", "-c", script], input=lines, capture_output=True, text=True, check=True)
    assert run.stdout.splitlines()[-1] == "141"
    assert run.stderr == ""


@pytest.mark.parametrize("command", ["translate", "train"])
def test_the_kernel_cache_is_bounded(
    command: str, mtx: "Mtx", finished_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Batches of ever new sizes do not grow memory, in translation and in training."""
    for name in ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY"):
        monkeypatch.setenv(name, "")  # monkeypatch then restores what the command sets
        monkeypatch.delenv(name)
    if command == "translate":
        assert mtx("translate", "--model", finished_run, "The dog sees a cat.").code == 0
    else:
        config = finished_run.parents[1] / "my.yaml"
        assert mtx("train", "--config", config, "--run-dir", tmp_path / "new", "train.max_steps=1").code == 0
    assert int(os.environ["ONEDNN_PRIMITIVE_CACHE_CAPACITY"]) < 1024
    assert int(os.environ["LRU_CACHE_CAPACITY"]) < 10


def test_sentences_that_begin_with_a_dash_are_text() -> None:
    marked = [TEXT_MARK + "- Hello.", TEXT_MARK + "- Who is it?"]
    assert mark_text(["translate", "--beam", "2", "- Hello.", "- Who is it?"]) == ["translate", "--beam", "2", *marked]
    assert mark_text(["translate", "--output", "- odd name", "-x"]) == ["translate", "--output", "- odd name", "-x"]
    assert mark_text(["train", "- Hello."]) == ["train", "- Hello."]
    for before in ("--beam=2", "-mDIR", "--", "one", "- two words", "-"):
        assert mark_text(["translate", before, "- Hello."])[-1] == marked[0]


# --- evaluate ---


def test_evaluate_uses_the_test_set_of_the_run(mtx: "Mtx", finished_run: Path, tmp_path: Path) -> None:
    files = finished_run.parent.parent
    recorded = mtx("evaluate", "--model", finished_run, "--json", "--save-hyp", "hyp.txt")
    given = mtx("evaluate", "--model", finished_run, "--json", "--src", files / "test.en", "--ref", files / "test.de")
    scored = mtx("evaluate", "--json", "--hyp", "hyp.txt", "--ref", files / "test.de")
    assert (recorded.code, recorded.err) == (0, "")
    first, second, third = (json.loads(answer.out) for answer in (recorded, given, scored))
    assert set(first) == {"model", "num_sentences", "bleu", "chrf", "length_ratio", "seconds", "tokens_per_second"}
    assert set(first["bleu"]) == {"score", "ci", "signature"}
    for name in ("num_sentences", "bleu", "chrf", "length_ratio"):
        assert first[name] == second[name] == third[name]
    assert third["model"] is None


def test_evaluate_is_code_1_below_the_minimum(mtx: "Mtx", finished_run: Path) -> None:
    assert mtx("evaluate", "--model", finished_run, "--min", "bleu=0").code == 0
    answer = mtx("evaluate", "--model", finished_run, "--min", "bleu=0,chrf=101")
    assert answer.code == 1
    assert "below 101" in answer.errors[0]


def test_references_in_any_order_give_the_same_bleu(mtx: "Mtx", tmp_path: Path) -> None:
    for name, lines in (("hyp", "a b c d e\n\n"), ("one", "a b c d x\nf\n"), ("two", "y b c d e\ng h\n")):
        (tmp_path / name).write_text(lines)
    single, first, second = (
        mtx("evaluate", "--hyp", "hyp", *(part for name in names for part in ("--ref", name)))
        for names in (["one"], ["one", "two"], ["two", "one"])
    )
    assert first.out.splitlines()[0] == second.out.splitlines()[0]
    assert "nrefs:1|" in single.out
    assert "nrefs:2|" in first.out
    assert float(first.out.split()[1]) > float(single.out.split()[1])
    assert "2 sentences, 1 empty, length ratio" in first.out


def test_evaluate_warns_only_about_tokenized_text(mtx: "Mtx", tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("Yes, it is.\nA b, c.\n3 . 4\n")
    (tmp_path / "cut").write_text("Yes , it is .\nA b , c .\n3.4\n")
    assert mtx("evaluate", "--hyp", "plain", "--ref", "plain").err == ""
    assert "most references" in (found := mtx("evaluate", "--hyp", "plain", "--ref", "cut").err)
    assert found.count("\n") == 1
    assert "most hypotheses" in mtx("evaluate", "--hyp", "cut", "--ref", "plain").err


# --- train ---


@pytest.mark.process
@pytest.mark.parametrize("seed", range(3))
def test_evaluate_scores_odd_text_as_sacrebleu_does(mtx: "Mtx", tmp_path: Path, seed: int) -> None:
    """Other line separators and odd characters: both commands end lines at LF only."""
    draw = random.Random(seed)
    odd = ["\u2028", "\u2029", "\x85", "\r", "\x0b", "\x0c", "\x1c", "\ufeff", "\0", "\t", "a", "b.", "c ", " d", "e"]
    references = [draw.choices(odd, k=draw.randint(4, 30)) for _ in range(20)]
    hypotheses = [[draw.choice(odd) if draw.random() < 0.2 else text for text in line] for line in references]
    for name, lines in (("ref", references), ("hyp", hypotheses)):
        text = "".join(f"x {''.join(line)} y\n" for line in lines)  # sacrebleu keeps a mark at the start of a file
        (tmp_path / name).write_bytes(text.replace(" y\n", draw.choice([" y\n", "\r\n", "\x85\n"])).encode())
    command = [sys.executable, "-m", "sacrebleu", "ref", "-i", "hyp", "-m", "bleu", "chrf", "-w", "12"]
    theirs = json.loads(subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout)
    answer = mtx("evaluate", "--hyp", "hyp", "--ref", "ref", "--json")
    ours = json.loads(answer.out)
    assert ours["num_sentences"] == 20
    for name, expected in zip(("bleu", "chrf"), theirs, strict=True):
        assert ours[name]["score"] == pytest.approx(expected["score"], abs=1e-11)
        assert 10 < expected["score"] < 99


def test_train_again_prints_the_folder_and_changes_nothing(mtx: "Mtx", finished_run: Path) -> None:
    content = {path: path.read_bytes() for path in finished_run.rglob("*") if path.is_file()}
    answer = mtx("train", "--config", finished_run.parent.parent / "my.yaml", "--run-dir", finished_run)
    assert (answer.code, answer.out) == (0, f"{finished_run / 'model'}\n")
    assert {path: path.read_bytes() for path in finished_run.rglob("*") if path.is_file()} == content


def test_dry_run_writes_nothing(mtx: "Mtx", finished_run: Path, tmp_path: Path) -> None:
    answer = mtx("train", "--config", finished_run.parent.parent / "my.yaml", "--run-dir", "new", "--dry-run")
    assert (answer.code, answer.out) == (0, "")
    assert "parameters" in answer.err
    assert not (tmp_path / "new").exists()


def test_train_continues_with_changed_data_only_if_allowed(mtx: "Mtx", finished_run: Path, tmp_path: Path) -> None:
    shutil.copytree(finished_run.parent.parent, tmp_path / "copy")
    config = (finished_run / "config.yaml").read_text()
    moved = config.replace(str(finished_run.parent.parent), str(tmp_path / "copy"))
    (tmp_path / "copy" / "runs" / "my" / "config.yaml").write_text(moved)
    path = tmp_path / "copy" / "train.de"
    path.write_text(path.read_text(encoding="utf-8").replace("Hund", "Kater", 1), encoding="utf-8")
    command = ["train", "--config", path.with_name("my.yaml"), "--run-dir", path.parent / "runs" / "my"]
    answer = mtx(*command, "train.max_steps=13")
    assert (answer.code, len(answer.errors)) == (3, 1)
    assert "train.en and train.de" in answer.errors[0]
    answer = mtx(*command, "train.max_steps=13", "--allow-data-change")
    assert answer.code == 0, answer.err
    assert "not bit-equal to an uninterrupted run: other training data (train.en and train.de)" in answer.err


# --- tokenizer and config ---


def test_tokenizer_commands_are_filters(mtx: "Mtx", finished_run: Path) -> None:
    text = (finished_run.parent.parent / "train.en").read_bytes()
    assert mtx("tokenizer", "train", "--vocab-size", 300, "-o", "spm.model", stdin=text).out == "spm.model\n"
    for flags in ([], ["--ids"]):
        pieces = mtx("tokenizer", "encode", "-m", "spm.model", *flags, stdin=text)
        assert pieces.out.count("\n") == text.count(b"\n")
        assert mtx("tokenizer", "decode", "-m", "spm.model", *flags, stdin=pieces.out.encode()).out.encode() == text


def test_tokenizer_train_reads_no_more_than_its_sample(mtx: "Mtx", finished_run: Path) -> None:
    Path("text").write_text("ab cd ef gh\n" * 40_000)  # each line counts as 32 bytes: 1.28 MB
    command = ("tokenizer", "train", "text", "--vocab-size", 270, "-o", "spm.model")
    assert "drawn evenly" not in mtx(*command).err
    assert "drawn evenly from 40,000" in mtx(*command, "--sample-megabytes", 1).err


@pytest.mark.process
def test_encode_refuses_to_write_over_its_input(mtx: "Mtx", program: Sequence[str]) -> None:
    assert mtx("tokenizer", "train", "--vocab-size", 270, "-o", "spm.model", stdin=b"some text\n").code == 0
    Path("text").write_text("some text\n")
    command = [*program, "tokenizer", "encode", "-m", "spm.model"]
    with open("text") as file, open("text", "a") as same:
        done = subprocess.run(
            command, stdin=file, stdout=same, stderr=subprocess.PIPE, text=True, check=False, timeout=900
        )  # it would read its own output for ever
    assert done.returncode == 2
    assert "the output is the input stdin" in done.stderr
    assert Path("text").read_text() == "some text\n"


def test_a_lossless_tokenizer_gives_every_line_back(mtx: "Mtx", finished_run: Path) -> None:
    corpus = (finished_run.parent.parent / "train.en").read_bytes()
    options = ["--vocab-size", 300, "--normalization", "lossless", "-o", "spm.model"]
    assert mtx("tokenizer", "train", *options, stdin=corpus).code == 0
    text = "  a  b \n\n \n\u2581 a\ufdd0_\u2028\x85\x00\n<0x41> </s>\t\n\rﬁ e\u0301\rb\n".encode()
    for flags in ([], ["--ids"]):
        pieces = mtx("tokenizer", "encode", "-m", "spm.model", *flags, stdin=text)
        assert pieces.out.count("\n") == text.count(b"\n")
        assert mtx("tokenizer", "decode", "-m", "spm.model", *flags, stdin=pieces.out.encode()).out.encode() == text
    refused = mtx("tokenizer", "train", *options, "--no-byte-fallback", stdin=corpus)
    assert (refused.code, len(refused.errors)) == (2, 1)


def test_config_commands(mtx: "Mtx", finished_run: Path, tmp_path: Path) -> None:
    assert "train.lr" in mtx("config", "show", "--doc", "train.lr").out
    assert json.loads(mtx("config", "schema").out)["title"] == "Config"
    good = finished_run.parent.parent / "my.yaml"
    (tmp_path / "bad.yaml").write_text("train: {max_stpes: 3, lr: fast}")
    answer = mtx("config", "validate", good, "bad.yaml")
    assert (answer.code, answer.out) == (2, f"{good}: ok\n")
    assert len(answer.errors) == 3


# --- errors ---


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["trian"], 2, "train"),
        (["train", "--config", "my.yaml", "--device", "cuda:99"], 5, "device"),
        (["train", "--config", "my.yaml", "--device", "gpu"], 2, "gpu"),
        (["translate", "--model", "RUN", "--n-best", "2", "hi"], 2, "jsonl"),
        (["translate", "--model", "RUN", "--sample", "--samples", "2", "hi"], 2, "--samples above 1 needs"),
        (["translate", "--model", "RUN", "-x y"], 0, ""),
        (["evaluate", "--model", "RUN", "--src", "test.en", "--ref", "train.de"], 3, "lines"),
        (["evaluate", "--src", "test.en"], 2, "--ref"),
        (["evaluate", "--hyp", "test.de", "--src", "test.en", "--ref", "test.de"], 2, "--src"),
        (["evaluate", "--model", "MODEL_ALONE"], 2, "--src"),
        (["evaluate", "--hyp", "test.de", "--ref", "test.de", "--min", "blue=3"], 2, "blue"),
        (["config", "show", "--doc", "train.rl"], 2, "train.lr"),
    ],
)
def test_errors_are_one_line_with_a_code(
    mtx: "Mtx", finished_run: Path, tmp_path: Path, arguments: list[str], code: int, words: str
) -> None:
    for path in finished_run.parent.parent.glob("*.*"):
        shutil.copy(path, tmp_path)
    shutil.copytree(finished_run / "model", tmp_path / "alone")
    places = {"RUN": str(finished_run), "MODEL_ALONE": str(tmp_path / "alone")}
    answer = mtx(*(places.get(argument, argument) for argument in arguments))
    assert answer.code == code, answer.err
    assert len(answer.errors) == (code != 0)
    assert words in "".join(answer.errors)


def test_a_bug_prints_its_traceback(mtx: "Mtx", finished_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise KeyError("surprise")

    monkeypatch.setattr("mtx.decode.translator.Translator.translate", fail)
    answer = mtx("translate", "--model", finished_run, "hi")
    assert answer.code == 70
    assert "Traceback" in answer.err
    assert "a bug in mtx: KeyError" in answer.errors[0]
