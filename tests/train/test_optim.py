"""The optimizer is torch's AdamW with our settings; the learning rate follows its closed formulas."""

import math

import pytest
import torch

from mtx.config.settings import ModelSettings, TrainSettings
from mtx.model import build_transformer
from mtx.train.optim import build_optimizer, learning_rate


def test_groups_hold_every_parameter_once_and_only_matrices_decay() -> None:
    sizes = ModelSettings(d_model=8, num_heads=2, d_ff=12, encoder_layers=2, decoder_layers=1)
    model = build_transformer(sizes, src_vocab_size=9, tgt_vocab_size=9, pad_id=0, is_joint=True)
    groups = build_optimizer(model, TrainSettings(weight_decay=0.3)).param_groups
    held = [id(parameter) for group in groups for parameter in group["params"]]
    assert sorted(held) == sorted(id(parameter) for parameter in model.parameters())
    decay = {id(parameter): group["weight_decay"] for group in groups for parameter in group["params"]}
    for name, parameter in model.named_parameters():
        is_matrix = "norm" not in name and name.endswith("weight")
        assert decay[id(parameter)] == (0.3 if is_matrix else 0.0), name


def test_updates_equal_those_of_torch() -> None:
    torch.manual_seed(1)
    ours = torch.nn.Linear(3, 2, dtype=torch.float64)
    theirs = torch.nn.Linear(3, 2, dtype=torch.float64)
    theirs.load_state_dict(ours.state_dict())
    settings = TrainSettings(lr=0.01, weight_decay=0.1, adam_beta1=0.8, adam_beta2=0.95, adam_eps=1e-4)
    optimizer = build_optimizer(ours, settings)
    groups = [{"params": [theirs.weight], "weight_decay": 0.1}, {"params": [theirs.bias], "weight_decay": 0.0}]
    expected = torch.optim.AdamW(groups, lr=0.01, betas=(0.8, 0.95), eps=1e-4, fused=False, foreach=False)
    for _ in range(20):
        x = torch.randn(5, 3, dtype=torch.float64)
        for model, stepped in ((ours, optimizer), (theirs, expected)):
            stepped.zero_grad()
            model(x).square().sum().backward()
            stepped.step()
    for parameter, expected_parameter in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(parameter, expected_parameter, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("warmup", [0, 1, 40])
@pytest.mark.parametrize("schedule", ["inverse_sqrt", "cosine", "constant"])
def test_learning_rate(schedule: str, warmup: int) -> None:
    peak, last = 0.7, 100
    settings = TrainSettings(lr=peak, warmup_steps=warmup, max_steps=last, schedule=schedule)
    after_warmup = {
        "inverse_sqrt": lambda step: peak * (step / max(warmup, 1)) ** -0.5,
        "cosine": lambda step: peak * math.cos(math.pi / 2 * (step - warmup) / (last - warmup)) ** 2,
        "constant": lambda step: peak,
    }[schedule]
    for step in {1, warmup - 1, warmup, warmup + 1, last} - {0, -1}:
        expected = peak * step / warmup if step <= warmup else after_warmup(step)
        assert learning_rate(step, settings) == pytest.approx(expected, abs=1e-12), step
    if warmup:
        assert learning_rate(warmup, settings) == peak
    # A run that continues past the end of the cosine stays at 0.
    assert learning_rate(2 * last, settings) >= 0
    assert schedule != "cosine" or learning_rate(2 * last, settings) == pytest.approx(0, abs=1e-12)
