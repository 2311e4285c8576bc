"""Memory of this process: what the C library and oneDNN keep."""

import ctypes
import os
from contextlib import suppress
from pathlib import Path

import torch

ONEDNN_KERNELS_DECODING = 512
"""Kernels to cache while decoding. A few hundred sentences use 300 again and again; more would only cost memory."""

ONEDNN_KERNELS_TRAINING = 64
"""Kernels to cache while training. A step makes about 20, and the next one, with other batch sizes, reuses few."""


def prepare_forked_process() -> None:
    """Set torch up in a forked process, in which the parent's threads do not exist."""
    torch.set_num_threads(1)
    configure_malloc()


def configure_malloc() -> None:
    """Make glibc keep freed memory for the next tensors; do nothing with another C library.

    By default it returns large blocks to the system, which then maps and clears them again, page by page, at every
    step of a search and every block of a loss. Keeping the memory makes training 5 to 7 % faster.
    """
    mmap_max, trim_threshold, top_pad = -4, -1, -2  # malloc.h
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return
    mallopt(mmap_max, 0)
    mallopt(trim_threshold, 2**31 - 1)
    mallopt(top_pad, 2**26)


def trim_malloc() -> None:
    """Return the free memory that glibc keeps to the system; do nothing with another C library.

    Memory kept forever becomes fragmented, until large blocks no longer fit. But memory returned must be mapped and
    cleared again: doing this after every batch of a beam search in int8 would take 13 % of its time.
    """
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def resident_memory() -> int:
    """Bytes of physical memory that this process holds; 0 if unknown."""
    try:
        pages = Path("/proc/self/statm").read_text().split()[1]
    except OSError:
        return 0
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def limit_onednn_cache(num_kernels: int) -> None:
    """Make oneDNN cache at most `num_kernels` kernels, and torch's own cache of them almost none.

    oneDNN compiles a kernel for each size of a matrix product, which takes up to 0.5 MB in a search and 3 MB in
    training; by default, both caches hold 1,024. The second cache saves no time. Call this before the first product.
    Values that the user has set in the environment are kept.
    """
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", str(num_kernels))
    os.environ.setdefault("LRU_CACHE_CAPACITY", "8")
