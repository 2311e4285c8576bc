"""`mtx config`: settings explained and checked."""

from pathlib import Path
from typing import Annotated

import typer

from mtx.cli.reporting import reported
from mtx.cli.streams import path_text, print_line
from mtx.errors import UserError

config_app = typer.Typer(help="Explain and check settings.", no_args_is_help=True)


@config_app.command("show")
@reported
def show_command(
    doc: Annotated[str | None, typer.Option("--doc", help="One key or section, such as train.lr.")] = None,
) -> None:
    """Every setting with its meaning, type and default."""
    from mtx.config.explain import describe

    print_line(describe(doc))


@config_app.command("validate")
@reported
def validate_command(
    files: Annotated[list[Path], typer.Argument(help="Config files.", readable=False)],
) -> None:
    """Check config files without running them."""
    from mtx.config.load import load_config

    problems = []
    for file in files:
        try:
            load_config(file, [])
        except UserError as error:
            problems.append(error)
        else:
            print_line(f"{path_text(file)}: ok")
    if problems:
        raise UserError.several(problems)


@config_app.command("schema")
@reported
def schema_command() -> None:
    """The JSON Schema of config files, for editors."""
    from mtx.config.explain import json_schema

    print_line(json_schema())
