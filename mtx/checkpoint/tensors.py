"""Named tensors: saved to safetensors files, loaded, and checked against the weights of a model."""

from collections.abc import Mapping
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from mtx.errors import ExitCode, UserError
from mtx.files.untrusted import check_regular

MAX_HEADER_BYTES = 8 << 20  # Limit for names and shapes: the optimizer of the deepest model needs 3 MB


def save_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write `tensors` to `path`; the same tensors give the same bytes."""
    contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in sorted(tensors.items())}
    # Not save_file: it hides the system's error number, and only the owner could read the file.
    path.write_bytes(safetensors.torch.save(contiguous, metadata={"format": "pt"}))


def load_tensors(path: Path) -> dict[str, Tensor]:
    """Load the tensors of a safetensors file; they are mapped into memory and read when used.

    Raises:
        UserError: it is not a valid safetensors file (MODEL).
    """
    try:
        check_regular(path)
        with path.open("rb") as file:
            num_bytes = int.from_bytes(file.read(8), "little")
        if num_bytes > MAX_HEADER_BYTES:
            raise ValueError(f"a header of {num_bytes:,} bytes")
        tensors: dict[str, Tensor] = safetensors.torch.load_file(path)
    except (OSError, safetensors.SafetensorError, ValueError, KeyError, TypeError, RuntimeError) as error:
        what = f"unusable: {path.name}: {str(error)[:200]}"
        raise UserError(ExitCode.MODEL, what, where=str(path.parent), do="Copy or train it again.") from error
    return tensors


def weights_of(model: nn.Module) -> dict[str, Tensor]:
    """Return the weights of `model` by name; a tied weight only once, by its first name."""
    return {name: parameter.detach() for name, parameter in model.named_parameters()}


def load_weights(model: nn.Module, weights: Mapping[str, Tensor], where: Path) -> None:
    """Copy `weights`, read from `where`, into `model`, after `check_weights`."""
    check_weights(model, weights, where)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(weights[name])


def check_weights(model: nn.Module, weights: Mapping[str, Tensor], where: Path) -> None:
    """Refuse `weights`, read from `where`, without the names and shapes of `model`'s, or not finite (MODEL)."""
    own = dict(model.named_parameters())
    if own.keys() != weights.keys():
        odd = min(own.keys() ^ weights.keys())
        raise misfit(f"{odd[:100]} is only on one side", where)
    for name, parameter in own.items():
        check_tensor(name, weights[name], parameter.shape, parameter.dtype, where)


def check_tensor(name: str, tensor: Tensor, shape: torch.Size, dtype: torch.dtype, where: Path) -> None:
    """Refuse a tensor of another shape, or not finite once converted to `dtype` (MODEL)."""
    if tensor.shape != shape:
        raise misfit(f"{name} is {tuple(tensor.shape)}, not {tuple(shape)}", where)
    if not tensor.is_floating_point():
        raise misfit(f"{name} is {tensor.dtype}", where)
    if not bool(tensor.to(dtype).isfinite().all()):
        raise misfit(f"{name} holds numbers that are not finite", where)


def misfit(why: str, where: Path) -> UserError:
    """Build the error for tensors at `where` that belong to another model or are damaged."""
    return UserError(ExitCode.MODEL, f"weights do not fit: {why}", where=str(where), do="Use the files of one model.")
