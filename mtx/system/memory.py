"""Memory of this process: what the C library and oneDNN keep."""

import ctypes
import os
from contextlib import suppress
from pathlib import Path

import torch

ONEDNN_KERNELS_DECODING = 512  # Kernels to cache: some hundred sentences use 300 again and again
ONEDNN_KERNELS_TRAINING = 64  # Kernels to cache: a step makes about 20, and the next, with other sizes, reuses few


def prepare_forked_process() -> None:
    """Set torch up in a forked process, in which the parent's threads do not exist."""
    torch.set_num_threads(1)
    configure_malloc()


def configure_malloc() -> None:
    """Make glibc keep freed memory for the next tensors, which makes training 5 to 7 % faster.

    By default it returns large blocks to the system, which maps and clears them again at every step of a search.
    """
    mmap_max, trim_threshold, top_pad = -4, -1, -2  # malloc.h
    with suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(mmap_max, 0)
        mallopt(trim_threshold, 2**31 - 1)
        mallopt(top_pad, 2**26)


def trim_malloc() -> None:
    """Return the free memory that glibc keeps to the system: kept forever, it fragments until no large block fits."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def resident_memory() -> int:
    """Bytes of physical memory that this process holds; 0 if unknown."""
    with suppress(OSError):
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return 0


def limit_onednn_cache(num_kernels: int) -> None:
    """Make oneDNN cache at most `num_kernels` kernels, and torch's own cache, which saves no time, almost none.

    oneDNN compiles a kernel for each size of a matrix product, of up to 0.5 MB in a search and 3 MB in training; by
    default both caches hold 1,024. Call this before the first product. Values in the environment win.
    """
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", str(num_kernels))
    os.environ.setdefault("LRU_CACHE_CAPACITY", "8")
