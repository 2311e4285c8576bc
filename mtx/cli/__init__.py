"""The command line: commands parse, call one function and print. torch is imported inside commands only."""

import sys

import typer

from mtx import __version__
from mtx.cli.config import config_app
from mtx.cli.data import data_app
from mtx.cli.evaluate import evaluate
from mtx.cli.init import init
from mtx.cli.reporting import report_usage
from mtx.cli.streams import open_standard_streams, print_line
from mtx.cli.tokenizer import tokenizer_app
from mtx.cli.train import train
from mtx.cli.translate import mark_text, translate

app = typer.Typer(
    help="Train your own translator from parallel text, and use it.\n\n"
    "\b\n"
    "mtx init my.en my.de                       looks at your text, writes a config for it\n"
    "mtx train --config my.yaml                 two files of text in, a model folder out\n"
    'mtx translate "Two dogs play."             with the newest model under ./runs\n'
    "mtx evaluate                               that model on its test set: BLEU and chrF2\n",
    epilog="Exit codes: 0 done, 1 the answer is no, 2 usage or config, 3 data, 4 model, 5 machine, 6 diverged, "
    "7 run folder in use, 70 a bug, 130/143 stopped with the state saved, 141 reader gone.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
app.command()(init)
app.command()(train)
app.command()(translate)
app.command()(evaluate)
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
    with report_usage():
        sys.exit(app(mark_text(sys.argv[1:]), prog_name="mtx", standalone_mode=False))
