"""One optimizer update."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils import clip_grad_norm_

from mtx.checkpoint.training import Training
from mtx.config.settings import TrainSettings
from mtx.data.batching import Batch
from mtx.data.prepared.ids import Rows
from mtx.distributed.process_group import SINGLE, ProcessGroup, full_tensor, is_sharded
from mtx.model import Transformer
from mtx.model.fast.loss import projected_loss_sum
from mtx.system.device import Precision, is_out_of_memory
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
    """Real target tokens, of all ranks."""
    num_padded: int
    """Tokens of both sides, padding included; of this rank alone, as the next."""
    num_real: int
    """Tokens of both sides, without padding."""
    rows: Rows
    """Which pairs of the corpus it learned from, those of all ranks."""
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


class Objective(nn.Module):
    """What training makes small, as a module: torch's engines for several devices work before and after its passes."""

    def __init__(self, model: Transformer) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch: Batch, precision: Precision, label_smoothing: float) -> tuple[Tensor, Tensor]:
        """What `loss_sums` gives."""
        return loss_sums(self.model, batch, precision, label_smoothing)


def update(
    training: Training,
    objective: nn.Module,
    batches: Sequence[Batch],
    precision: Precision,
    settings: TrainSettings,
    ordinary: Ordinary | None = None,
    group: ProcessGroup = SINGLE,
) -> UpdateStats:
    """Update the weights once by the gradient of one or several batches, of which each rank has a share.

    The loss is a sum over all their real tokens, divided by the number of these: splitting a batch changes nothing.
    `objective` is an Objective of the model in training, or one that an engine for several devices has wrapped.
    Where the loss or the norm of the gradient is not finite, or far out of what is `ordinary` if that is given, the
    update is skipped: weights, moments and Adam's count of updates stay as they are. It is a step all the same: the
    learning rate is a function of the step alone, so that none that follows changes, and no GPU is waited for.

    Raises:
        PairTooLargeError: there is no memory for one of the pairs by itself.
    """
    optimizer, scaler = training.optimizer, training.scaler
    num_tokens = sum(batch.whole.num_tokens for batch in batches)
    parts = list(batches)
    sums = _add_up_gradients(training, objective, parts, precision, settings.label_smoothing, group)
    loss_sum, nll_sum = group.all_reduce_sum(sums)
    scaler.unscale_(optimizer)  # before clipping: the threshold is in true units
    grad_norm = full_tensor(clip_grad_norm_(objective.parameters(), settings.clip_norm))
    step = training.progress.step + 1
    lr = learning_rate(step, settings)
    for param_group in optimizer.param_groups:
        param_group["lr"] = lr
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
        num_real=sum(batch.num_src_tokens + batch.num_tokens for batch in parts),
        rows=np.concatenate([batch.whole.rows for batch in batches]),
        num_cuts=len(parts) - len(batches),
    )


def _add_up_gradients(
    training: Training,
    objective: nn.Module,
    parts: list[Batch],
    precision: Precision,
    label_smoothing: float,
    group: ProcessGroup,
) -> Tensor:
    """Leave the gradient of all `parts` in the model; the sums of loss and negative log-likelihood over this rank's.

    A batch that there is no memory for is cut in two in `parts`, and all begins anew: it may have left half a gradient.
    Not once other ranks take part in what this one does: they would be left with what it began.

    Shapes:
        return: (2,)
    """
    num_tokens = sum(batch.whole.num_tokens for batch in parts)
    while True:
        loss_sum = torch.zeros((), device=precision.device)
        nll_sum = torch.zeros((), device=precision.device)
        num_done, is_together = 0, is_sharded(objective)
        try:
            for batch in parts:
                is_last = num_done == len(parts) - 1
                with _gradients_shared(objective, if_=is_last):
                    loss, nll = objective(batch.to(precision.device), precision, label_smoothing)
                    is_together |= is_last and group.is_distributed
                    # An engine takes the mean of the gradients of all ranks; what is asked for is their sum.
                    training.scaler.scale(loss / (num_tokens / group.size)).backward()
                loss_sum += loss.detach()
                nll_sum += nll
                num_done += 1
            return torch.stack([loss_sum, nll_sum])
        except (RuntimeError, MemoryError, OSError) as error:
            if not is_out_of_memory(error) or is_together:
                raise
            if len(parts[num_done].rows) == 1:
                raise PairTooLargeError(parts[num_done]) from error
        # Not before the error is gone, which holds on to all that the failed pass has made.
        training.optimizer.zero_grad(set_to_none=True)
        parts[num_done : num_done + 1] = parts[num_done].halves()


@contextmanager
def _gradients_shared(objective: nn.Module, *, if_: bool) -> Iterator[None]:
    """Inside, a backward pass of `objective` adds up the gradients of all ranks if that is asked for, else its own."""
    if isinstance(objective, DistributedDataParallel) and not if_:
        with objective.no_sync():
            yield
        return
    if is_sharded(objective):
        objective.set_requires_gradient_sync(if_)  # type: ignore[operator]
    yield
