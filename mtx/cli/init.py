"""`mtx init`."""

import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mtx.cli.options import DeviceOption
from mtx.cli.reporting import reported
from mtx.cli.streams import STANDARD, path_text, print_line
from mtx.config.settings import LANGUAGE_PATTERN
from mtx.errors import ExitCode, UserError, printable

if TYPE_CHECKING:
    from mtx.config.settings import Source

SEVERAL_WORDS = ("--train", "--dev", "--test")
"""Options that take all words up to the next one."""

BETWEEN = "\0"
"""Stands between the words of such an option; no argument of a process can hold it."""


def join_words(arguments: list[str]) -> list[str]:
    """The words of an option of `mtx init` that takes several, joined to one, which is all that the parser takes."""
    if arguments[:1] != ["init"]:
        return arguments
    joined: list[list[str]] = []
    is_inside = False
    for argument in arguments:
        name, equals, word = argument.partition("=")
        if name in SEVERAL_WORDS:
            joined.append([f"{name}=", *([word] if equals else [])])
            is_inside = True
        elif is_inside and not argument.startswith("-"):
            joined[-1].append(argument)
        else:
            joined.append([argument])
            is_inside = False
    return [first + BETWEEN.join(words) for first, *words in joined]


@reported
def init(
    train: Annotated[
        list[str],
        typer.Option(
            "--train", metavar="SRC TGT …", help="Training data: two files, or .tsv, .tmx, .zip, folder, hub id."
        ),
    ],
    dev: Annotated[list[str] | None, typer.Option("--dev", metavar="SRC TGT", help="Default: split off.")] = None,
    test: Annotated[list[str] | None, typer.Option("--test", metavar="SRC TGT", help="Default: split off.")] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Config to write; default: SRC-TGT.yaml.", readable=False)
    ] = None,
    src_lang: Annotated[str | None, typer.Option("--src-lang", help="Code of the source language.")] = None,
    tgt_lang: Annotated[str | None, typer.Option("--tgt-lang", help="Code of the target language.")] = None,
    device: DeviceOption = "auto",
) -> None:
    """Look at parallel text and write a config that suits it, with the reason for each value; prints its path.

    Where no dev or test set is given, one is split off: up to 2,000 pairs, at most one of 20, which training then
    never sees. Languages are those of the files' names, such as train.en and train.de.

    \b
    mtx init --train train.en train.de --output my.yaml
    mtx init --train news.en.gz news.de.gz --train memory.tmx --dev dev.en dev.de
    mtx init --train owner/name --src-lang en --tgt-lang fr
    """
    from mtx.config.settings import DataSettings
    from mtx.data.sources.guess import languages_of, sources_of

    if output == STANDARD:
        raise UserError(ExitCode.USAGE, "--output needs a file", where="command line", do="Give its name.")
    for language in (src_lang, tgt_lang):
        if language is not None and not re.fullmatch(LANGUAGE_PATTERN, language):
            raise UserError(ExitCode.USAGE, f"{language} is no code of a language", do="Give one such as en or pt_BR.")
    sources = [source for words in train for source in sources_of(_words(words, "train"), "train")]
    src, tgt = languages_of(sources, src_lang, tgt_lang)
    data = DataSettings(
        src_lang=src, tgt_lang=tgt, train=tuple(sources), dev=_one_source(dev, "dev"), test=_one_source(test, "test")
    )

    from mtx.init.write_config import Wish, propose
    from mtx.system.logs import log_to_stderr

    log_to_stderr()
    path = propose(Wish(data, output or Path(f"{src}-{tgt}.yaml"), device, ["mtx", *sys.argv[1:]]))
    name = printable(shlex.quote(str(path)))
    print(f"next: mtx train --config {name}    or first: mtx data check --config {name}", file=sys.stderr)
    print_line(path_text(path))


def _one_source(joined: Sequence[str] | None, role: str) -> "Source | None":
    """The source of an option that takes one.

    Raises:
        UserError: it names several, or none (USAGE).
    """
    from mtx.data.sources.guess import sources_of

    if joined is None:
        return None
    found = sources_of([word for words in joined for word in _words(words, role)], role)
    if len(found) > 1:
        raise UserError(ExitCode.USAGE, f"--{role} takes one source", do="Give the others to --train.")
    return found[0]


def _words(joined: str, role: str) -> Sequence[str]:
    """The words of one option.

    Raises:
        UserError: there are none (USAGE).
    """
    words = [word for word in joined.split(BETWEEN) if word]
    if not words:
        raise UserError(ExitCode.USAGE, f"--{role} names no data", do=f"Give two files: --{role} SRC TGT.")
    return words
