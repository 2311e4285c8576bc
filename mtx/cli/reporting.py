"""The one place that turns exceptions into lines on stderr and an exit code."""

import functools
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn, ParamSpec

from mtx.errors import ExitCode, UserError

P = ParamSpec("P")


def reported(command: Callable[P, None]) -> Callable[P, None]:
    """`command`, with every exception turned into one line a problem on stderr and the process ended with its code."""

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        # Until a training defers them, these stop the command where it stands.
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, _raise_terminated)
        try:
            command(*args, **kwargs)
            sys.stdout.flush()
        except UserError as error:
            _end(error.code, *error.lines)
        except KeyboardInterrupt:
            _end(ExitCode.INTERRUPTED, "interrupted. Run the same command again.")
        except _Terminated:
            _end(ExitCode.TERMINATED, "terminated. Run the same command again.")
        except BrokenPipeError:
            # Nobody reads: neither a message nor Python's own flush at exit has a place to go.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(ExitCode.READER_GONE)
        except FloatingPointError as error:
            _end(ExitCode.MODEL, f"{error}. Try --precision fp32; if that does not help, train it again.")
        except Exception as error:
            _end_after(error)

    return run


@contextmanager
def report_usage() -> Iterator[None]:
    """Inside, what is wrong with the command line itself becomes one line on stderr and exit code 2."""
    try:
        yield
    except Exception as error:
        # Typer's own exceptions, wherever this version of it keeps them.
        message = getattr(error, "format_message", None)
        if message is None:
            raise
        context = getattr(error, "ctx", None)
        path = context.command_path if context is not None else "mtx"
        text = str(message()).rstrip(".")
        _end(ExitCode.USAGE, f"{text[:1].lower()}{text[1:]} (command line). See {path} --help.")


class _Terminated(BaseException):
    """SIGTERM or SIGHUP."""


def _raise_terminated(_number: int, _frame: FrameType | None) -> None:
    raise _Terminated


def _end_after(error: Exception) -> NoReturn:
    """End after an exception that no code of ours raised on purpose."""
    if isinstance(error, MemoryError) or "out of memory" in str(error) or "can't allocate memory" in str(error):
        _end(ExitCode.MACHINE, "out of memory. Use smaller batches or a smaller model.")
    notes = getattr(error, "__notes__", [])
    if not notes:
        traceback.print_exception(error)
    first = str(error).split("\n")[0]
    where = f" ({notes[0]})" if notes else ""
    _end(ExitCode.BUG, f"a bug in mtx: {type(error).__name__}: {first}{where}. Please report it with its traceback.")


def _end(code: ExitCode, *lines: str) -> NoReturn:
    for line in lines:
        printable = "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in line)
        print(f"mtx: error: {printable}", file=sys.stderr)
    sys.exit(code)
