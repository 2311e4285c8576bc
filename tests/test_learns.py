"""It learns: a tiny model, trained by the real `train`, turns strings of digits round that it has never seen."""

import random
from pathlib import Path

import pytest

from mtx.config.reading import load_config
from mtx.train.loop import train
from mtx.train.run_folder import read_metrics

CONFIG = """
data: {train: [{tsv: train.tsv}], dev: {tsv: dev.tsv}}
tokenizer: {vocab_size: 30, byte_fallback: false}
model: {d_model: 64, num_heads: 4, d_ff: 128, encoder_layers: 2, decoder_layers: 2, dropout: 0.0}
train: {max_steps: 600, batch_tokens: 1000, lr: 3e-3, warmup_steps: 100, precision: fp32, device: cpu,
        eval_every: 300, save_every: 300, log_every: 100, eval_sentences: 200}
"""


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_reverses_digits(seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    draw = random.Random(seed)
    strings = {"".join(draw.choices("0123456789", k=draw.randint(3, 6))) for _ in range(8000)}
    shuffled = draw.sample(sorted(strings), len(strings))
    for name, part in (("dev", shuffled[:200]), ("train", shuffled[200:])):
        lines = [f"{' '.join(digits)}\t{' '.join(reversed(digits))}\n" for digits in part]
        (tmp_path / f"{name}.tsv").write_text("".join(lines))
    (tmp_path / "digits.yaml").write_text(CONFIG)
    train(load_config(tmp_path / "digits.yaml", [f"train.seed={seed}"]), tmp_path / "run")
    scores = [record["bleu"] for record in read_metrics(tmp_path / "run" / "metrics.jsonl") if "bleu" in record]
    assert scores[-1] > 95
