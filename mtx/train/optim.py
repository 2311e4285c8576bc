"""The optimizer and its learning rate."""

import math
from typing import assert_never

import torch
from torch import nn

from mtx.config.settings import TrainSettings


def build_optimizer(model: nn.Module, settings: TrainSettings) -> torch.optim.AdamW:
    """Build AdamW with two groups: matrices, which decay, and biases and norms, which do not."""
    parameters = list(model.parameters())  # a tied matrix comes once
    groups = [
        {"params": [p for p in parameters if p.dim() >= 2], "weight_decay": settings.weight_decay},
        {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0},
    ]
    betas = (settings.adam_beta1, settings.adam_beta2)
    return torch.optim.AdamW(groups, lr=settings.lr, betas=betas, eps=settings.adam_eps, fused=True)


def learning_rate(step: int, settings: TrainSettings) -> float:
    """Learning rate of step `step`, counted from 1: a linear warm-up to `lr`, then the schedule.

    `inverse_sqrt` is equation 3 of Vaswani et al. 2017 with the peak as a setting instead of derived from d_model;
    `cosine` falls to 0 at `max_steps` (Loshchilov & Hutter 2017, equation 5, without restarts).
    """
    warmup = settings.warmup_steps
    if step <= warmup:
        return settings.lr * step / warmup
    if settings.schedule == "inverse_sqrt":
        return settings.lr * math.sqrt(max(warmup, 1) / step)
    if settings.schedule == "cosine":
        progress = (step - warmup) / max(settings.max_steps - warmup, 1)
        return settings.lr * 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))
    if settings.schedule == "constant":
        return settings.lr
    assert_never(settings.schedule)


def set_learning_rate(optimizer: torch.optim.Optimizer, lr: float) -> float:
    """Set the learning rate of all groups, and return it."""
    for group in optimizer.param_groups:
        group["lr"] = lr
    return lr
