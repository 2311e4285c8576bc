"""One optimizer update."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_

from mtx.checkpoint.training import Training
from mtx.config.settings import TrainSettings
from mtx.data.batching import Batch
from mtx.model import Transformer
from mtx.runtime import Precision
from mtx.train.loss import projected_loss_sum
from mtx.train.optim import learning_rate


@dataclass(frozen=True, slots=True)
class UpdateStats:
    """What an update tells; tensors stay on the device until somebody reads them."""

    loss: Tensor
    """Label-smoothed loss, a sum in nats."""
    nll: Tensor
    """Negative log-likelihood, a sum in nats."""
    grad_norm: Tensor
    """Before clipping, in true units."""
    lr: float
    num_tokens: int
    """Real target tokens."""
    num_padded: int
    """Tokens of both sides, padding included."""
    num_real: int
    """Tokens of both sides, without padding."""
    is_skipped: Tensor
    """Whether the gradient was not finite, so that the weights stayed as they were."""


def loss_sums(model: Transformer, batch: Batch, precision: Precision, label_smoothing: float) -> tuple[Tensor, Tensor]:
    """The label-smoothed loss and the negative log-likelihood of `batch`, sums over its real target tokens."""
    with precision.autocast():
        memory = model.encode(batch.src_ids, batch.src_mask)
        hidden_BTD = model.decode(batch.tgt_in, memory, batch.src_mask)
        # By indices made on the CPU: to pick by a mask, a GPU would be waited for.
        hidden_ND, tgt_N = hidden_BTD.flatten(0, 1).index_select(0, batch.real), batch.tgt_out.flatten()[batch.real]
        return projected_loss_sum(hidden_ND, model.output.weight, tgt_N, label_smoothing)


def update(
    training: Training, model: Transformer, batches: Sequence[Batch], precision: Precision, settings: TrainSettings
) -> UpdateStats:
    """Update the weights once by the gradient of one or several batches.

    The loss is a sum over all their real tokens, divided by the number of these: splitting a batch changes nothing.
    """
    optimizer, scaler = training.optimizer, training.scaler
    num_tokens = sum(batch.num_tokens for batch in batches)
    loss_sum = torch.zeros((), device=precision.device)
    nll_sum = torch.zeros((), device=precision.device)

    for batch in batches:
        loss, nll = loss_sums(model, batch.to(precision.device), precision, settings.label_smoothing)
        scaler.scale(loss / num_tokens).backward()  # type: ignore[no-untyped-call]
        loss_sum += loss.detach()
        nll_sum += nll

    scaler.unscale_(optimizer)  # before clipping: the threshold is in true units
    grad_norm = clip_grad_norm_(model.parameters(), settings.clip_norm)
    lr = learning_rate(training.progress.step + 1, settings)
    for group in optimizer.param_groups:
        group["lr"] = lr
    is_skipped = ~grad_norm.isfinite()
    # The fused optimizer changes nothing where this is 1, as it does for a scaler: to ask here would wait for a GPU.
    optimizer.found_inf = is_skipped.float()  # type: ignore[attr-defined]
    scaler.step(optimizer)
    scaler.update()
    optimizer.zero_grad(set_to_none=True)
    return UpdateStats(
        loss_sum,
        nll_sum,
        grad_norm,
        lr,
        num_tokens,
        num_padded=sum(batch.src_ids.numel() + batch.tgt_out.numel() for batch in batches),
        num_real=sum(batch.num_src_tokens for batch in batches) + num_tokens,
        is_skipped=is_skipped,
    )
