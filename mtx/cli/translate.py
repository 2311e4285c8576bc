"""`mtx translate`."""

import json
import sys
from collections.abc import Iterator
from enum import StrEnum
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO

import typer

from mtx.cli.options import (
    BatchOption,
    BeamOption,
    DeviceOption,
    ModelOption,
    PenaltyOption,
    PrecisionName,
    PrecisionOption,
    load_translator,
    print_line,
)
from mtx.cli.reporting import reported
from mtx.errors import ExitCode, UserError

if TYPE_CHECKING:
    from mtx.decode.translator import Translation


TEXT_MARK = "\0"
"""Stands before a sentence that begins with a dash; no argument of a process can hold it otherwise."""


class Format(StrEnum):
    """What `translate` prints."""

    text = "text"
    jsonl = "jsonl"


@reported
def translate(
    sentences: Annotated[
        list[str] | None, typer.Argument(help="Sentences; default: lines of --input or stdin.")
    ] = None,
    model: ModelOption = None,
    input_path: Annotated[
        Path | None, typer.Option("--input", "-i", help="File with one sentence a line; - is stdin.")
    ] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="File to write; default: stdout.")] = None,
    beam: BeamOption = None,
    length_penalty: PenaltyOption = None,
    n_best: Annotated[
        int, typer.Option("--n-best", help="Translations of each sentence; over 1 needs jsonl.", min=1)
    ] = 1,
    output_format: Annotated[
        Format, typer.Option("--format", help="Lines of text, or JSON with scores.")
    ] = Format.text,
    batch_tokens: BatchOption = 8192,
    precision: PrecisionOption = PrecisionName.fp32,
    device: DeviceOption = "auto",
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
    if (
        output is not None
        and input_path is not None
        and output.exists()
        and input_path.exists()
        and output.samefile(input_path)
    ):
        raise UserError(ExitCode.USAGE, "--output is the --input file", where=str(output), do="Give another file.")
    with_scores = output_format is Format.jsonl
    translator = load_translator(
        model, beam, length_penalty, batch_tokens, precision, device, n_best, with_scores=with_scores
    )
    translations = (t for group in _groups_of_lines(sentences, input_path) for t in translator.translate(group))
    if output is None:
        for translation in translations:
            print_line(_formatted(translation, output_format))
    else:
        from mtx.checkpoint.files import write_file

        write_file(output, "".join(_formatted(t, output_format) + "\n" for t in translations).encode())


def mark_text(arguments: list[str]) -> list[str]:
    """Mark the sentences of `mtx translate` that begin with a dash: a line of dialogue is text, not an option."""
    if arguments[:1] != ["translate"]:
        return arguments
    marked = []
    for before, argument in pairwise(["", *arguments]):
        is_value = before.startswith("-") and " " not in before and before != "--"  # every option there takes one
        is_text = argument.startswith("-") and " " in argument and not is_value
        marked.append(TEXT_MARK + argument if is_text else argument)
    return marked


def _groups_of_lines(sentences: list[str] | None, input_path: Path | None) -> Iterator[list[str]]:
    """The lines to translate, in groups as they arrive."""
    from mtx.data.lines import stream_lines

    if sentences:
        texts = [sentence.removeprefix(TEXT_MARK) for sentence in sentences]
        for number, text in enumerate(texts, start=1):
            if any("\ud800" <= character <= "\udfff" for character in text):
                raise UserError(ExitCode.DATA, "not UTF-8", where=f"sentence {number}", do="Give text in UTF-8.")
        # An argument is a line, whatever is in it.
        yield [" ".join(text.split("\n")) for text in texts]
    elif input_path is not None and str(input_path) != "-":
        with _opened(input_path) as stream:
            yield from stream_lines(stream, str(input_path))
    else:
        yield from stream_lines(sys.stdin.buffer, "stdin")


def _opened(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as error:
        raise UserError(
            ExitCode.DATA, f"cannot read: {error.strerror}", where=str(path), do="Give a file of text."
        ) from error


def _formatted(translation: "Translation", output_format: Format) -> str:
    if output_format is Format.text:
        return translation.tgt
    best = translation.nbest[0]
    nbest = [{"tgt": candidate.tgt, "score": candidate.score} for candidate in translation.nbest]
    record = {"src": translation.src, "tgt": best.tgt, "score": best.score, "nbest": nbest}
    return json.dumps(record, ensure_ascii=False)
