"""Checkpoints of a training: saved whole, found newest first, pruned, averaged."""

import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel
from torch import Tensor, nn

from mtx.checkpoint.tensors import load_tensors, save_tensors
from mtx.errors import DiskFullError, ExitCode, UserError
from mtx.files.atomic import outgoing_name
from mtx.files.sealed import DamagedError, open_sealed, sealed_folder
from mtx.files.untrusted import read_json
from mtx.system.formats import format_megabytes
from mtx.system.logs import LOGGER
from mtx.system.rng import decorrelate_rng, random_state, restore_random_state

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
    """Updates done, skipped ones too."""
    epoch: int = 0
    part: int = 0
    batch: int = 0
    """The next batch of this part of the epoch."""
    num_tokens: int = 0
    """Real target tokens seen."""
    seconds: float = 0.0
    """Time spent on updates, in all sessions."""
    skipped_in_a_row: int = 0
    unlogged: dict[str, Any] = field(default_factory=dict)
    """Sums over the updates since the last log line."""
    ordinary: dict[str, dict[str, Any]] = field(default_factory=dict)
    """What loss and gradient of an update were lately."""
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


CHECKPOINT_NAMES = r"step-\d+"
"""How the folders of checkpoints are called, as a regular expression."""


def checkpoint_folder(checkpoints: Path, step: int) -> Path:
    """Where the checkpoint after `step` updates lies."""
    return checkpoints / f"step-{step:06d}"


def save_checkpoint(
    checkpoints: Path, training: Training, about: dict[str, Any], other_ranks: Sequence[dict[str, Tensor]] = ()
) -> Path:
    """Write the checkpoint of this step, in place of a damaged one that an earlier session may have left; read it back.

    `other_ranks` are the random states of the ranks that train together with this one, from the second on.

    Raises:
        DiskFullError: there is no space for it (MACHINE).
        UserError: it can't be written (MACHINE), or it would hold a number that is not finite (DIVERGED).
    """
    step = training.progress.step
    folder = checkpoint_folder(checkpoints, step)
    weights, moments = weights_of(training.model), _optimizer_tensors(training)
    _check_finite({**weights, **moments}, step)
    try:
        with sealed_folder(folder, {**about, "step": step}) as new:
            save_tensors(new / WEIGHTS, weights)
            save_tensors(new / OPTIMIZER, moments)
            states = [random_state(), *other_ranks]
            save_tensors(
                new / RANDOM,
                {_prefix(rank) + name: state for rank, found in enumerate(states) for name, state in found.items()},
            )
            state = {"progress": asdict(training.progress), "scaler": training.scaler.state_dict()}
            (new / STATE).write_text(json.dumps(state, indent=1) + "\n", encoding="utf-8")
    except DiskFullError as error:
        raise _no_space(error, checkpoints, training) from error
    open_sealed(folder, needed=FILES)
    return folder


def checkpoint_bytes(model: nn.Module) -> int:
    """About how much disk a checkpoint takes: the weights, and Adam's two moments of each."""
    return 3 * sum(parameter.nbytes for parameter in model.parameters())


def load_checkpoint(folder: Path, training: Training, rank: int = 0) -> None:
    """Put `training` and torch's random state back to where they were when `folder` was saved.

    A rank that was not there then draws from a state of its own, the same each time.

    Raises:
        UserError: the checkpoint does not fit this model (MODEL); `training` may then be half of each.
    """
    load_weights(training.model, load_tensors(folder / WEIGHTS), folder)
    _load_moments(training, load_tensors(folder / OPTIMIZER), folder)
    try:
        _restore_random_state(load_tensors(folder / RANDOM), rank)
        state = read_json(folder / STATE, MAX_STATE_BYTES, SavedState)
        if state.scaler:
            training.scaler.load_state_dict(state.scaler)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise _does_not_fit(f"{RANDOM} or {STATE}: {str(error)[:200]}", folder) from error
    for each in fields(Progress):
        setattr(training.progress, each.name, getattr(state.progress, each.name))


def _prefix(rank: int) -> str:
    """What the names of a rank's random states begin with."""
    return f"rank-{rank}." if rank else ""


def _restore_random_state(saved: Mapping[str, Tensor], rank: int) -> None:
    prefix = _prefix(rank)
    own = {name.removeprefix(prefix): state for name, state in saved.items() if name.startswith(prefix)}
    restore_random_state(own or dict(saved))
    if rank and not own:
        decorrelate_rng(rank)


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
        # Adam's own count of steps stays on the CPU unless the fused kernel runs elsewhere. Copies: what stays in the
        # file changes if that does, and keeps its space on the disk taken after the checkpoint is deleted.
        training.optimizer.state[parameter] = {
            key: tensor.to(parameter.device, copy=True) for key, tensor in state.items()
        }


def newest_checkpoint(checkpoints: Path) -> tuple[Path, dict[str, Any]] | None:
    """The newest undamaged checkpoint and what its manifest says of it; None if no training was ever saved here.

    Raises:
        UserError: every one is damaged, or one is in a format that this mtx can't read (MODEL), or the machine can't
            read one (MACHINE).
    """
    damaged = []
    for step in reversed(saved_steps(checkpoints)):
        folder = checkpoint_folder(checkpoints, step)
        try:
            newest = folder, open_sealed(folder, needed=FILES)
        except DamagedError as damage:
            damaged.append(f"{folder.name} is damaged ({damage.why})")
            continue
        for what in damaged:
            LOGGER.warning("%s; using %s", what, folder.name)
        return newest
    for what in damaged:
        LOGGER.warning("%s", what)
    if damaged:
        raise _none_whole(checkpoints)
    return None


def whole_checkpoints(checkpoints: Path, steps: Iterable[int]) -> list[int]:
    """Those of `steps` whose checkpoints are not damaged.

    Raises:
        UserError: none is whole, or one is in a format that this mtx can't read (MODEL), or the machine can't read one
            (MACHINE).
    """
    whole = []
    for step in steps:
        folder = checkpoint_folder(checkpoints, step)
        try:
            open_sealed(folder, needed=FILES)
        except DamagedError as damage:
            LOGGER.warning("%s is damaged (%s); left out", folder.name, damage.why)
        else:
            whole.append(step)
    if not whole:
        raise _none_whole(checkpoints)
    return whole


def delete_checkpoints(checkpoints: Path, steps: Iterable[int]) -> None:
    """Delete the checkpoints of `steps`, at no moment leaving a part of one under its name; say what is left."""
    for folder in (checkpoint_folder(checkpoints, step) for step in steps):
        with suppress(OSError):
            folder.rename(outgoing_name(folder))
    with suppress(OSError):
        for outgoing in checkpoints.glob("step-*.old-*"):  # what could not be deleted the last time, too
            shutil.rmtree(outgoing, ignore_errors=True)
            if outgoing.exists():
                LOGGER.warning("could not delete %s: it takes space, and harms nothing", outgoing)


def saved_steps(checkpoints: Path) -> list[int]:
    """The steps of all checkpoints, oldest first."""
    numbers = (folder.name.removeprefix("step-") for folder in checkpoints.glob("step-*"))
    return sorted(int(number) for number in numbers if number.isdecimal())


def average_weights(checkpoints: Path, steps: Sequence[int]) -> dict[str, Tensor]:
    """The mean of each weight over the checkpoints of `steps`, formed in float64.

    Raises:
        UserError: one is damaged (MODEL).
    """
    mean: dict[str, Tensor] = {}
    for folder in (checkpoint_folder(checkpoints, step) for step in steps):
        open_sealed(folder, needed=FILES)
        for name, weight in load_tensors(folder / WEIGHTS).items():
            share = weight.double() / len(steps)
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


def _check_finite(tensors: Mapping[str, Tensor], step: int) -> None:
    for name, tensor in tensors.items():
        if not bool(tensor.isfinite().all()):
            what = f"training diverged: {name} holds numbers that are not finite"
            do = "Nothing of it was saved. Lower train.lr or raise train.warmup_steps, and start in another --run-dir."
            raise UserError(ExitCode.DIVERGED, what, where=f"step {step:,}", do=do)


def _no_space(error: DiskFullError, checkpoints: Path, training: Training) -> DiskFullError:
    """`error` with what a user wants to know of it."""
    assert isinstance(error.__cause__, OSError)
    needed, free = checkpoint_bytes(training.model), shutil.disk_usage(checkpoints).free
    what = f"cannot save step {training.progress.step}: {str(error.__cause__.strerror).lower()}"
    where = f"needs {format_megabytes(needed)}, {format_megabytes(free)} free"
    do = f"Free some space at {checkpoints} and run the same command again: it goes on from the last checkpoint."
    return DiskFullError(ExitCode.MACHINE, what, where=where, do=do)


def _none_whole(checkpoints: Path) -> UserError:
    do = "Restore one from a backup, or start again in another --run-dir."
    return UserError(ExitCode.MODEL, "every checkpoint is damaged", where=str(checkpoints), do=do)


def _does_not_fit(why: str, where: Path) -> UserError:
    return UserError(ExitCode.MODEL, f"weights do not fit: {why}", where=str(where), do="Use the files of one model.")


def _optimizer_tensors(training: Training) -> dict[str, Tensor]:
    return {
        f"{name}.{key}": value
        for name, parameter in training.model.named_parameters()
        for key, value in training.optimizer.state.get(parameter, {}).items()
    }
