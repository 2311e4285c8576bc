"""`mtx data`: check parallel data, and write a cleaned copy."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO

import typer

from mtx.cli.reporting import command_line_error, handle_errors
from mtx.cli.streams import STANDARD, path_text, print_line, refuse_overwriting
from mtx.errors import ExitCode, UserError, machine_error
from mtx.files.atomic import make_folder, new_file

if TYPE_CHECKING:
    from mtx.config.settings import Config

data_app = typer.Typer(help="Check parallel data before training, and clean it.", no_args_is_help=True)

ConfigOption = Annotated[
    Path | None, typer.Option("--config", "-c", help="YAML file; default: the built-in demo.", readable=False)
]
Overrides = Annotated[
    list[str] | None, typer.Argument(metavar="KEY=VALUE", help="Settings such as data.train=[{tmx: a.tmx}].")
]


@data_app.command("check")
@handle_errors
def check(
    overrides: Overrides = None,
    config: ConfigOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    html: Annotated[
        Path | None, typer.Option("--html", help="Also write an HTML page with plots.", readable=False)
    ] = None,
) -> None:
    """Report on the data of a config: pairs dropped by each rule, misaligned blocks, overlap of train, dev and test.

    Exits with code 1 if there are problems that should be fixed before training.

    \b
    mtx data check --config my.yaml --html report.html
    mtx data check 'data.train=[{tmx: memory.tmx}]' data.src_lang=en data.tgt_lang=fr
    """
    from mtx.config.load import load_config
    from mtx.data.check.diagnose import diagnose
    from mtx.data.check.page import to_html
    from mtx.data.check.report import to_json, to_text

    settings = load_config(config, overrides or [])
    with ExitStack() as stack:
        page = None
        if html is not None:
            _refuse_as_page(html, config, settings)
            page = stack.enter_context(new_file(html))  # before the work, so that an error is reported at once
        diagnosis = diagnose(settings)
        if page is not None:
            page.write(to_html(diagnosis).encode())
    print_line(to_json(diagnosis) if as_json else to_text(diagnosis))
    if diagnosis.problems:
        what = f"{len(diagnosis.problems)} problems" if len(diagnosis.problems) > 1 else diagnosis.problems[0]
        raise UserError(ExitCode.CHECK_FAILED, what, where="mtx data check", do="Fix the data, or remove it.")


@data_app.command("clean")
@handle_errors
def clean(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to create.", readable=False)],
    overrides: Overrides = None,
    config: ConfigOption = None,
) -> None:
    """Write the training pairs that the cleaning rules keep, and the dropped ones with the reason.

    Creates train.SRC, train.TGT and dropped.jsonl in the folder; if anything fails, none of them.

    \b
    mtx data clean --config my.yaml clean.level=strict --output cleaned
    """
    from mtx.config.load import load_config
    from mtx.data.cleaning.export import export_cleaned

    settings = load_config(config, overrides or [])
    names: list[str] = []
    with _new_files(output, names) as new:
        cleaned = export_cleaned(settings, new)
    print(f"mtx: {cleaned}", file=sys.stderr)
    for name in names:
        print_line(path_text(output / name))


def _refuse_as_page(html: Path, config: Path | None, settings: "Config") -> None:
    """Refuse to write the page to stdout or over a file that is read.

    Raises:
        UserError: (USAGE) it would be.
    """
    from mtx.data.sources.read import reader

    if html == STANDARD:
        raise command_line_error("--html needs a file name", "Give one.")
    data = settings.data
    sources = [source for source in (*data.train, data.dev, data.test) if source is not None]
    files = [path for source in sources for path in reader(source).files()]
    refuse_overwriting(html, [*filter(None, [config]), *files])


@contextmanager
def _new_files(folder: Path, names: list[str]) -> Iterator[Callable[[str], BinaryIO]]:
    """Yield a function that opens a file in the new `folder` and appends its name to `names`.

    The files appear when the block ends without an exception.

    Raises:
        UserError: the folder is not empty (RUN_FOLDER), or cannot be written (MACHINE).
    """
    missing = [path for path in (folder, *folder.parents) if not os.path.lexists(path)]
    try:
        if folder.is_symlink() or folder.exists():
            if not folder.is_dir() or any(folder.iterdir()):
                what = "the folder is not empty" if folder.is_dir() else "not a folder"
                raise UserError(ExitCode.RUN_FOLDER, what, where=str(folder), do="Give another --output.")
        else:
            make_folder(folder)
        with ExitStack() as stack:

            def new(name: str) -> BinaryIO:
                file = stack.enter_context(new_file(folder / name))
                names.append(name)
                return file

            yield new
    except BaseException as error:
        with suppress(OSError):  # a folder is not empty if another process has put something there
            for made in missing:
                made.rmdir()
        if isinstance(error, OSError) and not isinstance(error, BrokenPipeError):
            raise machine_error(error, "cannot write", folder) from error
        raise
