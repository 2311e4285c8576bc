"""Training on several devices with torch's DDP and FSDP. On one device nothing here does anything."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import replace

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from mtx.checkpoint.training import TrainState
from mtx.config.settings import TrainSettings
from mtx.data.batching import Batch
from mtx.distributed.process_group import ProcessGroup, full_tensor, is_sharded
from mtx.errors import ExitCode, UserError
from mtx.model import Transformer
from mtx.model.fast.compile import compile_layers, is_compiled
from mtx.system.device import Precision
from mtx.train.loss import Loss, LossFunction, loss_function
from mtx.train.optim import build_optimizer

BatchLoss = Callable[[Batch], Loss]  # Loss function that is bound to its model and settings


class LossModule(nn.Module):
    """A loss as a module: DDP and FSDP wrap modules, and act before and after their passes."""

    def __init__(self, loss: LossFunction, model: Transformer, settings: TrainSettings) -> None:
        super().__init__()
        self.loss, self.model, self.settings = loss, model, settings

    def forward(self, batch: Batch) -> Loss:
        return self.loss(self.model, batch, self.settings)


def check_parallel(settings: TrainSettings, precision: Precision, group: ProcessGroup) -> None:
    """Refuse FSDP with fp16 (USAGE), because the ranks would have to agree on a loss scale."""
    if group.is_distributed and settings.parallel == "fsdp" and precision.dtype == torch.float16:
        what, do = "train.parallel fsdp does not work with fp16", "Use bf16 or fp32, or train.parallel=ddp."
        raise UserError(ExitCode.USAGE, what, where="train.precision", do=do)


def parallelize(
    state: TrainState, settings: TrainSettings, device: torch.device, group: ProcessGroup
) -> tuple[TrainState, BatchLoss]:
    """Return the state to train and its loss. With FSDP that is a sharded copy of `state`, else `state` itself."""
    model, loss = state.model, loss_function(settings.loss)
    assert isinstance(model, Transformer)
    if not group.is_distributed:
        return state, lambda batch: loss(model, batch, settings)
    if settings.parallel == "fsdp":
        module = LossModule(loss, deepcopy(model), settings)
        if is_compiled(model):
            compile_layers(module.model)
        return _shard(state, module, device, group)
    with warnings.catch_warnings():
        # From torch 2.13 on broadcast_buffers has another name. No buffer of ours ever changes.
        warnings.simplefilter("ignore", FutureWarning)
        module = LossModule(loss, model, settings)
        return state, DistributedDataParallel(module, broadcast_buffers=False, gradient_as_bucket_view=True)


def _shard(
    state: TrainState, module: LossModule, device: torch.device, group: ProcessGroup
) -> tuple[TrainState, LossModule]:
    """Leave on each rank a part of every weight of `module`, and of its moments in `state` (Zhao et al. 2023).

    A layer is gathered right before it is needed, forward and backward, while the one before it computes. The moments
    in `state` itself are given up to save memory.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard
    from torch.distributed.tensor import DTensor, distribute_tensor

    mesh = init_device_mesh(device.type, (group.size,))
    for layer in [*module.model.encoder, *module.model.decoder]:
        fully_shard(layer, mesh=mesh)
    fully_shard(module, mesh=mesh)
    sharded = replace(state, model=module.model, optimizer=build_optimizer(module.model, module.settings))
    shards = dict(module.model.named_parameters())
    for name, weight in state.model.named_parameters():
        shard = shards[name]
        assert isinstance(shard, DTensor)
        for key, moment in state.optimizer.state.get(weight, {}).items():
            whole = moment.to(shard.device)
            if moment.dim():
                # Each rank has all of the tensor, so that nothing needs to be sent.
                whole = distribute_tensor(whole, shard.device_mesh, shard.placements, src_data_rank=None)
            sharded.optimizer.state[shard][key] = whole
    state.optimizer.state.clear()
    return sharded, module


@contextmanager
def sync_gradients(loss_fn: BatchLoss, is_last: bool) -> Iterator[None]:
    """In the block, let the backward pass of a step's last batch add up the gradients of all ranks."""
    if isinstance(loss_fn, DistributedDataParallel) and not is_last:
        with loss_fn.no_sync():
            yield
        return
    if is_sharded(loss_fn):
        loss_fn.set_requires_gradient_sync(is_last)  # type: ignore[attr-defined]
    yield


def full_state(state: TrainState, model: Transformer, settings: TrainSettings, group: ProcessGroup) -> TrainState:
    """Gather a sharded state: weights into `model` on all ranks, Adam's moments to the CPU of rank 0.

    All ranks call it together. A state that isn't sharded is returned as it is.
    """
    shards = dict(state.model.named_parameters())
    if not any(hasattr(shard, "full_tensor") for shard in shards.values()):
        return state
    full = replace(state, model=model, optimizer=build_optimizer(model, settings))
    with torch.no_grad():
        for name, weight in model.named_parameters():
            weight.copy_(full_tensor(shards[name]))
            for key, moment in state.optimizer.state.get(shards[name], {}).items():
                full_moment = full_tensor(moment).cpu()
                if group.is_rank0:
                    full.optimizer.state[weight][key] = full_moment
    return full
