"""`mtx translate`: translate sentences, a file or stdin."""

import json
import os
import re
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from itertools import groupby, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

import typer

from mtx.cli.options import (
    DeviceOption,
    ModelsOption,
    PrecisionOption,
    flag_of,
    load_translator,
    path_option,
    warn_of_missing_tag,
    with_decode_flags,
)
from mtx.cli.reporting import command_line_error
from mtx.cli.streams import input_lines, input_name, line_writer, refuse_overwriting
from mtx.config.messages import shorten
from mtx.data.sources.text import Repair, decode_line, is_utf8
from mtx.errors import ExitCode, UserError, escape_controls

if TYPE_CHECKING:
    from mtx.decode.lines import Translation
    from mtx.decode.translator import Translator


TEXT_MARK = "\0"  # Hides the dash of a sentence from the option parser; no argument of a process can contain it
TEXT = re.compile("-[^=]* ")
OPTION = re.compile("-[^-]|--(?!(?:(?:no-)?copy-unlettered|sample)$)[^= ]+")  # Its value is the next argument
MAX_SHOWN = 20  # Undecodable lines that are listed


@with_decode_flags()
def translate(
    given: dict[str, Any],
    sentences: Annotated[list[str] | None, typer.Argument(help="Default: the lines of --input or stdin.")] = None,
    model: ModelsOption = None,
    input_path: Annotated[Path | None, path_option("File with a sentence a line; - is stdin.", "--input", "-i")] = None,
    output: Annotated[Path | None, path_option("File to write; default: stdout.", "--output", "-o")] = None,
    output_format: Annotated[
        Literal["text", "jsonl"], typer.Option("--format", help="Plain text, or JSON with scores.")
    ] = "text",
    input_format: Annotated[
        Literal["text", "jsonl"],
        typer.Option(help='Plain text, or JSON with "src" and, where wanted, "prefix" and "tag" of the line.'),
    ] = "text",
    on_too_long: Annotated[
        Literal["split", "error", "truncate"],
        typer.Option(help="Sentences longer than any training line: split into parts, exit with code 3, or cut off."),
    ] = "split",
    errors: Annotated[
        Literal["stop", "replace", "keep"],
        typer.Option(
            help="Lines that are not UTF-8: stop (code 3), replace bad bytes, or leave empty, with code 3 at the end."
        ),
    ] = "stop",
    precision: PrecisionOption = "fp32",
    device: DeviceOption = "auto",
) -> None:
    """Translate sentences. Each input line gives one output line, in order, as soon as it is ready.

    \b
    mtx translate "Two dogs play."             with the newest model in ./runs
    mtx translate -m runs/my -i in.txt -o out.txt
    cat in.txt | mtx translate --format jsonl --n-best 3
    echo '{"src": "Two dogs play.", "prefix": "Zwei H"}' | mtx translate --input-format jsonl
    """
    for name in ("n_best", "samples"):
        if given.get(name, 1) > 1 and output_format == "text":
            raise command_line_error(f"{flag_of(name)} above 1 needs --format jsonl", "Add --format jsonl.")
    if sentences and input_path is not None:
        raise command_line_error("both sentences and --input given", "Give one of them.")
    refuse_overwriting(output, [] if sentences else [input_path])
    if "prefix" in given:
        given["prefix"] = decode_line(os.fsencode(given["prefix"]), "--prefix")
    unread = _UnreadLines()
    repairs: dict[str, Repair] = {"replace": lambda line, _: line.decode("utf-8", "replace"), "keep": unread.note}
    repair = repairs.get(errors)
    groups = _given_sentences(sentences, repair) if sentences else input_lines(input_path, repair)
    with line_writer(output) as write_line:
        given |= {"with_scores": output_format == "jsonl", "splits_long": on_too_long == "split"}
        translator = load_translator(model, given, precision, device)
        warn_of_missing_tag(translator.trained, translator.options.tag)
        name = "sentence" if sentences else f"{input_name(input_path)} line"
        if input_format == "jsonl":
            translations = _translate_records(translator, groups, name)
        else:
            translations = (translation for group in groups for translation in translator.translate(group))
        for translation in _checked(translations, name, is_error=on_too_long == "error"):
            write_line(translation.tgt if output_format == "text" else _to_json(translation))
    unread.report()


def mark_text(arguments: list[str]) -> list[str]:
    """Mark sentences of `mtx translate` that begin with a dash and contain a space, such as a line of dialogue."""
    if arguments[:1] != ["translate"]:
        return arguments
    return [
        TEXT_MARK + argument if TEXT.match(argument) and not OPTION.fullmatch(before) else argument
        for before, argument in pairwise(["", *arguments])
    ]


class _Record(NamedTuple):
    """A line of JSON: text to translate, and options of its own."""

    src: str
    prefix: str | None = None
    tag: str | None = None


def _translate_records(translator: "Translator", groups: Iterator[list[str]], name: str) -> "Iterator[Translation]":
    """Translate lines of JSON; `name` is what lines are called.

    Raises:
        UserError: (DATA) a line is no record, or has an impossible prefix. The translations before it are passed on.
    """
    number, tag_of_all, tags = 0, translator.options.tag, [*translator.trained.tokenizer.tags]
    for group in groups:
        records, error = [], None
        try:
            for number, line in enumerate(group, start=number + 1):  # noqa: B020
                record = _parse(line, tags, where := f"{name} {number}")
                if record.prefix:
                    translator.segmenter.prefix_of(record.prefix, where)
                records.append(record)
        except UserError as caught:
            error = caught
        for tag, same_tag in groupby(records, key=lambda record: record.tag or tag_of_all):
            lines, prefixes, _ = zip(*same_tag, strict=True)
            if tag != translator.options.tag:
                translator.set_tag(tag)
            yield from translator.translate(lines, prefixes=prefixes)
        if error is not None:
            raise error


def _parse(line: str, tags: list[str], where: str) -> _Record:
    """The record in `line`, for a model with `tags`; a blank line is one without text."""
    what, do = "", 'Write {"src": "TEXT"}, {"src": "TEXT", "prefix": "TEXT"} or the like, one object a line.'
    try:
        fields = json.loads(line) if line.strip() else {"src": line}
    except (ValueError, RecursionError):
        raise UserError(ExitCode.DATA, "not JSON", where=where, do=do) from None
    if not isinstance(fields, dict) or not isinstance(fields.get("src"), str):
        what = 'not an object with text as "src"'
    elif unknown := next((key for key in fields if key not in _Record._fields), None):
        what = f'unknown key "{escape_controls(shorten(unknown))}"'
    elif odd := next((key for key, value in fields.items() if not isinstance(value, str | None)), None):
        what = f'"{odd}" is not text'
    elif odd := next((key for key, value in fields.items() if not is_utf8(value or "")), None):
        what, do = f'"{odd}" contains half a surrogate pair', "Write characters beyond U+FFFF as two \\u escapes."
    elif (tag := fields.get("tag")) is not None and tag not in tags:
        what = f'the model has no tag "{escape_controls(shorten(tag))}"'
        do = f"Give one of {', '.join(tags)}." if tags else "Leave it out."
    if what:
        raise UserError(ExitCode.DATA, what, where=where, do=do)
    return _Record(**{**fields, "src": " ".join(fields["src"].split("\n"))})


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


def _given_sentences(sentences: list[str], repair: Repair | None) -> Iterator[list[str]]:
    """Yield the arguments as one group of lines. Each is one line, even if it contains line ends."""
    # Back to the bytes that the caller gave, which Python has decoded by the locale.
    given = [os.fsencode(sentence.removeprefix(TEXT_MARK)) for sentence in sentences]
    texts = [decode_line(text, f"sentence {number}", repair=repair) for number, text in enumerate(given, start=1)]
    yield [" ".join(text.split("\n")) for text in texts]


def _checked(translations: Iterator["Translation"], name: str, *, is_error: bool) -> Iterator["Translation"]:
    """Pass on `translations`, warn of loops, and warn or fail for each line too long; `name` is what lines are called.

    Raises:
        UserError: (DATA) a line is too long and `is_error`. The translations before it are passed on.
    """
    number = num_truncated = num_loops = 0
    for number, translation in enumerate(translations, start=1):
        if translation.num_left_out:
            num_truncated += 1
            where, what = f"{name} {number}", f"{translation.num_left_out:,} tokens longer than any training sentence"
            if is_error:
                do = "Shorten it, or use --on-too-long split."
                raise UserError(ExitCode.DATA, what, where=where, do=do)
            print(f"mtx: warning: {what}, which were cut off ({escape_controls(where)})", file=sys.stderr)
        num_loops += translation.num_loops > 0
        yield translation
    if num_loops:
        what = "lines searched again because their translation repeated the same words or characters too often"
        print(f"mtx: warning: {what}: {num_loops:,} of {number:,}", file=sys.stderr)
    if num_truncated:
        print(f"mtx: warning: {num_truncated:,} lines were too long and were cut off", file=sys.stderr)


def _to_json(translation: "Translation") -> str:
    nbest = [{"tgt": candidate.tgt, "score": candidate.score} for candidate in translation.nbest]
    sentences = [asdict(sentence) for sentence in translation.sentences]
    return json.dumps({"src": translation.src, **nbest[0], "nbest": nbest, "sentences": sentences}, ensure_ascii=False)
