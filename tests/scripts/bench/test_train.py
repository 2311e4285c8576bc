"""Benchmark of training, with mtx alone, on a corpus of a few words."""

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from mtx.config.load import load_config
from mtx.data.batching import Position, batches_from
from mtx.data.mixing import Mixture
from mtx.data.prepared.prepare import prepare
from mtx.text.tokenizer import Tokenizer
from scripts.bench import train
from scripts.bench.contest import ROOT
from scripts.bench.peers import plain_loop, torch_train
from scripts.bench.training_data import write_work

CONFIG = """
data: {train: [{tsv: train.tsv}]}
tokenizer: {vocab_size: 40, byte_fallback: false}
model: {d_model: 16, num_heads: 2, d_ff: 32, encoder_layers: 1, decoder_layers: 1}
train: {batch_tokens: 100, device: cpu}
"""


@pytest.fixture(scope="module")
def config_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The config in a file, beside its data."""
    folder = tmp_path_factory.mktemp("config")
    draw = random.Random(1)
    sentences = [" ".join(draw.choices("abcdefgh", k=draw.randint(1, 8))) for _ in range(60)]
    (folder / "train.tsv").write_text("".join(f"{sentence}\t{sentence[::-1]}\n" for sentence in sentences))
    (folder / "tiny.yaml").write_text(CONFIG)
    return folder / "tiny.yaml"


@pytest.mark.process
def test_mtx_alone_makes_a_table(config_path: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "scripts.bench.train", "--config", config_path, "--precision", "fp32"]
    command += ["--only", "mtx", "fairseq"]
    options = ["--rounds", "2", "--steps", "2", "--threads", "1", "--json", tmp_path / "turns.json"]
    options += ["--python", "fairseq=nowhere/python"]
    ran = subprocess.run([*command, *options], cwd=ROOT, capture_output=True, text=True, check=True)
    row = next(line for line in ran.stdout.splitlines() if line.startswith("| mtx fp32 | "))
    assert row.count("|") == 7
    assert "left out: fairseq fp32: no Python at nowhere/python" in ran.stdout.splitlines()
    turns = json.loads((tmp_path / "turns.json").read_text())["turns"]
    assert [turn["steps"] for turn in turns["mtx fp32"]] == [2, 2]
    # Two full batches of at most 100 tokens, padding not counted.
    assert all(50 < turn["tokens"] <= 200 for turn in turns["mtx fp32"])


def test_speeds_become_ratios_and_shares() -> None:
    def turns(*tokens: int) -> list[dict[str, float]]:
        return [{"tokens": count, "seconds": 2, "steps": 10, "peak_rss_mib": count} for count in tokens]

    rows = train.table_rows(
        {
            "mtx fp32": turns(400, 300),
            "slow fp32": turns(100, 80),
            "peer bf16": turns(900, 900),
            "peer fp32": turns(200, 300),
            "matrix products": [{"fp32": 4000, "bf16": 9000}, {"fp32": 2000, "bf16": 9000}],
        },
        flops_per_token=10,
    )
    assert [list(row.values()) for row in rows] == [
        ["peer bf16", "450 (450..450)", "90", "3.75 (3.00..4.50)", "50 %", "900"],
        ["mtx fp32", "175 (150..200)", "35", "1.50 (1.00..2.00)", "62 %", "400"],
        ["peer fp32", "125 (100..150)", "25", "1.00 (1.00..1.00)", "50 %", "300"],
        ["slow fp32", "45 (40..50)", "9", "0.38 (0.27..0.50)", "16 %", "100"],
    ]
    assert "times peer fp32" in rows[0]


def test_hand_written_loops_get_the_batches_of_mtx(config_path: Path, tmp_path: Path) -> None:
    config = load_config(config_path, [])
    write_work(config, tmp_path)
    work = plain_loop.Work(**json.loads((tmp_path / "work.json").read_text()))
    tokenizer = Tokenizer.from_files({"spm.model": (tmp_path / "spm.model").read_bytes()})
    special = {"pad_id": tokenizer.pad_id, "bos_id": tokenizer.bos_id, "eos_id": tokenizer.eos_id}
    corpus = prepare(config.data.train, config.data, config.clean, tokenizer)
    mixture = Mixture.of(corpus, config.data.train, config.data.temperature)
    expected = batches_from(corpus, mixture, Position(), batch_tokens=100, seed=config.train.seed, **special)
    words = [(tmp_path / f"train.{side}").read_text().splitlines() for side in ("src", "tgt")]
    for (after, batch), (src, tgt, num_tokens) in zip(expected, plain_loop.batches(work, tmp_path), strict=False):
        if after.epoch:
            break
        assert batch.src_ids.equal(src)
        assert batch.tgt_out.equal(tgt)
        assert batch.num_tokens == num_tokens
        row = batch.rows[0]
        assert words[0][row].split() == [str(i) for i in src[0].tolist() if i not in special.values()]

    model, forward = torch_train.build(work)  # the model must not see target tokens in advance
    changed = tgt[:, :4].clone()
    changed[:, -1] = 5
    model.eval()
    torch.testing.assert_close(forward(src, tgt[:, :3]), forward(src, changed)[:, :3])
