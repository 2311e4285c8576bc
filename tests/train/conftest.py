"""A run of two seconds: 60 pairs, some of them twice, one thin layer a side, few batches an epoch, two a step."""

import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mtx.config.load import load_config
from mtx.config.settings import Config

CONFIG = """
data: {train: [{tsv: train.tsv}], dev: {tsv: dev.tsv}}
tokenizer: {vocab_size: 40, byte_fallback: false}
model: {d_model: 16, num_heads: 2, d_ff: 32, encoder_layers: 1, decoder_layers: 1, dropout: 0.1}
train: {max_steps: 12, batch_tokens: 100, accumulate: 2, lr: 5e-3, warmup_steps: 4, precision: fp32, device: cpu,
        save_every: 3, eval_every: 4, log_every: 5, average: 3}
"""


@pytest.fixture(scope="session")
def config_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The config in a file beside its data: random words, and the same words in reverse."""
    folder = tmp_path_factory.mktemp("config")
    draw = random.Random(1)
    for name, num_pairs in (("train", 60), ("dev", 8)):
        sentences = [[draw.choice("abcdefgh") for _ in range(draw.randint(1, 8))] for _ in range(num_pairs)]
        lines = [f"{' '.join(words)}\t{' '.join(reversed(words))}\n" for words in sentences]
        (folder / f"{name}.tsv").write_text("".join(lines))
    (folder / "tiny.yaml").write_text(CONFIG)
    return folder / "tiny.yaml"


@pytest.fixture(scope="module")
def configure(config_path: Path) -> Iterator[Callable[..., Config]]:
    """The tiny config, changed by overrides; runs use one thread, which makes them bit-equal."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        yield lambda *overrides: load_config(config_path, overrides)
