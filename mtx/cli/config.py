"""`mtx config`: explain settings and check config files."""

from pathlib import Path
from typing import Annotated

import typer

from mtx.cli.options import path_argument
from mtx.cli.streams import path_text, print_line, warn
from mtx.errors import UserError

config_app = typer.Typer(help="Explain settings and check config files.")


@config_app.command("show")
def show_command(
    doc: Annotated[str | None, typer.Option("--doc", help="Key or section to explain, such as train.lr.")] = None,
) -> None:
    """Explain every setting: type, default and description."""
    from mtx.config.explain import describe

    print_line(describe(doc))


@config_app.command("validate")
def validate_command(files: Annotated[list[Path], path_argument("Config files.")]) -> None:
    """Check config files without reading any data."""
    from mtx.config.advice import advise
    from mtx.config.load import load_config
    from mtx.judge.languages import language_notes

    problems = []
    for file in files:
        try:
            config = load_config(file, [])
        except UserError as error:
            problems.append(error)
        else:
            print_line(f"{path_text(file)}: ok")
            warn(*advise(config), *language_notes(*config.data.all_languages))
    if problems:
        raise UserError.several(problems)


@config_app.command("schema")
def schema_command() -> None:
    """Print the JSON Schema of config files, for editors."""
    from mtx.config.explain import json_schema

    print_line(json_schema())
