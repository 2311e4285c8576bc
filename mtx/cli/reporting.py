"""Exceptions and signals become lines on stderr and an exit code, here and nowhere else."""

import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import NoReturn

from mtx.distributed.launch import is_launched, is_rank0
from mtx.errors import ExitCode, UserError, escape_controls, machine_error
from mtx.system.signals import stop_signals

OUT_OF_MEMORY = "out of memory. Use smaller batches or a smaller model."

Handler = Callable[[int, FrameType | None], object] | signal.Handlers


@contextmanager
def handle_errors() -> Iterator[None]:
    """Inside, any exception prints one line for each problem, and ends the process with its exit code."""
    _handle_stop_signals(_raise)
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)  # asks a training to save; other commands ignore it
    try:
        _check_current_folder()
        yield
        sys.stdout.flush()
    except BaseException as error:
        _end_after(error)
    _handle_stop_signals(signal.SIG_IGN)  # a signal must not change the exit code any more
    if is_launched():
        _end(ExitCode.DONE)


def command_line_error(what: str, do: str) -> UserError:
    """Return an error in the command line (USAGE)."""
    return UserError(ExitCode.USAGE, what, where="command line", do=do)


@contextmanager
def only_rank0_reports() -> Iterator[None]:
    """Let the other ranks end with the same exit code as rank 0, but without its error lines.

    They do report errors of data and machine, which may concern their machine only.
    """
    if is_rank0():
        yield
        return
    try:
        yield
    except UserError as error:
        if error.code in (ExitCode.DATA, ExitCode.MACHINE):
            raise
        sys.exit(error.code)
    except KeyboardInterrupt:
        sys.exit(ExitCode.INTERRUPTED)
    except _Terminated:
        sys.exit(ExitCode.TERMINATED)


def _check_current_folder() -> None:
    try:
        os.getcwd()
    except FileNotFoundError:  # here, because torch's libraries would abort the process
        raise UserError(ExitCode.MACHINE, "the current folder was deleted", do="Change to another.") from None


class _Terminated(BaseException):
    """SIGTERM or SIGHUP was received."""


def _raise(number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt if number == signal.SIGINT else _Terminated


def _handle_stop_signals(handler: Handler) -> None:
    for number in stop_signals():
        signal.signal(number, handler)


def _end_after(error: BaseException) -> NoReturn:
    """End the process with the exit code of `error` and a line for the user."""
    # Exceptions of Typer in the command line, which has moved their class between versions.
    if (message := getattr(error, "format_message", None)) is not None:
        text, command = message().rstrip("."), getattr(getattr(error, "ctx", None), "command_path", "mtx")
        _end(ExitCode.USAGE, f"{text[:1].lower()}{text[1:]} (command line). See {command} --help.")
    first_line = str(error).split("\n")[0]
    match error:
        case SystemExit(code=int(code)) if is_launched():
            _end(code)
        case SystemExit():
            raise error
        case UserError():
            _end(error.code, *error.lines)
        case KeyboardInterrupt():
            _end(ExitCode.INTERRUPTED, "interrupted. Run the same command again.")
        case _Terminated():
            _end(ExitCode.TERMINATED, "terminated. Run the same command again.")
        case BrokenPipeError():
            _end(ExitCode.BROKEN_PIPE)
        case FloatingPointError():
            _end(ExitCode.MODEL, f"{error}. Try --precision fp32. If that does not help, train the model again.")
        case OSError():
            _end(ExitCode.MACHINE, *machine_error(error, "system error").lines)
        case MemoryError():
            _end(ExitCode.MACHINE, OUT_OF_MEMORY)
        case ImportError() if "failed to map segment" in str(error):
            do = "Free memory, or raise ulimit -v."
            _end(ExitCode.MACHINE, f"not enough memory to load a library: {first_line}. {do}")
    if "torch" in sys.modules:  # otherwise, importing it may be what failed
        from mtx.system.device import is_gpu_error, is_out_of_memory

        if is_out_of_memory(error):
            _end(ExitCode.MACHINE, OUT_OF_MEMORY)
        if is_gpu_error(error):
            do = "Run the same command again, or use --device cpu."
            _end(ExitCode.MACHINE, f"the GPU failed: {first_line}. {do}")
    notes = getattr(error, "__notes__", [])  # of the log file, which has the traceback
    if not notes:
        traceback.print_exception(error)
    where = f" ({notes[0]})" if notes else ""
    do = "Please report it with its traceback."
    _end(ExitCode.BUG, f"a bug in mtx: {type(error).__name__}: {first_line}{where}. {do}")


def _end(code: int, *lines: str) -> NoReturn:
    """Print error lines and end the process."""
    # A second signal may end the process at once. Not under a launcher: it sends one as soon as another rank ends, and
    # this rank's error lines must still appear.
    _handle_stop_signals(signal.SIG_IGN if is_launched() else lambda *_: os._exit(code))
    with suppress(OSError):  # the terminal may be closed
        for line in lines:
            print(f"mtx: error: {escape_controls(line)}", file=sys.stderr)
    try:
        sys.stdout.flush()
    except (OSError, ValueError, AttributeError):
        # Python flushes stdout at exit and must not fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    if is_launched():
        # Python's own cleanup is skipped: threads of a process group that lost a member can abort the process there,
        # and its launcher would see SIGABRT in place of `code`.
        os._exit(code)
    sys.exit(code)
