"""`mtx data`: check parallel data, and write a cleaned copy."""

import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Annotated, BinaryIO

import typer

from mtx.cli.options import ConfigOption, Overrides, path_option
from mtx.cli.reporting import command_line_error
from mtx.cli.streams import STANDARD, new_text_file, path_text, print_line, refuse_overwriting, warn
from mtx.errors import ExitCode, UserError
from mtx.files.atomic import make_folder, new_file

data_app = typer.Typer(help="Check parallel data before training, and clean it.")


@data_app.command("check")
def check(
    overrides: Overrides = None,
    config: ConfigOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    html: Annotated[Path | None, path_option("Also write an HTML page with plots.")] = None,
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
    from mtx.data.sources.read import reader
    from mtx.judge.languages import language_notes

    settings = load_config(config, overrides or [])
    warn(*language_notes(*settings.data.all_languages))
    if html == STANDARD:
        raise command_line_error("--html needs a file name", "Give one.")
    if html is not None:
        sources = [*settings.data.train, *settings.data.held_out]
        files = [path for source in sources for path in reader(source).files()]
        refuse_overwriting(html, [*filter(None, [config]), *files])
    # The page is opened before the work, so that an error is reported at once.
    with new_text_file(html) if html is not None else nullcontext() as page:
        diagnosis = diagnose(settings)
        if page is not None:
            page.write(to_html(diagnosis).encode())
    print_line(to_json(diagnosis) if as_json else to_text(diagnosis))
    if diagnosis.problems:
        what = f"{len(diagnosis.problems)} problems" if len(diagnosis.problems) > 1 else diagnosis.problems[0]
        raise UserError(ExitCode.CHECK_FAILED, what, where="mtx data check", do="Fix the data, or remove it.")


@data_app.command("clean")
def clean(
    output: Annotated[Path, path_option("Folder to create.", "--output", "-o")],
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
    with _new_folder(output), ExitStack() as files:

        def new(name: str) -> BinaryIO:
            names.append(name)
            return files.enter_context(new_file(output / name))

        cleaned = export_cleaned(settings, new)
    print(f"mtx: {cleaned}", file=sys.stderr)
    for name in names:
        print_line(path_text(output / name))


@contextmanager
def _new_folder(folder: Path) -> Iterator[None]:
    """Create `folder`, unless it exists and is empty; if the block fails, remove what was created.

    Raises:
        UserError: it is not empty, or not a folder (RUN_FOLDER).
        OSError: it can't be created.
    """
    if os.path.lexists(folder) and (not folder.is_dir() or any(folder.iterdir())):
        what = "the folder is not empty" if folder.is_dir() else "not a folder"
        raise UserError(ExitCode.RUN_FOLDER, what, where=str(folder), do="Give another --output.")
    missing = [path for path in (folder, *folder.parents) if not os.path.lexists(path)]
    try:
        make_folder(folder)
        yield
    except BaseException:
        with suppress(OSError):  # a folder is not empty if another process has put something there
            for path in missing:
                path.rmdir()
        raise
