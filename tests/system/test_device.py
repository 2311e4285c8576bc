"""Device, precision, threads, and the errors of a machine that has too little."""

import errno
import os
from collections.abc import Iterator

import pytest
import torch

from mtx.errors import ExitCode, UserError
from mtx.system.device import Precision, choose_device, choose_precision, is_gpu_error, is_out_of_memory, use_threads

CPU = torch.device("cpu")


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pretends that the machine has two GPUs."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


@pytest.mark.usefixtures("gpus")
def test_devices_of_a_machine_with_gpus() -> None:
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
        ("meta", ExitCode.USAGE, "unknown device 'meta'"),
        ("cuda:", ExitCode.USAGE, "unknown device 'cuda:'"),
        ("cuda:01", ExitCode.USAGE, "unknown device 'cuda:01'"),
        ("cuda:1000", ExitCode.USAGE, "unknown device 'cuda:1000'"),
    ],
)
def test_unknown_or_missing_devices(name: str, code: ExitCode, message: str) -> None:
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


def test_products_have_the_dtype_of_the_precision_and_only_float16_is_scaled() -> None:
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


def tensor_too_large() -> RuntimeError:
    """Torch's error on a CPU."""
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
def test_errors_of_memory_and_gpu_are_recognized_by_class_number_or_text(error: Exception, kind: str | None) -> None:
    assert is_out_of_memory(error) == (kind == "memory")
    assert is_gpu_error(error) == (kind == "gpu")
