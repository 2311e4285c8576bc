"""Losses, chosen by name (`train.loss`): a loss is a function of the model, a batch and the settings.

The letters of the shapes are explained in `mtx.model`; N counts the real target tokens of a batch.
"""

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mtx.config.settings import TrainSettings
from mtx.data.batching import Batch, collate
from mtx.data.prepared.corpus import Corpus, Ids, Lines
from mtx.model import Transformer
from mtx.model.fast.agreement import are_twins_wanted, random_model
from mtx.model.fast.loss import projected_loss_sum
from mtx.system.logs import LOGGER


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
    """Return the loss called `name`, or its fast twin if that gives the same numbers."""
    loss = LOSSES[name]
    twin = FAST_TWINS.get(loss)
    return twin if twin is not None and twin_agrees(loss, twin) else loss


@cache
def twin_agrees(loss: LossFunction, twin: LossFunction) -> bool:
    """Whether `twin` gives the numbers of `loss`, up to rounding. Checked once per process; a mismatch is logged."""
    if not are_twins_wanted():
        return False
    src, tgt = Ids.from_lists([[4, 5, 6], [7]]), Ids.from_lists([[6, 5], [4, 7, 8]])
    rows = np.arange(len(src), dtype=np.uint8)
    batch = collate(Corpus(src, tgt, Lines([rows]), {}, 0, ""), rows, pad_id=0, bos_id=2, eos_id=3)
    try:
        with random_model() as model, torch.no_grad():
            plain, fast = (each(model.eval(), batch, TrainSettings()) for each in (loss, twin))
            do_agree = all(map(torch.allclose, plain, fast))
    except Exception:  # such as a missing attribute: the changed model may lack what the twin needs
        do_agree = False
    if not do_agree:
        LOGGER.warning("%s differs from its fast twin %s and is used without it", loss.__name__, twin.__name__)
    return do_agree


def select_real(values: Tensor, batch: Batch) -> Tensor:
    """Select the positions of real target tokens. Shapes: (B, T, …) -> (N, …)."""
    # By index: the size of a boolean selection is only known on the device, and a GPU would have to be waited for.
    return values.flatten(0, 1).index_select(0, batch.target_positions)
