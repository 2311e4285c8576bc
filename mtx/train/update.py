"""One optimizer update."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.utils import clip_grad_norm_

from mtx.checkpoint.training import Training
from mtx.config.settings import TrainSettings
from mtx.data.batching import Batch
from mtx.model import Transformer
from mtx.runtime import Precision, is_out_of_memory
from mtx.train.loss import projected_loss_sum
from mtx.train.optim import learning_rate
from mtx.train.spikes import Ordinary


@dataclass(frozen=True, slots=True)
class Awaited:
    """Numbers on their way from a device. Who reads them waits for them, and for nothing that it was given later."""

    numbers_X: Tensor
    arrival: torch.cuda.Event | None
    """After it they are there; None where they always were."""

    @classmethod
    def of(cls, *numbers: Tensor) -> Self:
        """Ask for numbers that one device has, or will have."""
        together_X = torch.stack([number.detach().double() for number in numbers])
        if together_X.device.type != "cuda":
            return cls(together_X, None)
        # Together, and into memory that the device can write by itself.
        numbers_X = torch.empty_like(together_X, device="cpu", pin_memory=True).copy_(together_X, non_blocking=True)
        arrival = torch.cuda.Event()  # type: ignore[no-untyped-call]
        arrival.record()
        return cls(numbers_X, arrival)

    def read(self) -> list[float]:
        """The numbers, once they are there."""
        if self.arrival is not None:
            self.arrival.synchronize()
        numbers: list[float] = self.numbers_X.tolist()
        return numbers


@dataclass(frozen=True, slots=True)
class UpdateStats:
    """What an update tells; what the device finds out is waited for by who asks."""

    step: int
    """Which update it is, counted from 1."""
    found: Awaited
    """Loss, negative log-likelihood, norm of the gradient, and 1 for an update that was skipped."""
    lr: float
    num_tokens: int
    """Real target tokens."""
    num_padded: int
    """Tokens of both sides, padding included."""
    num_real: int
    """Tokens of both sides, without padding."""
    lines: NDArray[np.int64]
    """Where its pairs stood in the input."""
    num_cuts: int
    """How often a batch was cut in two, for want of memory."""

    @property
    def loss(self) -> float:
        """Label-smoothed loss, a sum in nats."""
        return self.found.read()[0]

    @property
    def nll(self) -> float:
        """Negative log-likelihood, a sum in nats."""
        return self.found.read()[1]

    @property
    def grad_norm(self) -> float:
        """Before clipping, in true units."""
        return self.found.read()[2]

    @property
    def is_skipped(self) -> bool:
        """Whether the weights stayed as they were: a number was not finite, or too high."""
        return self.found.read()[3] != 0


class PairTooLargeError(Exception):
    """There is no memory for a single pair, that of the one row of `batch`."""

    def __init__(self, batch: Batch) -> None:
        super().__init__(f"{batch.num_src_tokens} source and {batch.num_tokens} target tokens")
        self.batch = batch


def loss_sums(model: Transformer, batch: Batch, precision: Precision, label_smoothing: float) -> tuple[Tensor, Tensor]:
    """The label-smoothed loss and the negative log-likelihood of `batch`, sums over its real target tokens."""
    with precision.autocast():
        memory = model.encode(batch.src_ids, batch.src_mask)
        hidden_BTD = model.decode(batch.tgt_in, memory, batch.src_mask)
        # By indices made on the CPU: to pick by a mask, a GPU would be waited for.
        hidden_ND, tgt_N = hidden_BTD.flatten(0, 1).index_select(0, batch.real), batch.tgt_out.flatten()[batch.real]
        return projected_loss_sum(hidden_ND, model.output.weight, tgt_N, label_smoothing)


def update(
    training: Training,
    model: Transformer,
    batches: Sequence[Batch],
    precision: Precision,
    settings: TrainSettings,
    ordinary: Ordinary | None = None,
) -> UpdateStats:
    """Update the weights once by the gradient of one or several batches.

    The loss is a sum over all their real tokens, divided by the number of these: splitting a batch changes nothing.
    Where the loss or the norm of the gradient is not finite, or far out of what is `ordinary` if that is given, the
    update is skipped: weights, moments and Adam's count of updates stay as they are. It is a step all the same: the
    learning rate is a function of the step alone, so that none that follows changes, and no GPU is waited for.

    Raises:
        PairTooLargeError: there is no memory for one of the pairs by itself.
    """
    optimizer, scaler = training.optimizer, training.scaler
    num_tokens = sum(batch.num_tokens for batch in batches)
    parts = list(batches)
    loss_sum, nll_sum = _add_up_gradients(training, model, parts, precision, settings.label_smoothing)
    scaler.unscale_(optimizer)  # before clipping: the threshold is in true units
    grad_norm = clip_grad_norm_(model.parameters(), settings.clip_norm)
    step = training.progress.step + 1
    lr = learning_rate(step, settings)
    for group in optimizer.param_groups:
        group["lr"] = lr
    is_skipped = ~(loss_sum.isfinite() & grad_norm.isfinite())
    if ordinary is not None:
        is_skipped |= ordinary.is_spike(loss_sum / num_tokens, grad_norm)
    # The fused optimizer changes nothing where this is 1: to ask here would wait for a GPU. Not by the scaler's own
    # step, which looks at gradients alone: they may be finite, and their norm not.
    optimizer.found_inf = is_skipped.float()  # type: ignore[attr-defined]
    optimizer.step()
    scaler.update()
    optimizer.zero_grad(set_to_none=True)
    return UpdateStats(
        step,
        Awaited.of(loss_sum, nll_sum, grad_norm, is_skipped),
        lr,
        num_tokens,
        num_padded=sum(batch.src_ids.numel() + batch.tgt_out.numel() for batch in parts),
        num_real=sum(batch.num_src_tokens for batch in parts) + num_tokens,
        lines=np.concatenate([batch.lines for batch in batches]),
        num_cuts=len(parts) - len(batches),
    )


def _add_up_gradients(
    training: Training, model: Transformer, parts: list[Batch], precision: Precision, label_smoothing: float
) -> tuple[Tensor, Tensor]:
    """Leave the gradient of all `parts` in the model; returns the sums of loss and negative log-likelihood.

    A batch that there is no memory for is cut in two in `parts`, and all begins anew: it may have left half a gradient.
    """
    num_tokens = sum(batch.num_tokens for batch in parts)
    while True:
        loss_sum = torch.zeros((), device=precision.device)
        nll_sum = torch.zeros((), device=precision.device)
        num_done = 0
        try:
            for batch in parts:
                loss, nll = loss_sums(model, batch.to(precision.device), precision, label_smoothing)
                training.scaler.scale(loss / num_tokens).backward()  # type: ignore[no-untyped-call]
                loss_sum += loss.detach()
                nll_sum += nll
                num_done += 1
            return loss_sum, nll_sum
        except (RuntimeError, MemoryError, OSError) as error:
            if not is_out_of_memory(error):
                raise
            if len(parts[num_done].lines) == 1:
                raise PairTooLargeError(parts[num_done]) from error
        # Not before the error is gone, which holds on to all that the failed pass has made.
        training.optimizer.zero_grad(set_to_none=True)
        parts[num_done : num_done + 1] = parts[num_done].halves()
