"""Save named tensors to safetensors files, and load them."""

from collections.abc import Mapping
from pathlib import Path

import safetensors
import safetensors.torch
from torch import Tensor

from mtx.errors import ExitCode, UserError
from mtx.files.untrusted import check_regular

MAX_HEADER_BYTES = 8 << 20
"""Limit for names and shapes. The optimizer of the deepest model needs 3 MB; the library itself allows 100 MB."""


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
