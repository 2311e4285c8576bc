"""Memory kept by the C library and by oneDNN."""

import ctypes
import os
import subprocess
import sys

import pytest

from mtx.model.fast.linear import TORCH_HAS_ONEDNN
from mtx.system.memory import limit_onednn_cache

C_LIBRARY = ctypes.CDLL(None)

CACHE_MEMORY = """
import ctypes, sys, torch
from mtx.model.fast.linear import onednn_product
from mtx.system.memory import limit_onednn_cache

class MallInfo(ctypes.Structure):  # malloc.h
    _fields_ = [(name, ctypes.c_size_t) for name in "0 1 2 3 mmapped 5 6 in_use 8 9".split()]

def in_use():
    mallinfo = ctypes.CDLL(None).mallinfo2
    mallinfo.restype = MallInfo
    info = mallinfo()
    return info.in_use + info.mmapped

if int(sys.argv[1]):
    limit_onednn_cache(int(sys.argv[1]))
torch.set_num_threads(1)
x, weight = torch.ones(400, 8), torch.ones(8, 8)
onednn_product(x, weight)
before = in_use()
for num_rows in range(1, 400):
    onednn_product(x[:num_rows], weight)
print((in_use() - before) / 2**20)
"""


@pytest.mark.process
@pytest.mark.skipif(not hasattr(C_LIBRARY, "mallinfo2"), reason="only glibc 2.33 and later reports memory in use")
@pytest.mark.skipif(not TORCH_HAS_ONEDNN, reason="this torch has no oneDNN")
def test_the_memory_of_cached_kernels_is_bounded() -> None:
    """Without a limit it is not, so this test does measure the kernels."""

    def megabytes(count: int) -> float:
        environ = {name: value for name, value in os.environ.items() if not name.endswith("CACHE_CAPACITY")}
        command = [sys.executable, "-c", CACHE_MEMORY, str(count)]
        done = subprocess.run(command, env=environ, capture_output=True, text=True, check=True, timeout=900)
        return float(done.stdout)

    assert megabytes(8) < 10
    assert megabytes(0) > 20


TRIMMED_MEMORY = """
from mtx.system.memory import trim_malloc, configure_malloc, resident_memory

configure_malloc()
empty = resident_memory()
blocks = [bytearray(b"x") * 2**20 for _ in range(200)]
last, full = blocks.pop(), resident_memory()  # `last` is at the end of the heap: free() alone trims nothing
blocks.clear()
kept = resident_memory()
trim_malloc()
print(*(size / 2**20 for size in (full - empty, full - kept, kept - resident_memory())))
"""


@pytest.mark.process
@pytest.mark.skipif(not hasattr(C_LIBRARY, "malloc_trim"), reason="only glibc can keep and trim memory")
def test_freed_memory_is_kept_until_it_is_trimmed() -> None:
    command = [sys.executable, "-c", TRIMMED_MEMORY]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=900)
    taken, lost, trimmed = map(float, done.stdout.split())
    assert taken > 150
    assert lost < 10
    assert trimmed > 150


def test_cache_sizes_set_by_the_user_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "7")
    monkeypatch.setenv("LRU_CACHE_CAPACITY", "8")
    limit_onednn_cache(9)
    assert os.environ["ONEDNN_PRIMITIVE_CACHE_CAPACITY"] == "7"
    assert os.environ["LRU_CACHE_CAPACITY"] == "8"
