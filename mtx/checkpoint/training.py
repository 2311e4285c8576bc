"""Checkpoints of a training: saved whole, found newest first, pruned, averaged."""

import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mtx.checkpoint.files import megabytes, outgoing_name
from mtx.checkpoint.sealed import DamagedError, load_tensors, open_sealed, save_tensors, sealed_folder
from mtx.errors import DiskFullError, ExitCode, UserError
from mtx.runtime import LOGGER, random_state, restore_random_state


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
    batch: int = 0
    """The next batch of the epoch."""
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


def save_checkpoint(checkpoints: Path, training: Training, about: dict[str, Any]) -> Path:
    """Write the checkpoint of this step, in place of a damaged one that an earlier session may have left; read it back.

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
            save_tensors(new / "weights.safetensors", weights)
            save_tensors(new / "optimizer.safetensors", moments)
            save_tensors(new / "random.safetensors", random_state())
            state = {"progress": asdict(training.progress), "scaler": training.scaler.state_dict()}
            (new / "state.json").write_text(json.dumps(state, indent=1) + "\n", encoding="utf-8")
    except DiskFullError as error:
        raise _no_space(error, checkpoints, training) from error
    open_sealed(folder)
    return folder


def checkpoint_bytes(model: nn.Module) -> int:
    """About how much disk a checkpoint takes: the weights, and Adam's two moments of each."""
    return 3 * sum(parameter.nbytes for parameter in model.parameters())


def load_checkpoint(folder: Path, training: Training) -> None:
    """Put `training` and torch's random state back to where they were when `folder` was saved.

    Raises:
        UserError: the checkpoint does not fit this model (MODEL).
    """
    load_weights(training.model, load_tensors(folder / "weights.safetensors"), folder)
    moments = load_tensors(folder / "optimizer.safetensors")
    for name, parameter in training.model.named_parameters():
        training.optimizer.state[parameter] = {
            # Adam's own count of steps stays on the CPU unless the fused kernel runs elsewhere.
            key: moments[f"{name}.{key}"].to(parameter.device)
            for key in ("step", "exp_avg", "exp_avg_sq")
            if f"{name}.{key}" in moments
        }
    restore_random_state(load_tensors(folder / "random.safetensors"))
    state = json.loads((folder / "state.json").read_text(encoding="utf-8"))
    if state["scaler"]:
        training.scaler.load_state_dict(state["scaler"])
    saved = state["progress"]
    evaluations = [Evaluation(**evaluation) for evaluation in saved.pop("evaluations")]
    for name, value in saved.items():
        setattr(training.progress, name, value)
    training.progress.evaluations = evaluations


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
            newest = folder, open_sealed(folder)
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
            open_sealed(folder)
        except DamagedError as damage:
            LOGGER.warning("%s is damaged (%s); left out", folder.name, damage.why)
        else:
            whole.append(step)
    if not whole:
        raise _none_whole(checkpoints)
    return whole


def delete_checkpoints(checkpoints: Path, steps: Iterable[int]) -> None:
    """Delete the checkpoints of `steps`, at no moment leaving a part of one under its name."""
    for folder in (checkpoint_folder(checkpoints, step) for step in steps):
        with suppress(OSError):  # one that stays takes space, and harms nothing
            folder.rename(outgoing_name(folder))
            shutil.rmtree(outgoing_name(folder))


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
        open_sealed(folder)
        for name, weight in load_tensors(folder / "weights.safetensors").items():
            share = weight.double() / len(steps)
            mean[name] = mean[name] + share if name in mean else share
    return {name: weight.float() for name, weight in mean.items()}


def weights_of(model: nn.Module) -> dict[str, Tensor]:
    """Every weight once, by name; a tied one under its first name."""
    return {name: parameter.detach() for name, parameter in model.named_parameters()}


def load_weights(model: nn.Module, weights: dict[str, Tensor], where: Path) -> None:
    """Copy `weights` into `model`.

    Raises:
        UserError: names or shapes differ, or a number is not finite (MODEL).
    """
    own = dict(model.named_parameters())
    if own.keys() != weights.keys():
        odd = min(own.keys() ^ weights.keys())
        raise _does_not_fit(f"{odd} is only on one side", where)
    for name, parameter in own.items():
        if parameter.shape != weights[name].shape:
            raise _does_not_fit(f"{name} is {tuple(weights[name].shape)}, not {tuple(parameter.shape)}", where)
        if not bool(weights[name].isfinite().all()):
            raise _does_not_fit(f"{name} holds numbers that are not finite", where)
        with torch.no_grad():
            parameter.copy_(weights[name])


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
    where = f"needs {megabytes(needed)}, {megabytes(free)} free"
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
