"""Named tensors in a safetensors file."""

from collections.abc import Mapping
from pathlib import Path

import safetensors
import safetensors.torch
from torch import Tensor

from mtx.errors import ExitCode, UserError
from mtx.files.untrusted import check_regular

MAX_HEADER_BYTES = 8 << 20
"""Of names and shapes; the optimizer's of the deepest model needs 3 MB, and the library's own limit is 100 MB."""


def save_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write named tensors as safetensors; the same tensors make the same bytes."""
    contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in sorted(tensors.items())}
    # Not save_file, which makes a file that only its owner may read and hides the system's error number.
    path.write_bytes(safetensors.torch.save(contiguous, metadata={"format": "pt"}))


def load_tensors(path: Path) -> dict[str, Tensor]:
    """Named tensors of a safetensors file, which stay in the file until they are used.

    Raises:
        UserError: it isn't one (MODEL).
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
