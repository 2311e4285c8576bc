"""`mtx data`: what is in the data, and the data without what the rules drop."""

from pathlib import Path
from typing import Annotated

import typer

from mtx.checkpoint.files import new_file
from mtx.cli.reporting import reported
from mtx.cli.streams import path_text, print_line
from mtx.errors import ExitCode, UserError

data_app = typer.Typer(help="Look at parallel data before training on it, and clean it.", no_args_is_help=True)

ConfigOption = Annotated[
    Path | None, typer.Option("--config", "-c", help="YAML file; default: the embedded demo.", readable=False)
]
Overrides = Annotated[
    list[str] | None, typer.Argument(metavar="KEY=VALUE", help="Settings, such as data.train=[{tmx: a.tmx}].")
]


@data_app.command("check")
@reported
def check(
    overrides: Overrides = None,
    config: ConfigOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    html: Annotated[Path | None, typer.Option("--html", help="Write a page with plots, too.", readable=False)] = None,
) -> None:
    """Say what is in the data of a config: what each rule drops, misaligned blocks, overlap of train, dev and test.

    Ends with code 1 if something should stop a training.

    \b
    mtx data check --config my.yaml --html report.html
    mtx data check 'data.train=[{tmx: memory.tmx}]' data.src_lang=en data.tgt_lang=fr
    """
    from mtx.config.reading import load_config
    from mtx.data.doctor import diagnose
    from mtx.data.report import to_html, to_json, to_text

    diagnosis = diagnose(load_config(config, overrides or []))
    if html is not None:
        with new_file(html) as file:
            file.write(to_html(diagnosis).encode())
    print_line(to_json(diagnosis) if as_json else to_text(diagnosis))
    if diagnosis.problems:
        what = f"{len(diagnosis.problems)} problems" if len(diagnosis.problems) > 1 else diagnosis.problems[0]
        raise UserError(ExitCode.ANSWER_IS_NO, what, where="mtx data check", do="Mend the data, or leave it out.")


@data_app.command("clean")
@reported
def clean(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to make for the files.", readable=False)],
    overrides: Overrides = None,
    config: ConfigOption = None,
) -> None:
    """Write the training pairs that the rules keep, and those that they drop with the reason.

    \b
    mtx data clean --config my.yaml clean.level=strict --output cleaned
    """
    from mtx.config.reading import load_config
    from mtx.data.cleaned import write_cleaned

    for path in write_cleaned(load_config(config, overrides or []), output):
        print_line(path_text(path))
