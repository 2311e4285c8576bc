"""Languages on the command line: codes of any standard, scripts without spaces, and packages that are missing."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mtx.train.run_folder import read_metrics

if TYPE_CHECKING:
    from .conftest import Mtx

PAIRS = [(f"the {a} sees the {b}", f"{c}は{d}を見る。") for a, c in (("dog", "犬"), ("cat", "猫"), ("man", "男"))
         for b, d in (("bird", "鳥"), ("fish", "魚"), ("tree", "木"), ("house", "家"))]  # fmt: skip

CONFIG = """
data: {src_lang: en, tgt_lang: TGT, train: [{tsv: train.tsv}], dev: {tsv: train.tsv}, test: {tsv: train.tsv}}
tokenizer: {vocab_size: 70, byte_fallback: false}
model: {d_model: 16, num_heads: 2, d_ff: 16, encoder_layers: 1, decoder_layers: 1}
train: {max_steps: 2, batch_tokens: 256, eval_every: 2, precision: fp32}
"""


@pytest.fixture
def japanese(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A config into Japanese, without the packages that cut Japanese and Korean into words."""
    from sacrebleu.tokenizers import tokenizer_ja_mecab, tokenizer_ko_mecab

    for module in (tokenizer_ja_mecab, tokenizer_ko_mecab):
        monkeypatch.setattr(module, "MeCab", None)
    (tmp_path / "train.tsv").write_text("".join(f"{src}\t{tgt}\n" for src, tgt in PAIRS), encoding="utf-8")
    (tmp_path / "my.yaml").write_text(CONFIG.replace("TGT", "jpn"))
    return tmp_path / "my.yaml"


# --- scores ----------------------------------------------------------------------------------------------------------


def write_lines(name: str, *lines: str) -> str:
    Path(name).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return name


@pytest.mark.parametrize(
    ("codes", "tokenizer", "lines"),
    [
        (["zh", "zho", "cmn", "chi", "zh-Hant-TW", "zho_Hans"], "zh", ("今天天气很好，我们去公园。", "他在看书。")),
        (["th", "tha", "TH"], "char", ("วันนี้อากาศดี", "เขาอ่านหนังสือ")),
        (["my", "mya", "bur"], "char", ("ယနေ့ ရာသီဥတု ကောင်းသည်", "သူ စာဖတ်သည်")),
        (["km", "khm"], "char", ("ថ្ងៃនេះអាកាសធាតុល្អ", "គាត់អានសៀវភៅ")),
        (["lo", "lao"], "char", ("ມື້ນີ້ອາກາດດີ", "ລາວອ່ານປຶ້ມ")),
    ],
)
def test_all_codes_of_a_language_score_the_same(
    mtx: "Mtx", codes: list[str], tokenizer: str, lines: tuple[str, str]
) -> None:
    files = ["--hyp", write_lines("hyp", lines[0][:-2], lines[1]), "--ref", write_lines("ref", *lines), "--json"]
    answers = [mtx("evaluate", *files, "--tgt-lang", code) for code in codes]
    assert {answer.err for answer in answers} == {""}
    [first] = {answer.out for answer in answers}
    bleu = json.loads(first)["bleu"]
    assert f"tok:{tokenizer}|" in bleu["signature"]
    assert 50 < bleu["score"] < 100
    by_script = mtx("evaluate", *files)
    assert by_script.out == first
    assert f"by their script, the references are in {codes[0]}; BLEU" in by_script.err
    private = mtx("evaluate", *files, "--tgt-lang", "x-mine")
    assert private.out == first
    assert f"by their script, the references are in {codes[0]}; BLEU" in private.err
    as_german = mtx("evaluate", *files, "--tgt-lang", "de")
    assert "tok:13a" in as_german.out
    assert f"the references are scored as de, but by their script they are in {codes[0]}" in as_german.err


def test_a_given_language_decides_for_a_model_too(mtx: "Mtx", finished_run: Path) -> None:
    scored = {code: mtx("evaluate", "--model", finished_run, "--json", "--tgt-lang", code) for code in ("deu", "zho")}
    assert "tok:13a|" in scored["deu"].out
    assert "tok:zh|" in scored["zho"].out


# --- packages that are missing ---------------------------------------------------------------------------------------


def test_every_command_that_knows_tells_what_japanese_lacks(mtx: "Mtx", japanese: Path) -> None:
    commands = [
        ["config", "validate", japanese],
        ["init", "train.tsv", "--src-lang", "en", "--tgt-lang", "ja", "--output", "new.yaml"],
        ["data", "check", "--config", japanese],
        ["train", "--config", japanese, "--dry-run"],
        ["evaluate", "--hyp", "train.tsv", "--ref", "train.tsv", "--tgt-lang", "ja"],
    ]
    for command in commands:
        answer = mtx(*command)
        assert answer.code in (0, 1), command  # 1: dev is train
        assert answer.err.count("counts characters (tok:char)") == 1, command
        assert "pip install 'mtx[cjk]'" in answer.err


def test_training_into_japanese_needs_no_extra(mtx: "Mtx", japanese: Path) -> None:
    answer = mtx("train", "--config", japanese, "--run-dir", "run")
    assert answer.code == 0
    assert "BLEU of jpn counts characters (tok:char)" in answer.err
    [validation] = [record for record in read_metrics(Path("run/metrics.jsonl")) if record["event"] == "validation"]
    assert validation["chrf"] >= 0
    assert "tok:char" in Path("run/model/README.md").read_text()
    assert "tok:char" in mtx("evaluate", "--model", "run", "--json").out


def test_a_run_keeps_its_tokenizer_when_the_extra_is_installed_or_removed(
    mtx: "Mtx", japanese: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sacrebleu.tokenizers.tokenizer_ja_mecab import TokenizerJaMecab

    def tokenizers() -> list[str]:
        records = list(read_metrics(Path("run/metrics.jsonl")))
        return [each["tokenizer"] for record in records if record["event"] == "validation" for each in record["sets"]]

    command = ["train", "--config", japanese, "--run-dir"]
    assert mtx(*command, "run", "train.max_steps=4").code == 0
    with monkeypatch.context() as patch:
        for name, value in (("__init__", None), ("signature", "mecab"), ("__call__", "x")):
            patch.setattr(TokenizerJaMecab, name, lambda *_, value=value: value)
        kept = mtx(*command, "run", "train.max_steps=6")
        assert (kept.code, tokenizers()) == (0, ["char"] * 3)
        assert "train.tsv: BLEU keeps tok:char, with which this run began" in kept.err
        assert "tok:char" not in mtx(*command, "new", "train.max_steps=4").err
        assert "tok:mecab" in mtx("evaluate", "--model", "new", "--json").out
    lost = mtx(*command, "new", "train.max_steps=6")
    assert "BLEU uses tok:char from now on and can't be compared with earlier scores" in lost.err


# --- variants --------------------------------------------------------------------------------------------------------


def test_every_command_that_reads_a_memory_tells_its_variants(mtx: "Mtx", tmp_path: Path) -> None:
    unit = '<tu><tuv xml:lang="en"><seg>{}</seg></tuv><tuv xml:lang="{}"><seg>{}</seg></tuv></tu>'
    codes = ["zh-CN"] * 8 + ["zh-TW"] * 4
    body = "".join(unit.format(*PAIRS[row][:1], code, PAIRS[row][1]) for row, code in enumerate(codes))
    (tmp_path / "a.tmx").write_text(f'<tmx version="1.4"><header/><body>{body}</body></tmx>', encoding="utf-8")
    (tmp_path / "my.yaml").write_text(CONFIG.replace("TGT", "zh").replace("tsv: train.tsv", "tmx: a.tmx"))
    told = "several variants of zh: zh-CN (8), zh-TW (4)"
    alone = ["data.dev=null", "data.test=null"]
    checked = mtx("data", "check", "--config", "my.yaml", *alone)
    assert told in checked.out
    assert "To use one only, set tgt_lang: zh-CN" in checked.out
    assert told in mtx("init", "a.tmx", "--src-lang", "en", "--tgt-lang", "zh", "--output", "new.yaml").err
    for _ in range(2):  # the second time from the cache
        assert mtx("train", "--config", "my.yaml", "--dry-run", *alone).err.count(told) == 1
    only = mtx("data", "check", "--config", "my.yaml", *alone, "data.tgt_lang=zh-TW")
    assert ("several variants" in only.out, "4 to train on" in only.out) == (False, True)
