"""Checkpoints of a training: save, load, find, delete, average."""

import json
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from pydantic import BaseModel
from torch import Tensor, nn

from mtx.checkpoint.tensors import check_tensor, load_tensors, load_weights, misfit, save_tensors, weights_of
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
MAX_STATE_BYTES = 64 << 20  # Limit for `state.json`; each evaluation in it takes a few hundred bytes
CHECKPOINT_NAMES = r"step-\d+"  # Names of checkpoint folders, as a regular expression


@dataclass(frozen=True, slots=True)
class SetScores:
    """Scores of one dev set."""

    name: str
    loss: float  # Negative log-likelihood per target token, in nats, without label smoothing
    bleu: float
    chrf: float
    tokenizer: str  # Name of sacreBLEU's tokenizer for BLEU


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Scores of one validation: the mean over all dev sets."""

    step: int
    loss: float
    bleu: float
    chrf: float
    sets: list[SetScores] = field(default_factory=list)  # Empty in checkpoints of earlier versions

    @classmethod
    def of(cls, step: int, sets: list[SetScores]) -> "Evaluation":
        """The mean of the scores of each dev set."""
        loss, bleu, chrf = (fmean(getattr(each, name) for each in sets) for name in ("loss", "bleu", "chrf"))
        return cls(step, loss, bleu, chrf, sets)

    @property
    def tokenizers(self) -> list[str]:
        """Name of the tokenizer of each dev set."""
        return [each.tokenizer for each in self.sets]


@dataclass(slots=True)
class Progress:
    """State of a training, apart from tensors. The field names are keys of `state.json`."""

    step: int = 0  # Optimizer steps done, including skipped ones
    epoch: int = 0
    part: int = 0
    batch: int = 0  # Index of the next batch in this part of the epoch
    num_tokens: int = 0  # Target tokens seen, without padding
    seconds: float = 0.0  # Time spent on steps, in all sessions
    skipped_in_a_row: int = 0
    unlogged: dict[str, Any] = field(default_factory=dict)  # Sums over the steps since the last log line
    ordinary: dict[str, dict[str, Any]] = field(default_factory=dict)  # Statistics of the spike detector
    evaluations: list[Evaluation] = field(default_factory=list)


class SavedState(BaseModel, extra="forbid", frozen=True, strict=True):
    """Content of `state.json`."""

    progress: Progress
    scaler: dict[str, float | int]


@dataclass(slots=True)
class TrainState:
    """Everything that a step changes, and so everything that a checkpoint must contain."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    progress: Progress


def checkpoint_folder(checkpoints: Path, step: int) -> Path:
    return checkpoints / f"step-{step:06d}"


def save_checkpoint(
    checkpoints: Path, state: TrainState, metadata: dict[str, Any], other_ranks: Sequence[dict[str, Tensor]] = ()
) -> Path:
    """Write a checkpoint of the current step and verify it; replace a damaged one that an earlier session left.

    `metadata` goes into the manifest, together with the step. `other_ranks` are the random states of ranks 1, 2, …

    Raises:
        DiskFullError: the disk is full (MACHINE).
        UserError: it can't be written (MACHINE), or a number in it is not finite (DIVERGED).
    """
    step = state.progress.step
    folder = checkpoint_folder(checkpoints, step)
    weights, moments = weights_of(state.model), _optimizer_tensors(state)
    for name, tensor in {**weights, **moments}.items():
        if not bool(tensor.isfinite().all()):
            what = f"training diverged: {name} holds numbers that are not finite"
            do = "It was not saved. Lower train.lr or raise train.warmup_steps, and start in another --run-dir."
            raise UserError(ExitCode.DIVERGED, what, where=f"step {step:,}", do=do)
    try:
        with sealed_folder(folder, {**metadata, "step": step}) as new:
            save_tensors(new / WEIGHTS, weights)
            save_tensors(new / OPTIMIZER, moments)
            states = [random_state(), *other_ranks]
            named = {_prefix(rank) + name: state for rank, own in enumerate(states) for name, state in own.items()}
            save_tensors(new / RANDOM, named)
            saved = {"progress": asdict(state.progress), "scaler": state.scaler.state_dict()}
            (new / STATE).write_text(json.dumps(saved, indent=1) + "\n", encoding="utf-8")
    except DiskFullError as error:
        what = f"cannot save step {step}: {str(getattr(error.__cause__, 'strerror', error)).lower()}"
        needed, free = checkpoint_bytes(state.model), shutil.disk_usage(checkpoints).free
        where = f"needs {format_megabytes(needed)}, {format_megabytes(free)} free"
        do = f"Free some space at {checkpoints} and run the same command again to continue from the last checkpoint."
        raise DiskFullError(ExitCode.MACHINE, what, where=where, do=do) from error
    open_sealed(folder, needed=FILES)
    return folder


def checkpoint_bytes(model: nn.Module) -> int:
    """Approximate bytes of a checkpoint: the weights, and two moments of each for Adam."""
    return 3 * sum(parameter.nbytes for parameter in model.parameters())


def load_checkpoint(folder: Path, state: TrainState, rank: int = 0) -> None:
    """Restore `state` and torch's random state from `folder`.

    A rank for which no random state was saved gets its own stream, the same one each time.

    Raises:
        UserError: the checkpoint does not fit this model (MODEL). `state` may then be partly restored.
    """
    load_weights(state.model, load_tensors(folder / WEIGHTS), folder)
    _load_moments(state, load_tensors(folder / OPTIMIZER), folder)
    try:
        _restore_random_state(load_tensors(folder / RANDOM), rank)
        saved = read_json(folder / STATE, MAX_STATE_BYTES, SavedState)
        if saved.scaler:
            state.scaler.load_state_dict(saved.scaler)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise misfit(f"{RANDOM} or {STATE}: {str(error)[:200]}", folder) from error
    state.progress = saved.progress


def _prefix(rank: int) -> str:
    """Prefix of the names of a rank's random states."""
    return f"rank-{rank}." if rank else ""


def _restore_random_state(saved: Mapping[str, Tensor], rank: int) -> None:
    prefix = _prefix(rank)
    own = {name.removeprefix(prefix): state for name, state in saved.items() if name.startswith(prefix)}
    restore_random_state(own or dict(saved))
    if rank and not own:
        decorrelate_rng(rank)


def _optimizer_tensors(state: TrainState) -> dict[str, Tensor]:
    return {
        f"{name}.{key}": value
        for name, parameter in state.model.named_parameters()
        for key, value in state.optimizer.state.get(parameter, {}).items()
    }


def _load_moments(state: TrainState, moments: Mapping[str, Tensor], where: Path) -> None:
    """Give the optimizer Adam's state of each parameter; before the first step there is none."""
    parameters = dict(state.model.named_parameters())
    keys = ("step", "exp_avg", "exp_avg_sq")
    state.optimizer.state.clear()
    if not moments:
        return
    if moments.keys() != {f"{name}.{key}" for name in parameters for key in keys}:
        raise misfit(f"{OPTIMIZER} is of another model", where)
    for name, parameter in parameters.items():
        for key in keys:
            moment, shape = moments[f"{name}.{key}"], torch.Size() if key == "step" else parameter.shape
            check_tensor(f"{name}.{key}", moment, shape, torch.float32, where)
            # A copy: a tensor mapped from the file would change with it, and keep its disk space after a deletion.
            state.optimizer.state[parameter][key] = moment.to(parameter.device, copy=True)


def newest_checkpoint(checkpoints: Path) -> tuple[Path, dict[str, Any]] | None:
    """Return the newest undamaged checkpoint and its metadata; None if there is none. Raises like `undamaged_steps`."""
    newest = next(_undamaged(checkpoints, saved_steps(checkpoints)[::-1]), None)
    return newest and (checkpoint_folder(checkpoints, newest[0]), newest[1])


def undamaged_steps(checkpoints: Path, steps: Sequence[int]) -> list[int]:
    """Select the steps whose checkpoints are undamaged, and warn about the others.

    Raises:
        UserError: all are damaged, or one has a format that this mtx can't read (MODEL), or reading failed (MACHINE).
    """
    return [step for step, _ in _undamaged(checkpoints, steps)]


def _undamaged(checkpoints: Path, steps: Sequence[int]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield each step whose checkpoint is undamaged, with its metadata. Raises at the end if there was none."""
    num_damaged = 0
    for step in steps:
        folder = checkpoint_folder(checkpoints, step)
        try:
            yield step, open_sealed(folder, needed=FILES)
        except DamagedError as damage:
            num_damaged += 1
            LOGGER.warning("%s is damaged (%s); skipped", folder.name, damage.why)
    if steps and num_damaged == len(steps):
        do = "Restore one from a backup, or start again in another --run-dir."
        raise UserError(ExitCode.MODEL, "every checkpoint is damaged", where=str(checkpoints), do=do)


def delete_checkpoints(checkpoints: Path, steps: Iterable[int]) -> None:
    """Delete the checkpoints of `steps`: rename each first, so that no partial one keeps its name. Log failures."""
    for folder in (checkpoint_folder(checkpoints, step) for step in steps):
        with suppress(OSError):
            folder.rename(outgoing_name(folder))
    with suppress(OSError):
        for outgoing in checkpoints.glob("step-*.old-*"):  # including those that could not be deleted before
            shutil.rmtree(outgoing, ignore_errors=True)
            if outgoing.exists():
                LOGGER.warning("could not delete %s; it only takes disk space", outgoing)


def saved_steps(checkpoints: Path) -> list[int]:
    """Steps of all checkpoints, in ascending order."""
    numbers = (folder.name.removeprefix("step-") for folder in checkpoints.glob("step-*"))
    return sorted(int(number) for number in numbers if number.isdecimal())


def average_weights(checkpoints: Path, steps: Sequence[int]) -> dict[str, Tensor]:
    """Average each weight over the checkpoints of `steps`, in float64. Refuse damaged ones (MODEL)."""
    mean: dict[str, Tensor] = {}
    for folder in (checkpoint_folder(checkpoints, step) for step in steps):
        open_sealed(folder, needed=FILES)
        for name, weight in load_tensors(folder / WEIGHTS).items():
            share = weight.double() / len(steps)
            mean[name] = mean[name] + share if name in mean else share
    return {name: weight.float() for name, weight in mean.items()}
