"""Losses, chosen by name (`train.loss`): a loss is a function of the model, a batch and the settings.

The letters of the shapes are explained in `mtx.model`; N counts the real target tokens of a batch.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from mtx.config.settings import TrainSettings
from mtx.data.batching import Batch
from mtx.model import Transformer
from mtx.model.fast.loss import projected_loss_sum


class Loss(NamedTuple):
    """Sums over the real target tokens of a batch, in nats. Shapes: (), ()."""

    total: Tensor  # Value to minimise; it carries the gradient
    nll: Tensor  # Negative log-likelihood, without smoothing and without gradient


LossFunction = Callable[[Transformer, Batch, TrainSettings], Loss]


def cross_entropy(model: Transformer, batch: Batch, settings: TrainSettings) -> Loss:
    """Cross-entropy with label smoothing."""
    return smoothed(real_logits(model, batch), batch, settings)


def smoothed(logits_NV: Tensor, batch: Batch, settings: TrainSettings) -> Loss:
    """Cross-entropy of logits, with (1 - ε) · one-hot + ε / V as the target (Szegedy et al. 2016, section 7)."""
    logits_NV = logits_NV.to(torch.promote_types(logits_NV.dtype, torch.float32))
    tgt_N = select_real(batch.tgt_out, batch)
    total = F.cross_entropy(logits_NV, tgt_N, reduction="sum", label_smoothing=settings.label_smoothing)
    return Loss(total, F.cross_entropy(logits_NV.detach(), tgt_N, reduction="sum"))


def real_logits(model: Transformer, batch: Batch) -> Tensor:
    """Compute the logits of the real target tokens. Shapes: (N, V)."""
    return select_real(model(batch.src_ids, batch.src_mask, batch.tgt_in), batch)


def blocked_cross_entropy(model: Transformer, batch: Batch, settings: TrainSettings) -> Loss:
    """Fast twin of `cross_entropy`: the logits are computed and used block by block, never all at once."""
    hidden_BTD = model.decode(batch.tgt_in, model.encode(batch.src_ids, batch.src_mask), batch.src_mask)
    hidden_ND, tgt_N = select_real(hidden_BTD, batch), select_real(batch.tgt_out, batch)
    return Loss(*projected_loss_sum(hidden_ND, model.output.weight, tgt_N, settings.label_smoothing))


LOSSES: dict[str, LossFunction] = {"cross_entropy": cross_entropy}  # Every loss, by the name that `train.loss` gives it
FAST_TWINS: dict[LossFunction, LossFunction] = {cross_entropy: blocked_cross_entropy}  # The same numbers, sooner


def loss_function(name: str) -> LossFunction:
    """Return the loss called `name`, or its fast twin if it has one."""
    loss = LOSSES[name]
    return FAST_TWINS.get(loss, loss)


def select_real(values: Tensor, batch: Batch) -> Tensor:
    """Select the positions of real target tokens. Shapes: (B, T, …) -> (N, …)."""
    # By index: the size of a boolean selection is only known on the device, and a GPU would have to be waited for.
    return values.flatten(0, 1).index_select(0, batch.target_positions)
