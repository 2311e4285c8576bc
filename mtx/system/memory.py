"""The memory of this process: the C library's and oneDNN's stores."""

import ctypes
import logging
import os
from contextlib import suppress
from pathlib import Path

import torch

LOGGER = logging.getLogger("mtx")


def prepare_forked_process() -> None:
    """What a forked process has to begin with, if it shall use torch: the threads of the other are not there."""
    torch.set_num_threads(1)
    configure_malloc()


def configure_malloc() -> None:
    """Let the C library keep freed memory for the next tensors, where it is glibc.

    Left alone it gives large blocks back to the system, which then maps and clears them anew, page by page, at every
    step of a search and every block of a loss. What that costs is in scripts/README.md.
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


def trim_malloc() -> None:
    """Give the system what is free of the memory that the C library keeps, where it is glibc.

    Kept for ever it lies in more and more pieces, between which there is no place for large blocks. What is given back
    has to be mapped and cleared anew: after each batch of a beam search in int8 this would take 13 % of its time.
    """
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


ONEDNN_KERNELS_DECODING = 512
"""How many one for some hundred sentences comes back to: 300, and more for their memory."""

ONEDNN_KERNELS_TRAINING = 64
"""An update makes some 20, of which the next one, with batches of other sizes, needs few."""


def limit_onednn_cache(count: int) -> None:
    """Let oneDNN keep no more than `count` programs, and torch's own store beside it next to none.

    Each size of a product is a program, which takes up to half a megabyte in a search and three in training; left alone
    both keep 1,024. With the second store nothing is faster. To be called before the first product. What the user has
    set stays.
    """
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", str(count))
    os.environ.setdefault("LRU_CACHE_CAPACITY", "8")
