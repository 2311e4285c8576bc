"""The one place that turns exceptions into lines on stderr and an exit code."""

import functools
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import NoReturn, ParamSpec

from mtx.distributed.environment import is_launched, is_rank0
from mtx.errors import ExitCode, UserError, escape_controls, machine_error
from mtx.system.signals import stops

OUT_OF_MEMORY = "out of memory. Use smaller batches or a smaller model."

P = ParamSpec("P")
Answer = Callable[[int, FrameType | None], object] | signal.Handlers


def reported(command: Callable[P, None]) -> Callable[P, None]:
    """`command`, with every exception turned into one line a problem on stderr and the process ended with its code."""

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        _answer_signals(_raise)  # until a training defers them
        # Asks a training to save; elsewhere, and before there is anything to save, nothing comes of it.
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        try:
            _check_current_folder()
            command(*args, **kwargs)
            sys.stdout.flush()
        except BaseException as error:
            _end_after(error)
        _answer_signals(signal.SIG_IGN)  # all is done: that stays the answer
        if is_launched():
            _leave(0)

    return run


@contextmanager
def first_rank_speaks() -> Iterator[None]:
    """Inside, of processes that train together only the first one reports its end: the others end likewise.

    They do report what only they may know: data that is missing on their machine, or what the machine refuses.
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
    except FileNotFoundError:  # torch's libraries would end the process in a way of their own
        raise UserError(ExitCode.MACHINE, "the current folder was deleted", do="Change to another.") from None


@contextmanager
def report_usage() -> Iterator[None]:
    """Inside, what is wrong with the command line itself becomes one line on stderr and exit code 2."""
    try:
        yield
    except BaseException as error:
        # Typer's own exceptions, wherever this version of it keeps them.
        message = getattr(error, "format_message", None)
        if message is None:
            _end_after(error)
        context = getattr(error, "ctx", None)
        path = context.command_path if context is not None else "mtx"
        text = str(message()).rstrip(".")
        _end(ExitCode.USAGE, f"{text[:1].lower()}{text[1:]} (command line). See {path} --help.")


class _Terminated(BaseException):
    """SIGTERM or SIGHUP."""


def _raise(number: int, _frame: FrameType | None) -> None:
    """Stop the command where it stands."""
    raise KeyboardInterrupt if number == signal.SIGINT else _Terminated


def _answer_signals(answer: Answer) -> None:
    """What signals to stop do from now on."""
    for number in stops():
        signal.signal(number, answer)


def _end_after(error: BaseException) -> NoReturn:
    """End the process with the code that `error` stands for, and a line for the user."""
    match error:
        case SystemExit(code=int(code)) if is_launched():
            _leave(code)
        case SystemExit():
            raise error
        case UserError():
            _end(error.code, *error.lines)
        case KeyboardInterrupt():
            _end(ExitCode.INTERRUPTED, "interrupted. Run the same command again.")
        case _Terminated():
            _end(ExitCode.TERMINATED, "terminated. Run the same command again.")
        case BrokenPipeError():
            _end(ExitCode.READER_GONE)
        case FloatingPointError():
            _end(ExitCode.MODEL, f"{error}. Try --precision fp32; if that does not help, train it again.")
        case OSError():
            _end(ExitCode.MACHINE, *machine_error(error, "the system refused").lines)
        case MemoryError():
            _end(ExitCode.MACHINE, OUT_OF_MEMORY)
        case ImportError() if "failed to map segment" in str(error):
            _end(
                ExitCode.MACHINE, f"out of memory for a library: {_first_line(error)}. Free memory, or raise ulimit -v."
            )
    if "torch" not in sys.modules:  # which may be what failed
        _end_after_bug(error)
    from mtx.system.device import is_gpu_error, is_out_of_memory

    if is_out_of_memory(error):
        _end(ExitCode.MACHINE, OUT_OF_MEMORY)
    if is_gpu_error(error):
        _end(
            ExitCode.MACHINE, f"the GPU failed: {_first_line(error)}. Run the same command again, or use --device cpu."
        )
    _end_after_bug(error)


def _end_after_bug(error: BaseException) -> NoReturn:
    notes = getattr(error, "__notes__", [])
    if not notes:
        traceback.print_exception(error)
    where = f" ({notes[0]})" if notes else ""
    _end(
        ExitCode.BUG,
        f"a bug in mtx: {type(error).__name__}: {_first_line(error)}{where}. Please report it with its traceback.",
    )


def _first_line(error: BaseException) -> str:
    return str(error).split("\n")[0]


def _end(code: ExitCode, *lines: str) -> NoReturn:
    # One more need not wait for the end; but a launcher, which sends one when another rank ends, must not cut off
    # what this one has to say.
    _answer_signals(signal.SIG_IGN if is_launched() else lambda *_: os._exit(code))
    with suppress(OSError):  # there may be no terminal any more
        for line in lines:
            print(f"mtx: error: {escape_controls(line)}", file=sys.stderr)
    try:
        sys.stdout.flush()
    except (OSError, ValueError, AttributeError):
        # What nobody takes must not be tried again by Python's own flush at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    _leave(code)


def _leave(code: int) -> NoReturn:
    """End the process.

    A rank skips Python's own cleanup: threads of a process group that lost a member can abort the process there, and
    its launcher would see SIGABRT in place of `code`.
    """
    if is_launched():
        with suppress(OSError, ValueError, AttributeError):
            sys.stdout.flush()
        os._exit(code)
    sys.exit(code)
