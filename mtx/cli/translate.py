"""`mtx translate`: translate sentences, a file or stdin."""

import json
import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from mtx.cli.options import (
    DeviceOption,
    ModelOption,
    PrecisionName,
    PrecisionOption,
    load_translator,
    with_decoding_flags,
)
from mtx.cli.reporting import command_line_error, handle_errors
from mtx.cli.streams import input_lines, input_name, line_writer, refuse_overwriting
from mtx.data.sources.text import Repair, decode_line
from mtx.errors import ExitCode, UserError, escape_controls

if TYPE_CHECKING:
    from mtx.decode.translator import Translation


TEXT_MARK = "\0"
"""Prefix that hides the dash of a sentence from the option parser. No argument of a process can contain it."""

TEXT = re.compile("-[^=]* ")
OPTION = re.compile("-[^-]|--[^= ]+")
"""An option whose value is the next argument; every option of `mtx translate` takes a value."""

MAX_SHOWN = 20  # Undecodable lines that are listed


Errors = Literal["stop", "replace", "keep"]
Format = Literal["text", "jsonl"]
OnTooLong = Literal["split", "error", "truncate"]


@handle_errors
@with_decoding_flags()
def translate(
    given: dict[str, Any],
    sentences: Annotated[
        list[str] | None,
        typer.Argument(help="Sentences; default: the lines of --input or stdin."),
    ] = None,
    model: ModelOption = None,
    input_path: Annotated[
        Path | None, typer.Option("--input", "-i", help="File with one sentence per line; - is stdin.", readable=False)
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File to write; default: stdout.", readable=False)
    ] = None,
    output_format: Annotated[Format, typer.Option("--format", help="Plain text, or JSON with scores.")] = "text",
    on_too_long: Annotated[
        OnTooLong,
        typer.Option(help="Lines longer than any training sentence: split into parts, exit with code 3, or cut off."),
    ] = "split",
    errors: Annotated[
        Errors,
        typer.Option(
            "--errors",
            help="Lines that are not UTF-8: stop with code 3, replace bad bytes by U+FFFD, or keep an empty line and "
            "exit with code 3 at the end.",
        ),
    ] = "stop",
    precision: PrecisionOption = PrecisionName.fp32,
    device: DeviceOption = "auto",
) -> None:
    """Translate sentences. Each input line gives one output line, in order, as soon as it is ready.

    \b
    mtx translate "Two dogs play."             with the newest model in ./runs
    mtx translate -m runs/my -i in.txt -o out.txt
    cat in.txt | mtx translate --format jsonl --n-best 3
    """
    if given.get("n_best", 1) > 1 and output_format == "text":
        raise command_line_error("--n-best above 1 needs --format jsonl", "Add --format jsonl.")
    if sentences and input_path is not None:
        raise command_line_error("both sentences and --input given", "Give one of them.")
    refuse_overwriting(output, [] if sentences else [input_path])
    unread = _UnreadLines()
    groups = _groups_of_lines(sentences, input_path, _repair(errors, unread))
    with line_writer(output) as write_line:
        given |= {"with_scores": output_format == "jsonl", "splits_long": on_too_long == "split"}
        translator = load_translator(model, given, precision, device)
        translations: Iterator[Translation] = (t for group in groups for t in translator.translate(group))
        if on_too_long != "split":
            name = "sentence" if sentences else f"{input_name(input_path)} line"
            translations = _checked(translations, on_too_long, name)
        for translation in translations:
            write_line(_formatted(translation, output_format))
    unread.report()


def mark_text(arguments: list[str]) -> list[str]:
    """Mark sentences of `mtx translate` that begin with a dash and contain a space, such as a line of dialogue."""
    if arguments[:1] != ["translate"]:
        return arguments
    return [
        TEXT_MARK + argument if TEXT.match(argument) and not OPTION.fullmatch(before) else argument
        for before, argument in pairwise(["", *arguments])
    ]


@dataclass(slots=True)
class _UnreadLines:
    """Lines that were not UTF-8 and were replaced by empty ones."""

    count: int = 0
    first: list[str] = field(default_factory=list)  # Where the first ones are

    def note(self, _line: bytes, place: str) -> str:
        self.count += 1
        if self.count <= MAX_SHOWN:
            self.first.append(place)
        return ""

    def report(self) -> None:
        """Fail if there are any.

        Raises:
            UserError: (DATA) there are some; it lists the first.
        """
        if self.count:
            more = f" and {self.count - MAX_SHOWN:,} more" if self.count > MAX_SHOWN else ""
            what, where = f"{self.count:,} lines are not UTF-8 and were left empty", ", ".join(self.first) + more
            raise UserError(ExitCode.DATA, what, where=where, do="Convert the text to UTF-8.")


def _repair(errors: Errors, unread: _UnreadLines) -> Repair | None:
    """Return the function for `--errors` that replaces a line that is not UTF-8."""
    match errors:
        case "stop":
            return None
        case "replace":
            return lambda line, _: line.decode("utf-8", "replace")
        case "keep":
            return unread.note


def _groups_of_lines(
    sentences: list[str] | None, input_path: Path | None, repair: Repair | None
) -> Iterator[list[str]]:
    """Read the lines to translate, in groups as they arrive."""
    if not sentences:
        yield from input_lines(input_path, repair)
        return
    # Back to the bytes that the caller gave, which Python has decoded by the locale.
    given = [os.fsencode(sentence.removeprefix(TEXT_MARK)) for sentence in sentences]
    texts = [decode_line(text, f"sentence {number}", repair=repair) for number, text in enumerate(given, start=1)]
    # Each argument is one line, even if it contains line ends.
    yield [" ".join(text.split("\n")) for text in texts]


def _checked(translations: Iterator["Translation"], on_too_long: OnTooLong, name: str) -> Iterator["Translation"]:
    """Pass on `translations`, and warn or fail for each line that was too long; `name` is what lines are called.

    Raises:
        UserError: (DATA) a line is too long and `on_too_long` is error. The translations before it are passed on.
    """
    num_truncated = 0
    for number, translation in enumerate(translations, start=1):
        if translation.num_left_out:
            num_truncated += 1
            where, what = f"{name} {number}", f"{translation.num_left_out:,} tokens longer than any training sentence"
            if on_too_long == "error":
                do = "Shorten it, or use --on-too-long split."
                raise UserError(ExitCode.DATA, what, where=where, do=do)
            print(f"mtx: warning: {what}, which were cut off ({escape_controls(where)})", file=sys.stderr)
        yield translation
    if num_truncated:
        print(f"mtx: warning: {num_truncated:,} lines were too long and were cut off", file=sys.stderr)


def _formatted(translation: "Translation", output_format: Format) -> str:
    if output_format == "text":
        return translation.tgt
    best = translation.nbest[0]
    nbest = [{"tgt": candidate.tgt, "score": candidate.score} for candidate in translation.nbest]
    record = {"src": translation.src, "tgt": best.tgt, "score": best.score, "nbest": nbest}
    return json.dumps(record, ensure_ascii=False)
