"""Device, precision, threads, memory, random state and logging."""

import ctypes
import errno
import logging
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from mtx.errors import ExitCode, UserError
from mtx.model.fast.linear import TORCH_HAS_ONEDNN
from mtx.system.device import Precision, choose_device, choose_precision, is_gpu_error, is_out_of_memory, use_threads
from mtx.system.logs import LOGGER, log_to_file, log_to_stderr
from mtx.system.memory import limit_onednn_cache
from mtx.system.rng import random_state, restore_random_state, seed_everything

CPU = torch.device("cpu")
C_LIBRARY = ctypes.CDLL(None)


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with two GPUs, as far as choosing goes."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


@pytest.mark.usefixtures("gpus")
def test_devices_where_there_are_gpus() -> None:
    assert choose_device("auto") == torch.device("cuda")
    for name in ("cpu", "cuda", "cuda:1"):
        assert choose_device(name) == torch.device(name)
    with pytest.raises(UserError, match="no device cuda:2: this machine has 2") as caught:
        choose_device("cuda:2")
    assert caught.value.code == ExitCode.MACHINE


@pytest.mark.usefixtures("no_gpu")
@pytest.mark.parametrize(
    ("name", "code", "message"),
    [
        ("cuda", ExitCode.MACHINE, "no CUDA device: torch "),
        ("cuda:1", ExitCode.MACHINE, "no CUDA device: torch "),
        ("gpu", ExitCode.USAGE, "unknown device 'gpu'"),
        ("", ExitCode.USAGE, "unknown device ''"),
        ("meta", ExitCode.USAGE, "unsupported device 'meta'"),
    ],
)
def test_devices_that_are_not_there(name: str, code: ExitCode, message: str) -> None:
    assert choose_device("auto") == CPU
    with pytest.raises(UserError, match=message) as caught:
        choose_device(name)
    assert caught.value.code == code


def test_precisions(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    cuda = torch.device("cuda")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (8, 0))
    assert [str(choose_precision(name, cuda)) for name in ("auto", "fp32", "bf16", "fp16")] == [
        "bf16", "fp32", "bf16", "fp16",
    ]  # fmt: skip
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (7, 5))
    assert str(choose_precision("auto", cuda)) == "fp16"
    for capabilities, name in (({"avx512_bf16": True}, "bf16"), ({"amx_bf16": False, "avx2": True}, "fp32")):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda found=capabilities: found, raising=False)
        assert str(choose_precision("auto", CPU)) == name
        caplog.clear()
        assert str(choose_precision("bf16", CPU)) == "bf16"
        assert [record.levelname for record in caplog.records] == ["WARNING"] * (name != "bf16")
    with pytest.raises(UserError, match="fp16 needs a GPU") as caught:
        choose_precision("fp16", CPU)
    assert caught.value.code == ExitCode.USAGE


def test_products_are_in_the_precision_and_only_float16_is_scaled() -> None:
    matrix = torch.ones(2, 2)
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        precision = Precision(dtype, CPU)
        with precision.autocast():
            assert (matrix @ matrix).dtype == dtype
        assert precision.scaler().is_enabled() == (dtype == torch.float16)


@pytest.fixture
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("threads")
def test_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 3, 5}, raising=False)
    for given, expected in (("1", 1), ("2", 2), ("", 3), ("0", 3), ("many", 3), ("-1", 3), ("9" * 20, 3)):
        monkeypatch.setenv("OMP_NUM_THREADS", given)
        assert use_threads() == torch.get_num_threads() == expected
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert use_threads() == 3


# --- what the machine refuses ---


def tensor_too_large() -> RuntimeError:
    """How torch says it on a CPU."""
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**50)
    return caught.value


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (MemoryError(), "memory"),
        (tensor_too_large(), "memory"),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"), "memory"),
        (torch.AcceleratorError("CUDA error: out of memory\nCUDA kernel errors might be", 2), "memory"),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), "memory"),
        (RuntimeError("could not create a primitive"), "memory"),
        (RuntimeError("could not create a primitive descriptor for a matmul primitive"), None),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "memory"),
        (OSError(errno.ENOSPC, "No space left on device"), None),
        (torch.AcceleratorError("CUDA error: an illegal memory access was encountered", 700), "gpu"),
        (RuntimeError("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasSgemm`"), "gpu"),
        (RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"), "gpu"),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied (2x3 and 4x5)"), None),
        (ValueError("out of memory"), None),
        (UserError(ExitCode.DATA, "CUDA error", do="Stop."), None),
    ],
    ids=lambda value: str(value)[:50],
)
def test_what_the_machine_refuses_is_known_by_class_number_or_words(error: Exception, kind: str | None) -> None:
    assert is_out_of_memory(error) == (kind == "memory")
    assert is_gpu_error(error) == (kind == "gpu")


# --- random state ---


def draw() -> list[float]:
    return [random.random(), float(np.random.rand()), float(torch.rand(()))]


def test_the_seed_decides_every_generator() -> None:
    seed_everything(7)
    first = draw()
    seed_everything(7)
    assert draw() == first
    seed_everything(8)
    assert all(a != b for a, b in zip(draw(), first, strict=True))


def test_random_state_is_put_back() -> None:
    state = random_state()
    first = torch.rand(3)
    restore_random_state({name: tensor.clone() for name, tensor in state.items()} | {"cuda:99": state["cpu"]})
    assert torch.rand(3).equal(first)


# --- logging ---


def test_the_log_file_takes_what_is_said_inside(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, LOGGER.name)
    for text in ("one – 1", "two"):
        with log_to_file(tmp_path / "log"):
            LOGGER.info("%s", text)
        LOGGER.info("outside")
    lines = (tmp_path / "log").read_text(encoding="utf-8").splitlines()
    assert [line.split(" ", 2)[2] for line in lines] == ["one – 1", "two"]
    assert not LOGGER.handlers


def test_a_log_on_a_full_disk_is_the_machines_fault(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    LOGGER.setLevel(logging.INFO)
    with pytest.raises(OSError, match="No space left"), log_to_file(Path("/dev/full")):
        LOGGER.info("a line")
    assert not LOGGER.handlers
    assert "Traceback" not in capfd.readouterr().err


def test_a_log_takes_names_that_are_no_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LOGGER, "propagate", False)  # what pytest captures has to be text
    monkeypatch.setattr(LOGGER, "level", logging.INFO)
    with log_to_file(tmp_path / "log"):
        LOGGER.info("in %s", os.fsdecode(b"f\xff"))
    assert (tmp_path / "log").read_text(encoding="utf-8").endswith("in f\\udcff\n")


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("\x1b[2J\x1b]0;title\x07", r"\x1b[2J\x1b]0;title\x07"),
        ("a\n2026-01-01 00:00:00 finished\r\n", r"a\n2026-01-01 00:00:00 finished\r\n"),
        ("a\x85b\u2028c\u2029d\x9b31m\x7f\0", r"a\x85b\u2028c\u2029d\x9b31m\x7f\x00"),
        ("\u202egnp.exe\u2066", r"\u202egnp.exe\u2066"),
        (os.fsdecode(b"/run/\xff\x1b"), r"/run/\udcff\x1b"),
        *[(text, text) for text in ("Ça va\xa0? «\u202fOui\u202f»", "👩\u200d👧", "می\u200cخواهم", "\u05d0\u200e")],
    ],
)
def test_no_text_forges_a_line_of_the_log_or_steers_a_terminal(
    said: str, shown: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LOGGER, "handlers", [])
    monkeypatch.setattr(LOGGER, "propagate", False)
    monkeypatch.setattr(LOGGER, "level", logging.INFO)
    log_to_stderr()
    with log_to_file(tmp_path / "log"):
        LOGGER.info("  source     %s", said)
    assert capsys.readouterr().err == f"  source     {shown}\n"
    assert (tmp_path / "log").read_text(encoding="utf-8").split(" ", 2)[2] == f"  source     {shown}\n"


MEMORY_OF_PROGRAMS = """
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


@pytest.mark.skipif(not hasattr(C_LIBRARY, "mallinfo2"), reason="only glibc from 2.33 on tells what is in use")
@pytest.mark.skipif(not TORCH_HAS_ONEDNN, reason="this torch has no oneDNN, whose programs these are")
def test_the_memory_of_programs_is_bounded() -> None:
    """By a process that has loaded torch already, and not by one that asks for nothing: this test sees the programs."""

    def megabytes(count: int) -> float:
        environ = {name: value for name, value in os.environ.items() if not name.endswith("CACHE_CAPACITY")}
        command = [sys.executable, "-c", MEMORY_OF_PROGRAMS, str(count)]
        done = subprocess.run(command, env=environ, capture_output=True, text=True, check=True, timeout=120)
        return float(done.stdout)

    assert megabytes(8) < 10
    assert megabytes(0) > 20


MEMORY_GIVEN_BACK = """
from mtx.system.memory import trim_malloc, configure_malloc, resident_memory

configure_malloc()
empty = resident_memory()
blocks = [bytearray(b"x") * 2**20 for _ in range(200)]
last, full = blocks.pop(), resident_memory()  # it stands at the end: what is freed is not at the heap's
blocks.clear()
kept = resident_memory()
trim_malloc()
print(*(size / 2**20 for size in (full - empty, full - kept, kept - resident_memory())))
"""


@pytest.mark.skipif(not hasattr(C_LIBRARY, "malloc_trim"), reason="only glibc keeps memory, and gives it back")
def test_freed_memory_is_kept_until_it_is_given_back() -> None:
    done = subprocess.run(
        [sys.executable, "-c", MEMORY_GIVEN_BACK], capture_output=True, text=True, check=True, timeout=120
    )
    taken, gone_before, given_back = map(float, done.stdout.split())
    assert taken > 150
    assert gone_before < 10
    assert given_back > 150


def test_what_the_user_says_of_programs_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "7")
    monkeypatch.setenv("LRU_CACHE_CAPACITY", "8")
    limit_onednn_cache(9)
    assert os.environ["ONEDNN_PRIMITIVE_CACHE_CAPACITY"] == "7"
    assert os.environ["LRU_CACHE_CAPACITY"] == "8"
