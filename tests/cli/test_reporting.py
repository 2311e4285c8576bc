"""Any exception in a command ends the process with a documented exit code and lines on stderr."""

import errno
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mtx.cli.reporting import handle_errors
from mtx.errors import ExitCode, UserError

NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)


@pytest.fixture(autouse=True)
def _own_signals() -> Iterator[None]:
    before = {number: signal.signal(number, signal.SIG_DFL) for number in NUMBERS}
    signal.signal(signal.SIGINT, signal.default_int_handler)  # in case the tests were started with SIGINT ignored
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def end_of(command: Callable[[], None]) -> int:
    with pytest.raises(SystemExit) as ended, handle_errors():
        command()
    return int(ended.value.code or 0)


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (UserError(ExitCode.DATA, "bad", where="f:1", do="Fix it."), 3, "bad (f:1). Fix it."),
        (KeyboardInterrupt(), 130, "interrupted. Run the same command again."),
        (
            OSError(errno.EIO, "Input/output error", "f"),
            5,
            "system error: Input/output error (f). Check the disk",
        ),
        (OSError(errno.ENOSPC, "No space left on device"), 5, "system error: No space left on device. Free some"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), 5, "system error: Cannot allocate memory. Free mem"),
        (OSError(errno.EMFILE, "Too many open files"), 5, "system error: Too many open files. Raise the limit"),
        (MemoryError(), 5, "out of memory. "),
        (
            ImportError("libtorch_cpu.so: failed to map segment"),
            5,
            "not enough memory to load a library: libtorch_cpu.so: fail",
        ),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"), 5, "out of memory. "),
        (RuntimeError("CUDA error: unspecified launch failure\nmore"), 5, "the GPU failed: CUDA error: unspecified"),
    ],
)
def test_errors(error: BaseException, code: int, line: str, capfd: pytest.CaptureFixture[str]) -> None:
    def command() -> None:
        raise error

    assert end_of(command) == code
    out, err = capfd.readouterr()
    assert not out
    assert err.startswith(f"mtx: error: {line}")
    assert err.count("\n") == 1


def test_an_error_before_torch_is_imported_does_not_import_it(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Importing torch may be what failed."""
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    monkeypatch.setitem(sys.modules, "mtx.system.device", None)

    def bug() -> None:
        raise RuntimeError("x")

    def no_memory() -> None:
        raise MemoryError

    assert end_of(bug) == ExitCode.BUG
    assert "mtx: error: a bug in mtx: RuntimeError: x." in capfd.readouterr().err
    assert end_of(no_memory) == ExitCode.MACHINE
    assert capfd.readouterr().err.startswith("mtx: error: out of memory.")


def test_a_deleted_current_folder_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert end_of(lambda: None) == ExitCode.MACHINE
    assert capfd.readouterr().err == "mtx: error: the current folder was deleted. Change to another.\n"


@pytest.mark.process
@pytest.mark.skipif(
    os.geteuid() == 0 and shutil.which("setpriv") is None,
    reason="root reads every file unless setpriv takes its rights",
)
@pytest.mark.parametrize(
    ("command", "code", "line"),
    [
        (["evaluate", "--hyp", "secret", "--ref", "secret"], 3, "secret: permission denied"),
        (["config", "validate", "secret"], 2, "permission denied"),
        (["tokenizer", "encode", "--model", "secret"], 4, "secret: Permission denied. Check the file."),
        (["tokenizer", "train", "secret"], 3, "secret: permission denied"),
    ],
)
def test_an_unreadable_file_has_the_exit_code_of_its_kind(
    command: list[str], code: int, line: str, tmp_path: Path
) -> None:
    (tmp_path / "secret").write_text("text")
    (tmp_path / "secret").chmod(0o200)
    rights = "-dac_override,-dac_read_search"
    without = ["setpriv", f"--bounding-set={rights}", f"--inh-caps={rights}"] if os.geteuid() == 0 else []
    done = subprocess.run(
        [*without, sys.executable, "-m", "mtx", *command], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == code, done.stderr
    assert line in done.stderr.lower() or line in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_bug_prints_its_traceback(capfd: pytest.CaptureFixture[str]) -> None:
    def command() -> None:
        raise KeyError("x")

    assert end_of(command) == ExitCode.BUG
    trace, line = capfd.readouterr().err.strip().rsplit("\n", 1)
    assert trace.startswith("Traceback")
    assert line == "mtx: error: a bug in mtx: KeyError: 'x'. Please report it with its traceback."


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 143)])
def test_a_signal_interrupts_a_command(number: signal.Signals, code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    assert end_of(lambda: signal.raise_signal(number)) == code
    left: list[int] = []
    monkeypatch.setattr(os, "_exit", left.append)
    signal.raise_signal(number)
    assert left == [code], "one more ends it without delay"


@pytest.mark.parametrize("number", NUMBERS)
def test_a_signal_after_success_does_not_change_the_exit_code(number: signal.Signals) -> None:
    with handle_errors():
        pass
    signal.raise_signal(number)


def test_ignored_hang_ups_and_save_requests_do_not_stop_a_command() -> None:
    """A hang-up is ignored under nohup; SIGUSR1 asks only a training to save."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with handle_errors():
        signal.raise_signal(signal.SIGHUP)
        signal.raise_signal(signal.SIGUSR1)
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN


@pytest.mark.process
def test_the_exit_code_survives_a_closed_terminal_and_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a real hang-up stderr cannot be written."""
    process = os.fork()
    if process == 0:
        for stream in (1, 2):
            os.dup2(os.open("/dev/full", os.O_WRONLY), stream)
        os.environ["PYTHONUNBUFFERED"] = "1"
        with open(2, "w", buffering=1, closefd=False) as full:
            monkeypatch.setattr("sys.stderr", full)
            try:
                with handle_errors():
                    raise UserError(ExitCode.MODEL, "x", do="y")
            except SystemExit as ended:
                os._exit(int(ended.code or 0))
            os._exit(99)
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == ExitCode.MODEL
