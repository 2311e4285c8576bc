"""One training on several devices, by torch's own engines: what an update works on, and what a checkpoint holds."""

import warnings
from copy import deepcopy
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from mtx.checkpoint.training import Training
from mtx.config.settings import TrainSettings
from mtx.distributed.process_group import ProcessGroup, full_tensor
from mtx.errors import ExitCode, UserError
from mtx.model import Transformer
from mtx.model.fast.compile import compile_layers, is_compiled
from mtx.system.device import Precision
from mtx.train.optim import build_optimizer
from mtx.train.step import Objective


@dataclass(frozen=True, slots=True)
class Engine:
    """What updates work on. `training` is the very same as the one in checkpoints, unless its weights are sharded."""

    objective: nn.Module
    training: Training
    saved: Training
    """What is saved and validated: whole weights, with the moments on the CPU where each rank holds a part of them."""
    group: ProcessGroup

    @property
    def is_sharded(self) -> bool:
        """Whether each rank holds a part of every weight."""
        return self.training is not self.saved

    def gather(self) -> None:
        """Together: bring `saved` up to where the training is. Only the first rank gets the moments: it saves them."""
        if not self.is_sharded:
            return
        with torch.no_grad():
            for own, sharded in self._pairs():
                own.copy_(full_tensor(sharded))
                moments = self.training.optimizer.state.get(sharded, {})
                for key, moment in moments.items():
                    found = full_tensor(moment).cpu()
                    if self.group.is_rank0:
                        self.saved.optimizer.state[own][key] = found

    def scatter(self) -> None:
        """Take up the training where `saved` is, which is the same on all ranks."""
        if not self.is_sharded:
            return
        from torch.distributed.tensor import DTensor, distribute_tensor

        def shard_of(tensor: Tensor, like: Tensor) -> Tensor:
            assert isinstance(like, DTensor)
            mesh, placements = like.device_mesh, like.placements
            # Each rank has it whole: nothing needs to be sent.
            return distribute_tensor(tensor.to(mesh.device_type), mesh, placements, src_data_rank=None)

        with torch.no_grad():
            for own, sharded in self._pairs():
                sharded.copy_(shard_of(own, sharded))
                moments = self.saved.optimizer.state.get(own, {})
                self.training.optimizer.state[sharded] = {
                    key: shard_of(moment, sharded) if moment.dim() else moment.to(sharded.device)
                    for key, moment in moments.items()
                }
        self.saved.optimizer.state.clear()

    def _pairs(self) -> list[tuple[nn.Parameter, nn.Parameter]]:
        own, sharded = self.saved.model.named_parameters(), dict(self.training.model.named_parameters())
        return [(parameter, sharded[name]) for name, parameter in own]


def check_engine(settings: TrainSettings, precision: Precision, group: ProcessGroup) -> None:
    """Make sure that there is an engine for what `settings` ask for.

    Raises:
        UserError: sharded weights with fp16 (USAGE): its scale would have to be agreed on.
    """
    if group.is_distributed and settings.parallel == "fsdp" and precision.dtype == torch.float16:
        what, do = "train.parallel fsdp does not work with fp16", "Use bf16 or fp32, or train.parallel=ddp."
        raise UserError(ExitCode.USAGE, what, where="train.precision", do=do)


def build_engine(saved: Training, settings: TrainSettings, precision: Precision, group: ProcessGroup) -> Engine:
    """The engine that `settings` ask for, at the point where `saved` is."""
    model = saved.model
    assert isinstance(model, Transformer)
    if not group.is_distributed:
        return Engine(Objective(model), saved, saved, group)
    if settings.parallel == "ddp":
        with warnings.catch_warnings():
            # That broadcast_buffers goes by another name from torch 2.13 on. No buffer ever changes.
            warnings.simplefilter("ignore", FutureWarning)
            objective = DistributedDataParallel(Objective(model), broadcast_buffers=False, gradient_as_bucket_view=True)
        return Engine(objective, saved, saved, group)
    sharded = _sharded(model, precision.device, group)
    training = replace(saved, model=sharded.model, optimizer=build_optimizer(sharded.model, settings))
    engine = Engine(sharded, training, saved, group)
    engine.scatter()
    return engine


def _sharded(model: Transformer, device: torch.device, group: ProcessGroup) -> Objective:
    """The objective of a copy of `model`, of whose weights each rank holds a part (Zhao et al. 2023).

    A layer is put together right before it is needed, forward and backward, and the next one meanwhile.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh(device.type, (group.size,))
    copy = deepcopy(model)
    if is_compiled(model):
        compile_layers(copy)
    for layer in [*copy.encoder, *copy.decoder]:
        fully_shard(layer, mesh=mesh)
    objective = Objective(copy)
    fully_shard(objective, mesh=mesh)
    return objective
