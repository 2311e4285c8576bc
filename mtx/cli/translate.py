"""`mtx translate`."""

import json
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum, StrEnum
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mtx.cli.options import (
    MAX_BEAM,
    BatchOption,
    BeamOption,
    DeviceOption,
    ModelOption,
    PenaltyOption,
    PrecisionName,
    PrecisionOption,
    TagOption,
    load_translator,
)
from mtx.cli.reporting import reported
from mtx.cli.streams import input_lines, input_name, line_writer, refuse_overwriting
from mtx.data.sources.text import Repair, decode_line
from mtx.errors import ExitCode, UserError, escape_controls

if TYPE_CHECKING:
    from mtx.decode.translator import Translation


TEXT_MARK = "\0"
"""Stands before a sentence that begins with a dash; no argument of a process can hold it otherwise."""


MAX_SHOWN = 20
"""Lines that are named of those that were left empty."""


class Errors(Enum):  # a StrEnum has a method of the name replace
    """What `translate` does with a line that is not UTF-8."""

    stop = "stop"
    replace = "replace"
    keep = "keep"


class Format(StrEnum):
    """What `translate` prints."""

    text = "text"
    jsonl = "jsonl"


class OnTooLong(Enum):
    """What becomes of a line that is longer than any that the model has seen."""

    split = "split"
    error = "error"
    truncate = "truncate"


@reported
def translate(
    sentences: Annotated[
        list[str] | None,
        typer.Argument(help="Sentences; default: lines of --input or stdin. Beside sentences stdin is not read."),
    ] = None,
    model: ModelOption = None,
    input_path: Annotated[
        Path | None, typer.Option("--input", "-i", help="File with one sentence a line; - is stdin.", readable=False)
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File to write; default, and -: stdout.", readable=False)
    ] = None,
    beam: BeamOption = None,
    length_penalty: PenaltyOption = None,
    n_best: Annotated[
        int, typer.Option("--n-best", help="Translations of each sentence; over 1 needs jsonl.", min=1, max=MAX_BEAM)
    ] = 1,
    output_format: Annotated[
        Format, typer.Option("--format", help="Lines of text, or JSON with scores.")
    ] = Format.text,
    on_too_long: Annotated[
        OnTooLong,
        typer.Option(help="Lines longer than the model has seen: translate in parts, end with code 3, or cut off."),
    ] = OnTooLong.split,
    errors: Annotated[
        Errors,
        typer.Option(
            "--errors",
            help="A line that is not UTF-8: stop there, replace its bad bytes by U+FFFD, or keep its place empty and "
            "exit 3 at the end.",
        ),
    ] = Errors.stop,
    batch_tokens: BatchOption = 8192,
    precision: PrecisionOption = PrecisionName.fp32,
    device: DeviceOption = "auto",
    tag: TagOption = None,
) -> None:
    """Translate sentences: n lines in, n lines out, in order, each as soon as it is ready.

    \b
    mtx translate "Two dogs play."             with the newest model under ./runs
    mtx translate -m runs/my -i in.txt -o out.txt
    cat in.txt | mtx translate --format jsonl --n-best 3
    """
    if n_best > 1 and output_format is Format.text:
        raise UserError(
            ExitCode.USAGE, "--n-best over 1 needs --format jsonl", where="command line", do="Add --format jsonl."
        )
    if sentences and input_path is not None:
        raise UserError(
            ExitCode.USAGE, "both sentences and --input given", where="command line", do="Give one of them."
        )
    refuse_overwriting(output, [] if sentences else [input_path])
    unread = _UnreadLines()
    groups = _groups_of_lines(sentences, input_path, _repair(errors, unread))
    with line_writer(output) as write_line:
        translator = load_translator(
            model,
            beam,
            length_penalty,
            batch_tokens,
            precision,
            device,
            n_best,
            with_scores=output_format is Format.jsonl,
            splits_long=on_too_long is OnTooLong.split,
            tag=tag,
        )
        translations: Iterator[Translation] = (t for group in groups for t in translator.translate(group))
        if on_too_long is not OnTooLong.split:
            name = "sentence" if sentences else f"{input_name(input_path)} line"
            translations = _checked(translations, on_too_long, name)
        for translation in translations:
            write_line(_formatted(translation, output_format))
    unread.report()


def mark_text(arguments: list[str]) -> list[str]:
    """Mark the sentences of `mtx translate` that begin with a dash: a line of dialogue is text, not an option."""
    if arguments[:1] != ["translate"]:
        return arguments
    marked = []
    for before, argument in pairwise(["", *arguments]):
        is_text = argument.startswith("-") and " " in argument and not _takes_value(before)
        marked.append(TEXT_MARK + argument if is_text else argument)
    return marked


def _takes_value(argument: str) -> bool:
    """Whether what follows `argument` is the value of this option: every option of `mtx translate` takes one."""
    if argument.startswith("--"):
        return argument != "--" and "=" not in argument and " " not in argument
    return argument.startswith("-") and len(argument) == 2  # -mDIR holds its value itself


@dataclass(slots=True)
class _UnreadLines:
    """Lines that were not UTF-8 and for which empty ones stand."""

    count: int = 0
    places: list[str] = field(default_factory=list)
    """Of the first ones."""

    def note(self, _line: bytes, place: str) -> str:
        self.count += 1
        if self.count <= MAX_SHOWN:
            self.places.append(place)
        return ""

    def report(self) -> None:
        """Say which they were, if any.

        Raises:
            UserError: (DATA) there are some.
        """
        if self.count:
            more = f" and {self.count - MAX_SHOWN:,} more" if self.count > MAX_SHOWN else ""
            what, where = f"not UTF-8, left empty: {self.count:,} lines", ", ".join(self.places) + more
            raise UserError(ExitCode.DATA, what, where=where, do="Convert the text to UTF-8.")


def _repair(errors: Errors, unread: _UnreadLines) -> Repair | None:
    """What `--errors` asks to take for a line that is not UTF-8."""
    match errors:
        case Errors.stop:
            return None
        case Errors.replace:
            return lambda line, _: line.decode("utf-8", "replace")
        case Errors.keep:
            return unread.note


def _groups_of_lines(
    sentences: list[str] | None, input_path: Path | None, repair: Repair | None
) -> Iterator[list[str]]:
    """The lines to translate, in groups as they arrive."""
    if not sentences:
        yield from input_lines(input_path, repair)
        return
    # The bytes that the caller gave, which Python has read in the encoding of the locale.
    given = [os.fsencode(sentence.removeprefix(TEXT_MARK)) for sentence in sentences]
    texts = [decode_line(text, f"sentence {number}", repair=repair) for number, text in enumerate(given, start=1)]
    # An argument is a line, whatever is in it.
    yield [" ".join(text.split("\n")) for text in texts]


def _checked(translations: Iterator["Translation"], on_too_long: OnTooLong, name: str) -> Iterator["Translation"]:
    """`translations`, with an error or a warning for each that is not of the whole line; `name` is that of a line.

    Raises:
        UserError: the first such line, where that is an error (DATA); those before it have been given out.
    """
    num_truncated = 0
    for number, translation in enumerate(translations, start=1):
        if translation.num_left_out:
            num_truncated += 1
            where, what = f"{name} {number}", f"{translation.num_left_out:,} tokens longer than the model has seen"
            if on_too_long is OnTooLong.error:
                do = "Shorten it, or let it be translated in parts: --on-too-long split."
                raise UserError(ExitCode.DATA, what, where=where, do=do)
            print(f"mtx: warning: {what}, which are left out ({escape_controls(where)})", file=sys.stderr)
        yield translation
    if num_truncated:
        print(f"mtx: warning: {num_truncated:,} lines were too long and truncated", file=sys.stderr)


def _formatted(translation: "Translation", output_format: Format) -> str:
    if output_format is Format.text:
        return translation.tgt
    best = translation.nbest[0]
    nbest = [{"tgt": candidate.tgt, "score": candidate.score} for candidate in translation.nbest]
    record = {"src": translation.src, "tgt": best.tgt, "score": best.score, "nbest": nbest}
    return json.dumps(record, ensure_ascii=False)
