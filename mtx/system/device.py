"""Device, precision and threads, and the errors of a machine that has too little memory or a failing GPU."""

import errno
import re
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch

from mtx.errors import ExitCode, UserError
from mtx.system.logs import LOGGER
from mtx.system.parallel import num_threads

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16, "int8": torch.int8}


def choose_device(name: str) -> torch.device:
    """The device called `name`: auto, cpu, cuda or cuda:N.

    Raises:
        UserError: this machine has no such device (MACHINE), or the name is not one of these (USAGE).
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if not re.fullmatch(r"cpu|cuda(:(0|[1-9]\d?))?", name):
        raise UserError(ExitCode.USAGE, f"unknown device {name!r}", do="Give auto, cpu, cuda or cuda:N.")
    device = torch.device(name)
    if device.type == "cuda" and not torch.cuda.is_available():
        why = "torch finds no GPU" if torch.version.cuda else "torch is a CPU build"
        raise UserError(ExitCode.MACHINE, f"no CUDA device: {why}", do="Use --device cpu or auto.")
    if device.type == "cuda" and (device.index or 0) >= (count := torch.cuda.device_count()):
        raise UserError(ExitCode.MACHINE, f"no device {name}: this machine has {count}", do="Give a smaller number.")
    return device


@dataclass(frozen=True, slots=True)
class Precision:
    """Data type of the forward pass. In training, weights and optimizer are always float32."""

    dtype: torch.dtype
    device: torch.device

    def autocast(self) -> AbstractContextManager[object]:
        """For training: inside, matrix products run in `dtype`. Does nothing for float32."""
        return torch.autocast(self.device.type, dtype=self.dtype, enabled=self.dtype != torch.float32)

    def scaler(self) -> torch.amp.GradScaler:
        """A scaler that keeps float16 gradients from underflowing; disabled for the other types."""
        return torch.amp.GradScaler(self.device.type, enabled=self.dtype == torch.float16)

    def __str__(self) -> str:
        return next(name for name, dtype in DTYPES.items() if dtype == self.dtype)


def choose_precision(name: str, device: torch.device) -> Precision:
    """The precision called `name`; `auto` is the fastest on `device` whose training is as good as in float32.

    Raises:
        UserError: float16 on a CPU, where it is slow, or int8 on anything but a CPU (USAGE).
    """
    is_cpu = device.type == "cpu"
    if name == "auto" and is_cpu:
        name = "bf16" if _cpu_multiplies_bf16() else "fp32"
    elif name == "auto":
        name = "bf16" if torch.cuda.get_device_capability(device) >= (8, 0) else "fp16"
    if name == "fp16" and is_cpu:
        raise UserError(ExitCode.USAGE, "fp16 needs a GPU", where="precision", do="Use bf16, fp32 or auto.")
    if name == "int8" and not is_cpu:
        raise UserError(ExitCode.USAGE, "int8 needs a CPU", where="precision", do="Use bf16, auto or --device cpu.")
    if name == "bf16" and is_cpu and not _cpu_multiplies_bf16():
        LOGGER.warning("this CPU has no bf16 instructions, so fp32 would be faster")
    return Precision(DTYPES[name], device)


def _cpu_multiplies_bf16() -> bool:
    """Whether this CPU has bf16 instructions; without them bf16 is slower than fp32."""
    if hasattr(torch.cpu, "get_capabilities"):  # older versions of torch lack it
        capabilities = torch.cpu.get_capabilities()
        return any(bool(capabilities.get(name)) for name in ("avx512_bf16", "amx_bf16", "bf16"))
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def use_threads() -> int:
    """Make torch use OMP_NUM_THREADS threads, or else one per processor of this process; return the number."""
    torch.set_num_threads(num_threads())
    return torch.get_num_threads()


def is_out_of_memory(error: BaseException) -> bool:
    """Whether `error` means, in any of the forms that Python, torch and the system use, that memory ran out."""
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    # Torch on a CPU, cuBLAS and cuDNN have no class for it. oneDNN's message is matched exactly: others begin like it.
    texts, onednn = ("out of memory", "can't allocate memory", "_STATUS_ALLOC_FAILED"), "could not create a primitive"
    return isinstance(error, RuntimeError) and (str(error) == onednn or any(text in str(error) for text in texts))


def is_gpu_error(error: BaseException) -> bool:
    """Whether `error` means that a GPU failed; this process cannot use it any more."""
    texts = ("CUDA error", "cuDNN error", "_STATUS_")
    is_known = isinstance(error, RuntimeError) and any(text in str(error) for text in texts)
    return (is_known or isinstance(error, torch.AcceleratorError)) and not is_out_of_memory(error)
