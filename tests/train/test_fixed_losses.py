"""The losses of twenty fixed steps stay the same, however the code is rearranged.

They are computed in float64, where neither the order of sums nor the CPU makes a visible difference. If they change on
purpose, write them again from the root of the project, and give the reason in the commit:

    python tests/train/test_fixed_losses.py
"""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from mtx.checkpoint.training import Progress, TrainState
from mtx.config.settings import ModelSettings, TrainSettings
from mtx.data.batching import collate
from mtx.data.prepared.corpus import Corpus, Ids, Lines
from mtx.distributed.process_group import SINGLE
from mtx.model import build_transformer
from mtx.model.fast import for_training
from mtx.system.device import Precision
from mtx.train.optim import build_optimizer
from mtx.train.parallel import parallelize
from mtx.train.step import train_step

STORED = Path(__file__).with_suffix(".json")


def losses(norm: str) -> list[float]:
    """Loss per token of twenty steps with dropout, from initial weights through batching to the optimizer."""
    draw = np.random.default_rng(1)
    sides = [Ids.from_lists([draw.integers(4, 40, draw.integers(1, 12)).tolist() for _ in range(160)]) for _ in "st"]
    corpus, precision = (
        Corpus(*sides, Lines([np.arange(160)]), {}, 0, ""),
        Precision(torch.float32, torch.device("cpu")),
    )
    torch.manual_seed(1)
    sizes = ModelSettings(
        d_model=32,
        num_heads=4,
        d_ff=48,
        encoder_layers=2,
        decoder_layers=2,
        dropout=0.1,
        attention_dropout=0.1,
        norm=norm,
    )
    model = build_transformer(sizes, src_vocab_size=40, tgt_vocab_size=40, pad_id=0, is_joint=True).double()
    for_training(model)
    settings = TrainSettings(lr=3e-3, warmup_steps=8, weight_decay=0.01, clip_norm=0.8)
    initial = TrainState(model, build_optimizer(model, settings), precision.scaler(), Progress())
    state, loss_fn = parallelize(initial, settings, precision.device, SINGLE)
    found = []
    for rows in np.arange(160).reshape(20, 2, 4):
        batches = [collate(corpus, part, pad_id=0, bos_id=2, eos_id=3) for part in rows]
        stats = train_step(state, loss_fn, batches, precision, settings)
        found.append(stats.loss / stats.num_tokens)
    return found


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("norm", ["pre", "post"])
def test_losses_equal_the_stored_ones(norm: str) -> None:
    assert losses(norm) == pytest.approx(json.loads(STORED.read_text())[norm], rel=1e-6)


if __name__ == "__main__":
    STORED.write_text(json.dumps({norm: losses(norm) for norm in ("pre", "post")}, indent=1) + "\n")
