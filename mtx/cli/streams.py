"""Text input and output: stdin, stdout and files, in UTF-8 under any locale."""

import io
import os
import stat
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from mtx.data.sources.base import PACKED_SUFFIXES
from mtx.data.sources.text import Repair, explain_unreadable, pack, stream_lines
from mtx.errors import ExitCode, UserError, machine_error
from mtx.files.atomic import new_file
from mtx.files.sealed import MANIFEST

STANDARD = Path("-")  # Name of stdin for input files, and of stdout for output files


def open_standard_streams() -> None:
    """Switch stdout and stderr to UTF-8, and replace each standard stream that the caller has closed.

    The replacement occupies its file descriptor, so that no other file gets it, and fails when it is used.
    """
    for name, flag, mode in (("stdin", os.O_WRONLY, "r"), ("stdout", os.O_RDONLY, "w"), ("stderr", os.O_WRONLY, "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.open(os.devnull, flag), mode, encoding="utf-8"))  # noqa: SIM115
    for stream, errors in ((sys.stdout, "surrogateescape"), (sys.stderr, "backslashreplace")):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors=errors)


def path_text(path: Path) -> str:
    """Convert `path` for `print_line`, which prints its bytes unchanged."""
    return os.fsencode(path).decode("utf-8", "surrogateescape")


def print_line(line: str) -> None:
    """Print one line of results and flush it.

    Raises:
        UserError: (MACHINE) stdout is closed, or its disk is full.
        BrokenPipeError: the reader has closed the pipe.
    """
    try:
        sys.stdout.buffer.write(line.encode("utf-8", "surrogateescape") + b"\n")
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise machine_error(error, "cannot write", where="stdout") from error


def warn(*messages: str) -> None:
    """Print warnings on stderr, a line each."""
    for message in messages:
        print(f"mtx: warning: {message}", file=sys.stderr)


@contextmanager
def line_writer(output: Path | None) -> Iterator[Callable[[str], object]]:
    """Yield a function that writes a line to stdout (None or -) or to the file `output`.

    The file appears when the block ends without an exception.

    Raises:
        UserError: (MACHINE) the file cannot be written; raised before the block runs.
    """
    if output is None or output == STANDARD:
        yield print_line
    else:
        with new_text_file(output) as file:
            yield lambda line: file.write(line.encode() + b"\n")


@contextmanager
def new_text_file(path: Path) -> Iterator[BinaryIO]:
    """A new file as `new_file` makes it, packed if its name ends in .gz, .xz or .zst."""
    with new_file(path) as file:
        if path.suffix.lower() not in PACKED_SUFFIXES:
            yield file
            return
        with pack(file, path.suffix.lower()) as packed:
            yield packed


def input_lines(path: Path | None, repair: Repair | None = None) -> Iterator[list[str]]:
    """Read groups of lines from a file or, for None or -, from stdin as they arrive.

    Raises:
        UserError: (DATA) it cannot be read; see `stream_lines`.
    """
    name = input_name(path)
    with explain_unreadable(name):
        if path is None or path == STANDARD:
            yield from stream_lines(sys.stdin.buffer, name, repair=repair)
        else:
            with path.open("rb") as stream:
                yield from stream_lines(stream, name, repair=repair)


def input_name(path: Path | None) -> str:
    """Name an input in messages: its path, or stdin."""
    return "stdin" if path in (None, STANDARD) else str(path)


def refuse_overwriting(output: Path | None, inputs: Iterable[Path | None]) -> None:
    """Refuse an output that is the same file as an input, or lies in a model folder.

    None is stdout for the output, and stdin for an input.

    Raises:
        UserError: (USAGE) it is or does.
    """
    is_stdout = output in (None, STANDARD)
    where = "stdout" if is_stdout else str(output)
    for given in inputs:
        with suppress(OSError):  # a missing file cannot be overwritten
            new = os.fstat(sys.stdout.fileno()) if is_stdout else os.stat(where)
            old = os.fstat(sys.stdin.fileno()) if given in (None, STANDARD) else os.stat(str(given))
            # `> FILE` has already emptied the file: if it was also the input, there is nothing left to protect.
            if stat.S_ISREG(new.st_mode) and os.path.samestat(new, old) and (old.st_size > 0 or not is_stdout):
                what = f"the output is the input {input_name(given)}"
                raise UserError(ExitCode.USAGE, what, where=where, do="Choose another output file.")
    folder = Path(os.path.realpath(where)).parent
    if not is_stdout and os.path.exists(folder / MANIFEST) and any(folder.glob("*.safetensors")):
        what = "the output would be written into a model folder"
        raise UserError(ExitCode.USAGE, what, where=where, do="Choose another output file.")
