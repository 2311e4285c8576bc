"""What the machine gives to a run: device, precision, threads, memory, random state, logging."""

import ctypes
import errno
import logging
import os
import random
import re
import sys
import traceback
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mtx.errors import ExitCode, UserError
from mtx.workers import num_threads

LOGGER = logging.getLogger("mtx")


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


def use_one_thread() -> None:
    """What a forked process has to begin with, if it shall use torch: the threads of the other are not there."""
    torch.set_num_threads(1)
    keep_freed_memory()


def keep_freed_memory() -> None:
    """Let the C library keep freed memory for the next tensors, where it is glibc.

    Left alone it gives large blocks back to the system, which then maps and clears them anew, page by page, at every
    step of a search and every block of a loss. What that costs is in scripts/notebook.
    """
    mmap_max, trim_threshold, top_pad = -4, -1, -2  # malloc.h
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return
    mallopt(mmap_max, 0)
    mallopt(trim_threshold, 2**31 - 1)
    mallopt(top_pad, 2**26)


def resident_memory() -> int:
    """Bytes of memory that this process holds; 0 where that can't be told."""
    try:
        pages = Path("/proc/self/statm").read_text().split()[1]
    except OSError:
        return 0
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def give_memory_back() -> None:
    """Give the system what is free of the memory that the C library keeps, where it is glibc.

    Kept for ever it lies in more and more pieces, between which there is no place for large blocks. What is given back
    has to be mapped and cleared anew: after each batch of a beam search in int8 this would take 13 % of its time.
    """
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


PROGRAMS_OF_A_SEARCH = 512
"""How many one for some hundred sentences comes back to: 300, and more for their memory."""

PROGRAMS_OF_TRAINING = 64
"""An update makes some 20, of which the next one, with batches of other sizes, needs few."""


def keep_few_programs(count: int) -> None:
    """Let oneDNN keep no more than `count` programs, and torch's own store beside it next to none.

    Each size of a product is a program, which takes up to half a megabyte in a search and three in training; left alone
    both keep 1,024. With the second store nothing is faster. To be called before the first product. What the user has
    set stays.
    """
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", str(count))
    os.environ.setdefault("LRU_CACHE_CAPACITY", "8")


# --- what the machine refuses ---


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


# --- random state ---


def seed_everything(seed: int) -> None:
    """Seed every generator that anything in the process may draw from."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def random_state() -> dict[str, Tensor]:
    """The state of torch's generators, the only ones that training draws from."""
    state = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        state |= {f"cuda:{index}": generator for index, generator in enumerate(torch.cuda.get_rng_state_all())}
    return state


def part_ways(rank: int) -> None:
    """Let this process, which has drawn as others have so far, draw as none of them does from now on."""
    if rank:
        torch.manual_seed(int(torch.randint(2**62, ())) + rank)


def restore_random_state(state: dict[str, Tensor]) -> None:
    """Put torch's generators back into `state`; those of devices that are not here are left out."""
    torch.set_rng_state(state["cpu"])
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            if f"cuda:{index}" in state:
                torch.cuda.set_rng_state(state[f"cuda:{index}"], index)


# --- logging ---

_STEERS = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""What ends a line, moves a cursor or turns text around on a terminal; and surrogates, which cannot be written."""


class _OneLine(logging.Formatter):
    """One line a message, whatever text or path stands in it: none can forge a line or steer a terminal.

    Unlike `printable` of errors it leaves what is only invisible: a log shows sentences, and many scripts need that.
    """

    def formatMessage(self, record: logging.LogRecord) -> str:
        record.message = _STEERS.sub(lambda found: repr(found[0])[1:-1], record.message)
        return super().formatMessage(record)


def log_to_stderr() -> None:
    """Send what the program says of its work to stderr, one plain line each."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_OneLine("%(message)s"))
    LOGGER.addHandler(handler)
    LOGGER.setLevel(logging.INFO)
    LOGGER.propagate = False


def log_nowhere() -> None:
    """Keep what the program says of its work to itself."""
    LOGGER.addHandler(logging.NullHandler())
    LOGGER.propagate = False


class _LogFile(logging.FileHandler):
    """A log file that raises what the disk refuses, where logging itself would print a traceback and go on."""

    def handleError(self, record: logging.LogRecord) -> None:
        raise  # what it is called for: logging calls it inside its except clause


@contextmanager
def log_to_file(path: Path) -> Iterator[None]:
    """Inside, append what the program says to the file at `path` too, with the time of day, and any bug's traceback."""
    handler = _LogFile(path, encoding="utf-8", errors="backslashreplace")
    handler.setFormatter(_OneLine("%(asctime)s %(message)s", "%Y-%m-%d %H:%M:%S"))
    LOGGER.addHandler(handler)
    try:
        yield
    except Exception as error:
        if not isinstance(error, (UserError, OSError)):
            with path.open("a", encoding="utf-8") as file:
                traceback.print_exception(error, file=file)
            error.add_note(f"traceback in {path}")
        raise
    finally:
        LOGGER.removeHandler(handler)
        handler.close()
