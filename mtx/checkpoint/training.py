"""Checkpoints of a training: saved whole, found newest first, pruned, averaged."""

import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel
from torch import Tensor, nn

from mtx.checkpoint.sealed import open_sealed, sealed_folder
from mtx.checkpoint.tensors import load_tensors, save_tensors
from mtx.errors import ExitCode, UserError
from mtx.foreign_files import read_json
from mtx.runtime import LOGGER, random_state, restore_random_state

FILES = WEIGHTS, OPTIMIZER, RANDOM, STATE = (
    "weights.safetensors", "optimizer.safetensors", "random.safetensors", "state.json",
)  # fmt: skip
MAX_STATE_BYTES = 64 << 20
"""A validation takes 120 bytes."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What one validation found."""

    step: int
    loss: float
    """Negative log-likelihood per target token, in nats, without label smoothing."""
    bleu: float
    chrf: float


@dataclass(slots=True)
class Progress:
    """Where a training stands, apart from its tensors."""

    step: int = 0
    """Updates done."""
    epoch: int = 0
    batch: int = 0
    """The next batch of the epoch."""
    num_tokens: int = 0
    """Real target tokens seen."""
    seconds: float = 0.0
    """Time spent on updates, in all sessions."""
    skipped_in_a_row: int = 0
    unlogged: dict[str, float] = field(default_factory=dict)
    """Sums over the updates since the last log line."""
    evaluations: list[Evaluation] = field(default_factory=list)


class SavedState(BaseModel, extra="forbid", frozen=True, strict=True):
    """What `state.json` holds."""

    progress: Progress
    scaler: dict[str, float | int]


@dataclass(frozen=True, slots=True)
class Training:
    """All that an update changes: what a checkpoint must hold."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    progress: Progress


def checkpoint_folder(checkpoints: Path, step: int) -> Path:
    """Where the checkpoint after `step` updates lies."""
    return checkpoints / f"step-{step:06d}"


def save_checkpoint(checkpoints: Path, training: Training, about: dict[str, Any]) -> Path:
    """Write the checkpoint of this step, in place of a damaged one that an earlier session may have left.

    Raises:
        UserError: it can't be written (MACHINE).
    """
    folder = checkpoint_folder(checkpoints, training.progress.step)
    with sealed_folder(folder, {**about, "step": training.progress.step}) as new:
        save_tensors(new / WEIGHTS, weights_of(training.model))
        save_tensors(new / OPTIMIZER, _optimizer_tensors(training))
        save_tensors(new / RANDOM, random_state())
        state = {"progress": asdict(training.progress), "scaler": training.scaler.state_dict()}
        (new / STATE).write_text(json.dumps(state, indent=1) + "\n", encoding="utf-8")
    return folder


def load_checkpoint(folder: Path, training: Training) -> None:
    """Put `training` and torch's random state back to where they were when `folder` was saved.

    Raises:
        UserError: the checkpoint does not fit this model (MODEL); `training` may then be half of each.
    """
    load_weights(training.model, load_tensors(folder / WEIGHTS), folder)
    _load_moments(training, load_tensors(folder / OPTIMIZER), folder)
    try:
        restore_random_state(load_tensors(folder / RANDOM))
        state = read_json(folder / STATE, MAX_STATE_BYTES, SavedState)
        if state.scaler:
            training.scaler.load_state_dict(state.scaler)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise _does_not_fit(f"{RANDOM} or {STATE}: {str(error)[:200]}", folder) from error
    for each in fields(Progress):
        setattr(training.progress, each.name, getattr(state.progress, each.name))


def _load_moments(training: Training, moments: Mapping[str, Tensor], where: Path) -> None:
    """Give the optimizer what Adam remembers of each parameter: all of it, or nothing before the first update."""
    parameters = dict(training.model.named_parameters())
    keys = ("step", "exp_avg", "exp_avg_sq")
    training.optimizer.state.clear()
    if not moments:
        return
    if moments.keys() != {f"{name}.{key}" for name in parameters for key in keys}:
        raise _does_not_fit(f"{OPTIMIZER} is of another model", where)
    for name, parameter in parameters.items():
        state = {key: moments[f"{name}.{key}"] for key in keys}
        for key, tensor in state.items():
            shape = torch.Size() if key == "step" else parameter.shape
            _check_tensor(f"{name}.{key}", tensor, shape, torch.float32, where)
        # Adam's own count of steps stays on the CPU unless the fused kernel runs elsewhere.
        training.optimizer.state[parameter] = {key: tensor.to(parameter.device) for key, tensor in state.items()}


def newest_checkpoint(checkpoints: Path) -> tuple[Path, dict[str, Any]] | None:
    """The newest undamaged checkpoint and what its manifest says of it; None if no training was ever saved here.

    Raises:
        UserError: there are checkpoints, but every one is damaged (MODEL).
    """
    steps = saved_steps(checkpoints)
    for folder in (checkpoint_folder(checkpoints, step) for step in reversed(steps)):
        try:
            return folder, open_sealed(folder, needed=FILES)
        except UserError as error:
            LOGGER.warning("%s", error)
    if steps:
        raise UserError(
            ExitCode.MODEL,
            "every checkpoint is damaged",
            where=str(checkpoints),
            do="Restore one from a backup, or start again in another --run-dir.",
        )
    return None


def prune_checkpoints(checkpoints: Path, kept_steps: Iterable[int]) -> None:
    """Delete all checkpoints but those of `kept_steps`."""
    kept = {checkpoint_folder(checkpoints, step) for step in kept_steps}
    for folder in {checkpoint_folder(checkpoints, step) for step in saved_steps(checkpoints)} - kept:
        shutil.rmtree(folder, ignore_errors=True)


def saved_steps(checkpoints: Path) -> list[int]:
    """The steps of all checkpoints, oldest first."""
    numbers = (folder.name.removeprefix("step-") for folder in checkpoints.glob("step-*"))
    return sorted(int(number) for number in numbers if number.isdecimal())


def average_weights(folders: Sequence[Path]) -> dict[str, Tensor]:
    """The mean of each weight over checkpoints, formed in float64."""
    mean: dict[str, Tensor] = {}
    for folder in folders:
        open_sealed(folder, needed=FILES)
        for name, weight in load_tensors(folder / WEIGHTS).items():
            share = weight.double() / len(folders)
            mean[name] = mean[name] + share if name in mean else share
    return {name: weight.float() for name, weight in mean.items()}


def weights_of(model: nn.Module) -> dict[str, Tensor]:
    """Every weight once, by name; a tied one under its first name."""
    return {name: parameter.detach() for name, parameter in model.named_parameters()}


def load_weights(model: nn.Module, weights: Mapping[str, Tensor], where: Path) -> None:
    """Copy `weights` into `model`.

    Raises:
        UserError: names or shapes differ, or a number is not finite (MODEL).
    """
    check_weights(model, weights, where)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(weights[name])


def check_weights(model: nn.Module, weights: Mapping[str, Tensor], where: Path) -> None:
    """Make sure that `weights` are those of a model like `model`, and sound.

    Raises:
        UserError: names or shapes differ, or a number is not finite (MODEL).
    """
    own = dict(model.named_parameters())
    if own.keys() != weights.keys():
        odd = min(own.keys() ^ weights.keys())
        raise _does_not_fit(f"{odd[:100]} is only on one side", where)
    for name, parameter in own.items():
        _check_tensor(name, weights[name], parameter.shape, parameter.dtype, where)


def _check_tensor(name: str, tensor: Tensor, shape: torch.Size, dtype: torch.dtype, where: Path) -> None:
    """Make sure that `tensor` has `shape` and is finite in the arithmetic of `dtype`."""
    if tensor.shape != shape:
        raise _does_not_fit(f"{name} is {tuple(tensor.shape)}, not {tuple(shape)}", where)
    if not tensor.is_floating_point():
        raise _does_not_fit(f"{name} is {tensor.dtype}", where)
    if not bool(tensor.to(dtype).isfinite().all()):
        raise _does_not_fit(f"{name} holds numbers that are not finite", where)


def _does_not_fit(why: str, where: Path) -> UserError:
    return UserError(ExitCode.MODEL, f"weights do not fit: {why}", where=str(where), do="Use the files of one model.")


def _optimizer_tensors(training: Training) -> dict[str, Tensor]:
    return {
        f"{name}.{key}": value
        for name, parameter in training.model.named_parameters()
        for key, value in training.optimizer.state.get(parameter, {}).items()
    }
