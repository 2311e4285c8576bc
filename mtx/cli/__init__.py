"""The command line. Each command parses, calls one function and prints; heavy libraries are imported inside it."""

import sys
from contextlib import suppress

import typer

from mtx import __version__
from mtx.cli.config import config_app
from mtx.cli.data import data_app
from mtx.cli.evaluate import evaluate
from mtx.cli.init import init
from mtx.cli.plot import plot
from mtx.cli.reporting import handle_errors
from mtx.cli.score import score
from mtx.cli.streams import open_standard_streams, print_line
from mtx.cli.tokenizer import tokenizer_app
from mtx.cli.train import train
from mtx.cli.translate import mark_text, translate
from mtx.errors import ExitCode

app = typer.Typer(
    help="Train your own translator from parallel text, and use it.\n\n"
    "\b\n"
    "mtx init my.en my.de                       looks at your text, writes a config for it\n"
    "mtx train --config my.yaml                 trains on your text and writes a model folder\n"
    'mtx translate "Two dogs play."             translates with the newest model in ./runs\n'
    "mtx evaluate                               scores that model on its test set (BLEU, chrF2)\n"
    "mtx score --src in.txt --tgt out.txt       how probable it finds given translations\n"
    "mtx plot                                   draws the training curves of the newest run\n",
    epilog="Exit codes: 0 success, 1 check failed (score below --min, or data problems), 2 command line or config, "
    "3 data, 4 model, 5 machine (disk, memory, device), 6 training diverged, 7 run folder in use, 8 lost another "
    "process of the training, 70 bug, 130 and 143 stopped by a signal (state saved), 141 output pipe closed.",
    add_completion=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
app.command()(init)
app.command()(train)
app.command()(translate)
app.command()(evaluate)
app.command()(score)
app.command()(plot)
app.add_typer(tokenizer_app, name="tokenizer")
app.add_typer(config_app, name="config")
app.add_typer(data_app, name="data")


def _print_version(is_wanted: bool) -> None:
    if is_wanted:
        print_line(f"mtx {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: bool = typer.Option(False, "--version", callback=_print_version, is_eager=True, help="Print the version."),
) -> None:
    pass


def main() -> None:
    """Run the command line of this process and exit with its code."""
    open_standard_streams()
    with handle_errors():
        command = typer.main.get_command(app)  # its own main() would turn interrupts and closed pipes into other errors
        with suppress(typer.Exit), command.make_context("mtx", mark_text(sys.argv[1:])) as context:
            command.invoke(context)
    sys.exit(ExitCode.DONE)
