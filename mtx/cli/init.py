"""`mtx init`."""

import os
import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from mtx.cli.options import DeviceOption, path_option
from mtx.cli.reporting import command_line_error
from mtx.cli.streams import STANDARD, path_text, print_line, warn
from mtx.errors import ExitCode, UserError, escape_controls

SOURCES_HELP = "Pairs of text files, files of other kinds (mtx config show --doc data lists them), folders, Hub ids."


def held_out_option(name: str) -> Any:
    """Describe the option for dev or test sets."""
    what = f"{name} set; repeat the option for the second file and for more sets. Default: split off the training data."
    return typer.Option(metavar="FILE", help=what, parser=os.path.expanduser)


def init(
    sources: Annotated[list[str], typer.Argument(metavar="SOURCE", help=SOURCES_HELP, parser=os.path.expanduser)],
    dev: Annotated[list[str] | None, held_out_option("Dev")] = None,
    test: Annotated[list[str] | None, held_out_option("Test")] = None,
    output: Annotated[Path | None, path_option("Config to write; default: SRC-TGT.yaml.", "--output", "-o")] = None,
    src_lang: Annotated[str | None, typer.Option(help="Source language code.")] = None,
    tgt_lang: Annotated[str | None, typer.Option(help="Target language code.")] = None,
    columns: Annotated[
        str | None, typer.Option(metavar="SRC,TGT", help="Columns of TSV and CSV files, by number or name.")
    ] = None,
    device: DeviceOption = "auto",
    train: Annotated[bool, typer.Option("--train", hidden=True)] = False,
) -> None:
    """Look at parallel text and write a config that suits it, with a reason beside each value. Prints its path.

    Text files that differ only in a language suffix, such as train.en and train.de, form a pair and name the
    languages. The columns of a table are chosen by their content. If no dev or test set is given, one is split off:
    5 % of the pairs, at most 2,000. Training never sees them.

    \b
    mtx init train.en train.de --output my.yaml
    mtx init news.en.gz news.de.gz memory.tmx --dev dev.en --dev dev.de
    mtx init owner/name --src-lang en --tgt-lang fr
    """
    from mtx.config.settings import DataSettings
    from mtx.data.sources.guess import languages_of, sources_of
    from mtx.text.languages import is_language_code, nearest_code

    if train:
        raise command_line_error("there is no --train", "Give the sources as arguments: mtx init SRC TGT.")
    if output == STANDARD:
        raise command_line_error("--output needs a file name", "Give one.")
    for language in (src_lang, tgt_lang):
        if language is not None and not is_language_code(language):
            near, do = nearest_code(language), "Give one such as en or pt_BR, or x-NAME for a language without one."
            do = do if near == language else f"Did you mean {near}?"
            raise UserError(ExitCode.USAGE, f"{language} is not a language code", do=do)
    given = columns.split(",") if columns is not None else []
    if columns is not None and (len(given) != 2 or len({*map(str.strip, given)}) != 2):
        raise command_line_error(f"--columns {columns} does not name two columns", "Give two, such as --columns 2,4.")

    found = sources_of(sources, "train")
    sets = [sources_of(files or [], role) for role, files in (("dev", dev), ("test", test))]

    from mtx.init.columns import choose_columns
    from mtx.judge.languages import language_notes
    from mtx.system.logs import log_to_stderr

    log_to_stderr()
    found, src_lang, tgt_lang = choose_columns(found, src_lang, tgt_lang, given)
    src, tgt = languages_of(found, src_lang, tgt_lang)
    dev_sets, test_sets = (tuple(choose_columns(each, src, tgt, given)[0]) for each in sets)
    data = DataSettings(src_lang=src, tgt_lang=tgt, train=tuple(found), dev=dev_sets, test=test_sets)

    from mtx.init.write_config import write_config

    warn(*language_notes(*data.all_languages))
    path = output or Path(f"{src}-{tgt}.yaml")
    warn(*write_config(data, path, device, ["mtx", *sys.argv[1:]]))
    name = escape_controls(shlex.quote(str(path)))
    print(f"next: mtx train --config {name}    or first: mtx data check --config {name}", file=sys.stderr)
    print_line(path_text(path))
