"""Where text comes from and goes to: stdin, stdout, files in their place. In UTF-8, whatever the locale."""

import io
import os
import stat
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mtx.data.sources.text import Repair, stream_lines, unreadable
from mtx.errors import ExitCode, UserError, machine_error
from mtx.files.atomic import new_file
from mtx.files.sealed import MANIFEST

STANDARD = Path("-")
"""Stands for stdin where a file to read is asked for, and for stdout where one to write is."""


def open_standard_streams() -> None:
    """Have stdout and stderr in UTF-8, and something in the place of a stream that the caller has closed.

    To read or write that is an error of the system, and no file of ours gets its number.
    """
    for name, flag, mode in (("stdin", os.O_WRONLY, "r"), ("stdout", os.O_RDONLY, "w"), ("stderr", os.O_WRONLY, "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.open(os.devnull, flag), mode, encoding="utf-8"))  # noqa: SIM115
    for stream, errors in ((sys.stdout, "surrogateescape"), (sys.stderr, "backslashreplace")):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors=errors)


def path_text(path: Path) -> str:
    """`path` for `print_line`, which then prints its very bytes."""
    return os.fsencode(path).decode("utf-8", "surrogateescape")


def print_line(line: str) -> None:
    """One line of results, at once.

    Raises:
        UserError: (MACHINE) stdout is closed, or the disk behind it is full.
        BrokenPipeError: its reader went away.
    """
    try:
        sys.stdout.buffer.write(line.encode("utf-8", "surrogateescape") + b"\n")
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise machine_error(error, "cannot write", where="stdout") from error


@contextmanager
def line_writer(output: Path | None) -> Iterator[Callable[[str], object]]:
    """What writes a line: to the file `output`, which is there when the block has ended well; for None or - to stdout.

    Raises:
        UserError: (MACHINE) it can't be written, which is noticed at the beginning.
    """
    if output is None or output == STANDARD:
        yield print_line
    else:
        with new_file(output) as file:
            yield lambda line: file.write(line.encode() + b"\n")


def input_lines(path: Path | None, repair: Repair | None = None) -> Iterator[list[str]]:
    """Groups of lines of a file, or of stdin, which None means too, as they arrive.

    Raises:
        UserError: (DATA) it can't be read; see `stream_lines`.
    """
    name = input_name(path)
    try:
        if path is None or path == STANDARD:
            yield from stream_lines(sys.stdin.buffer, name, repair=repair)
        else:
            with path.open("rb") as stream:
                yield from stream_lines(stream, name, repair=repair)
    except OSError as error:
        raise unreadable(name, error) from error


def input_name(path: Path | None) -> str:
    """What messages call a file to read, or stdin."""
    return "stdin" if _is_standard(path) else str(path)


def refuse_overwriting(output: Path | None, inputs: Iterable[Path | None]) -> None:
    """Make sure that what is written is none of the files to read, by whatever names, nor in a folder of weights.

    For an output None is stdout, for an input stdin.

    Raises:
        UserError: (USAGE) it is one.
    """
    for given in inputs:
        with suppress(OSError):  # what is not there is not overwritten
            new = os.fstat(sys.stdout.fileno()) if _is_standard(output) else os.stat(str(output))
            old = os.fstat(sys.stdin.fileno()) if _is_standard(given) else os.stat(str(given))
            # An empty one on stdout may have been the input, and be emptied by the shell: nothing is read of it.
            is_read = old.st_size > 0 or not _is_standard(output)
            if stat.S_ISREG(new.st_mode) and os.path.samestat(new, old) and is_read:
                what, where = f"the output is the input {input_name(given)}", _output_name(output)
                raise UserError(ExitCode.USAGE, what, where=where, do="Give another file for the output.")
    folder = Path(os.path.realpath(str(output))).parent
    if not _is_standard(output) and os.path.exists(folder / MANIFEST) and any(folder.glob("*.safetensors")):
        what, do = "the output would lie in the folder of a model", "Give another file for the output."
        raise UserError(ExitCode.USAGE, what, where=str(output), do=do)


def _is_standard(path: Path | None) -> bool:
    return path is None or path == STANDARD


def _output_name(path: Path | None) -> str:
    return "stdout" if _is_standard(path) else str(path)
