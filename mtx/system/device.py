"""The device, the precision of its arithmetic, and how its errors look."""

import errno
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch

from mtx.errors import ExitCode, UserError
from mtx.system.logs import LOGGER
from mtx.system.parallel import num_threads


def choose_device(name: str) -> torch.device:
    """The device called `name`: auto, cpu, cuda or cuda:N.

    Raises:
        UserError: there is no such device here (MACHINE), or no device is called so (USAGE).
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UserError(ExitCode.USAGE, f"unknown device {name!r}", do="Give auto, cpu, cuda or cuda:N.") from None
    if device.type == "cuda" and not torch.cuda.is_available():
        why = "torch finds no GPU" if torch.version.cuda else "torch is a CPU build"
        raise UserError(ExitCode.MACHINE, f"no CUDA device: {why}", do="Use --device cpu or auto.")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        count = torch.cuda.device_count()
        raise UserError(ExitCode.MACHINE, f"no device {name}: this machine has {count}", do="Give a smaller number.")
    if device.type not in ("cpu", "cuda"):
        raise UserError(ExitCode.USAGE, f"unsupported device {name!r}", do="Give auto, cpu, cuda or cuda:N.")
    return device


DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16, "int8": torch.int8}


@dataclass(frozen=True, slots=True)
class Precision:
    """The arithmetic of the forward pass; in training weights and optimizer are always float32."""

    dtype: torch.dtype
    device: torch.device

    def autocast(self) -> AbstractContextManager[object]:
        """Inside, matrix products run in `dtype`; does nothing for float32. For training: int8 is for decoding only."""
        return torch.autocast(self.device.type, dtype=self.dtype, enabled=self.dtype != torch.float32)

    def scaler(self) -> torch.amp.GradScaler:
        """Keeps float16 gradients from vanishing; passes the others through untouched."""
        return torch.amp.GradScaler(self.device.type, enabled=self.dtype == torch.float16)

    def __str__(self) -> str:
        return next(name for name, dtype in DTYPES.items() if dtype == self.dtype)


def choose_precision(name: str, device: torch.device) -> Precision:
    """The precision called `name`; `auto` is the fastest that trains as float32 does on `device`.

    Raises:
        UserError: float16 on a CPU, which is slow at it, or int8 elsewhere (USAGE).
    """
    if name == "auto":
        name = _fastest_precision(device)
    if name == "fp16" and device.type == "cpu":
        raise UserError(ExitCode.USAGE, "fp16 needs a GPU", where="precision", do="Use bf16, fp32 or auto.")
    if name == "int8" and device.type != "cpu":
        raise UserError(
            ExitCode.USAGE, "int8 needs a CPU", where="precision", do="Use bf16, fp16, auto or --device cpu."
        )
    if name == "bf16" and device.type == "cpu" and not _cpu_multiplies_bf16():
        LOGGER.warning("this CPU has no instructions for bf16: fp32 is faster")
    return Precision(DTYPES[name], device)


def _fastest_precision(device: torch.device) -> str:
    if device.type == "cuda":
        return "bf16" if torch.cuda.get_device_capability(device) >= (8, 0) else "fp16"
    return "bf16" if _cpu_multiplies_bf16() else "fp32"


def _cpu_multiplies_bf16() -> bool:
    """Whether this CPU has instructions for bf16 products; without them bf16 is slower than fp32."""
    if hasattr(torch.cpu, "get_capabilities"):
        capabilities = torch.cpu.get_capabilities()
        return any(bool(capabilities.get(name)) for name in ("avx512_bf16", "amx_bf16", "bf16"))
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def use_threads() -> int:
    """Let torch use OMP_NUM_THREADS threads, or else one for each processor this process may run on; says how many."""
    torch.set_num_threads(num_threads())
    return torch.get_num_threads()


def is_out_of_memory(error: BaseException) -> bool:
    """Whether `error` is one of the many forms in which Python, torch and the system say that there is no memory."""
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    # On a CPU, in cuBLAS and in cuDNN it has no class of its own. The last is oneDNN's, word for word.
    texts, whole = ("out of memory", "can't allocate memory", "_STATUS_ALLOC_FAILED"), "could not create a primitive"
    return isinstance(error, RuntimeError) and (str(error) == whole or any(text in str(error) for text in texts))


def is_gpu_error(error: BaseException) -> bool:
    """Whether `error` says that a GPU failed, after which this process can't use it any more."""
    if is_out_of_memory(error):
        return False
    texts = ("CUDA error", "cuDNN error", "_STATUS_")
    return isinstance(error, torch.AcceleratorError) or (
        isinstance(error, RuntimeError) and any(text in str(error) for text in texts)
    )
