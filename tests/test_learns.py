"""Tiny models, trained by the real `train`, learn to copy and reverse digits, and 20 sentences by heart."""

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from mtx.config.load import load_config
from mtx.config.sources import Demo
from mtx.data.sources.read import read_pairs
from mtx.train.run_folder import read_metrics
from mtx.train.trainer import train

CONFIG = """
data: {train: [{tsv: train.tsv}], dev: {tsv: dev.tsv}}
tokenizer: {vocab_size: 30, byte_fallback: false}
model: {d_model: 64, num_heads: 4, d_ff: 128, encoder_layers: 2, decoder_layers: 2, dropout: 0.0}
train: {max_steps: 400, batch_tokens: 600, lr: 3e-3, warmup_steps: 60, schedule: cosine, precision: fp32, device: cpu,
        eval_every: 400, save_every: 400, log_every: 100, eval_sentences: 200}
"""


@pytest.fixture
def final_bleu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., float]:
    """Trains on pairs and returns the final BLEU of greedy translations of dev pairs."""

    def final_bleu(train_pairs: list[tuple[str, str]], dev_pairs: list[tuple[str, str]], *overrides: str) -> float:
        monkeypatch.setenv("OMP_NUM_THREADS", "1")
        for name, pairs in (("train", train_pairs), ("dev", dev_pairs)):
            (tmp_path / f"{name}.tsv").write_text("".join(f"{src}\t{tgt}\n" for src, tgt in pairs), encoding="utf-8")
        (tmp_path / "tiny.yaml").write_text(CONFIG)
        train(load_config(tmp_path / "tiny.yaml", overrides), tmp_path / "run")
        metrics = list(read_metrics(tmp_path / "run" / "metrics.jsonl"))
        return [float(record["bleu"]) for record in metrics if "bleu" in record][-1]

    return final_bleu


@pytest.mark.slow
@pytest.mark.parametrize("step", [1, -1], ids=["copies", "reverses"])
def test_unseen_strings_of_letters(step: int, final_bleu: Callable[..., float]) -> None:
    draw = random.Random(1)
    strings = {"".join(draw.choices("abcdefghij", k=draw.randint(3, 6))) for _ in range(8000)}
    pairs = [(" ".join(word), " ".join(word[::step])) for word in draw.sample(sorted(strings), len(strings))]
    assert final_bleu(pairs[200:], pairs[:200]) == pytest.approx(100)


@pytest.mark.slow
def test_twenty_sentences_by_heart(final_bleu: Callable[..., float]) -> None:
    pairs = list(read_pairs(Demo(demo="train"), "en", "de"))[:20]
    overrides = ["tokenizer.vocab_size=200", "train.max_steps=150", "train.warmup_steps=20", "train.eval_every=150"]
    assert final_bleu(pairs, pairs, *overrides) == pytest.approx(100)
