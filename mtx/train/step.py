"""One training step."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn.utils import clip_grad_norm_

from mtx.checkpoint.training import TrainState
from mtx.config.settings import TrainSettings
from mtx.data.batching import Batch
from mtx.data.prepared.corpus import Rows
from mtx.distributed.process_group import SINGLE, ProcessGroup, full_tensor, is_sharded
from mtx.system.device import Precision, is_out_of_memory
from mtx.train.loss import Loss
from mtx.train.optim import learning_rate, set_learning_rate
from mtx.train.parallel import BatchLoss, sync_gradients
from mtx.train.spikes import SpikeDetector


@dataclass(frozen=True, slots=True)
class StepStats:
    """Figures of a step. Those of all ranks, unless they say otherwise."""

    step: int  # Number of the step, counted from 1
    loss: float  # Training loss, a sum in nats
    nll: float  # Negative log-likelihood, a sum in nats
    grad_norm: float  # Norm of the gradient before clipping, in true units
    is_skipped: bool  # Whether the weights stayed as they were: a number was not finite, or a spike
    lr: float
    num_tokens: int  # Real target tokens
    num_padded: int  # Tokens of both sides with padding, of this rank
    num_real: int  # Tokens of both sides without padding, of this rank
    rows: Rows  # Pairs of the corpus
    num_splits: int  # Batches of this rank that were split for lack of memory


def train_step(
    state: TrainState,
    loss_fn: BatchLoss,
    batches: Sequence[Batch],
    precision: Precision,
    settings: TrainSettings,
    group: ProcessGroup = SINGLE,
    spikes: SpikeDetector | None = None,
) -> StepStats:
    """Change the weights once, by the gradient of one or several batches, of which each rank has a share.

    The loss is a sum over all real target tokens divided by their number, so that splitting a batch changes nothing.
    The weights, Adam's moments and its count stay as they are if the loss or the gradient's norm is not finite, or a
    spike for `spikes`. Such a step still counts in `state.progress`: the learning rate depends on that count alone.

    Raises:
        PairTooLargeError: there is no memory for a single pair.
    """
    num_tokens = sum(batch.global_num_tokens for batch in batches)
    parts = Parts(batches, state.optimizer, can_split=not is_sharded(loss_fn))
    for batch in parts:
        with parts.split_if_too_large(), sync_gradients(loss_fn, parts.is_last):
            with precision.autocast():
                loss = loss_fn(batch.to(precision.device))
            if parts.is_last and group.is_distributed:
                parts.can_split = False  # from here on, other ranks wait for this one
            # DDP and FSDP average the gradients of all ranks, and the loss is a sum over all tokens.
            state.scaler.scale(loss.total / (num_tokens / group.size)).backward()  # type: ignore[no-untyped-call]
            parts.done(loss)
    sums = group.all_reduce_sum(parts.loss_sums())
    state.scaler.unscale_(state.optimizer)  # so that the threshold of clipping is in true units
    grad_norm = full_tensor(clip_grad_norm_(state.model.parameters(), settings.clip_norm))
    state.progress.step += 1  # this step, even if it is skipped below
    lr = set_learning_rate(state.optimizer, learning_rate(state.progress.step, settings))
    loss_sum, nll_sum, norm = torch.cat([sums.double(), grad_norm.double()[None]]).tolist()  # the only GPU sync
    is_finite = math.isfinite(loss_sum) and math.isfinite(norm)
    is_skipped = not is_finite or (spikes is not None and spikes.is_spike(loss_sum / num_tokens, norm))
    if not is_skipped:
        state.optimizer.step()  # not the scaler's step, which looks at gradients alone: their norm may overflow
    state.scaler.update()
    state.optimizer.zero_grad(set_to_none=True)
    return StepStats(
        state.progress.step, loss_sum, nll_sum, norm, is_skipped, lr, num_tokens,
        num_padded=sum(batch.src_ids.numel() + batch.tgt_out.numel() for batch in parts.batches),
        num_real=sum(batch.num_src_tokens + batch.num_tokens for batch in parts.batches),
        rows=np.concatenate([batch.global_rows for batch in batches]),
        num_splits=len(parts.batches) - len(batches),
    )  # fmt: skip


class PairTooLargeError(Exception):
    """Memory does not suffice for a single pair, that of the one row of `batch`."""

    def __init__(self, batch: Batch) -> None:
        super().__init__(f"{batch.num_src_tokens} source and {batch.num_tokens} target tokens")
        self.batch = batch


class Parts:
    """Batches of a step, one after another. If memory can't hold one, it is split in two and the step starts over.

    It starts over because a pass that failed may leave half a gradient. That is impossible once other ranks take part.
    """

    def __init__(
        self, batches: Sequence[Batch], optimizer: torch.optim.Optimizer | None = None, can_split: bool = True
    ) -> None:
        self.batches = list(batches)
        self.optimizer = optimizer  # Holds the gradients to drop before starting over; None in a validation
        self.can_split = can_split
        self._losses: list[Loss] = []

    def __iter__(self) -> Iterator[Batch]:
        while len(self._losses) < len(self.batches):
            yield self.batches[len(self._losses)]

    @property
    def is_last(self) -> bool:
        """Whether the current batch is the last of the step."""
        return len(self._losses) == len(self.batches) - 1

    def done(self, loss: Loss) -> None:
        """Go on to the next batch, after the gradient of `loss` is added up."""
        self._losses.append(Loss(loss.total.detach(), loss.nll))

    def loss_sums(self) -> torch.Tensor:
        """Sums over all batches of loss and negative log-likelihood. Shapes: (2,)."""
        return torch.stack([sum(each) for each in zip(*self._losses, strict=True)])

    @contextmanager
    def split_if_too_large(self) -> Iterator[None]:
        """In the block, catch a lack of memory: split the current batch and drop the gradients so far.

        Raises:
            PairTooLargeError: the batch is a single pair.
        """
        try:
            yield
        except (RuntimeError, MemoryError, OSError) as error:
            if not self.can_split or not is_out_of_memory(error):
                raise
            current = len(self._losses)
            if len(self.batches[current].rows) == 1:
                raise PairTooLargeError(self.batches[current]) from error
            if self.optimizer is not None:
                self.optimizer.zero_grad(set_to_none=True)
            self.batches[current : current + 1] = self.batches[current].halves()
            self._losses.clear()
