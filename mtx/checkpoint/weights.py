"""The weights of a model by name: read, checked and written."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from mtx.errors import ExitCode, UserError


def weights_of(model: nn.Module) -> dict[str, Tensor]:
    """The weights of `model` by name; a tied weight only once, by its first name."""
    return {name: parameter.detach() for name, parameter in model.named_parameters()}


def load_weights(model: nn.Module, weights: Mapping[str, Tensor], where: Path) -> None:
    """Copy `weights` into `model`.

    Raises:
        UserError: see `check_weights`.
    """
    check_weights(model, weights, where)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(weights[name])


def check_weights(model: nn.Module, weights: Mapping[str, Tensor], where: Path) -> None:
    """Check that `weights`, read from `where`, have the names and shapes of `model`'s and are finite.

    Raises:
        UserError: they do not (MODEL).
    """
    own = dict(model.named_parameters())
    if own.keys() != weights.keys():
        odd = min(own.keys() ^ weights.keys())
        raise misfit(f"{odd[:100]} is only on one side", where)
    for name, parameter in own.items():
        check_tensor(name, weights[name], parameter.shape, parameter.dtype, where)


def check_tensor(name: str, tensor: Tensor, shape: torch.Size, dtype: torch.dtype, where: Path) -> None:
    """Check that `tensor` has this shape, and is finite once converted to `dtype`.

    Raises:
        UserError: it does not, or is not (MODEL).
    """
    if tensor.shape != shape:
        raise misfit(f"{name} is {tuple(tensor.shape)}, not {tuple(shape)}", where)
    if not tensor.is_floating_point():
        raise misfit(f"{name} is {tensor.dtype}", where)
    if not bool(tensor.to(dtype).isfinite().all()):
        raise misfit(f"{name} holds numbers that are not finite", where)


def misfit(why: str, where: Path) -> UserError:
    """The error for tensors at `where` that belong to another model or are damaged."""
    return UserError(ExitCode.MODEL, f"weights do not fit: {why}", where=str(where), do="Use the files of one model.")
