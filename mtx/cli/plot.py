"""`mtx plot`: the training curves of runs, as a page or a picture."""

from pathlib import Path
from typing import Annotated

import typer

from mtx.cli.options import RUNS, path_option, to_path
from mtx.cli.reporting import command_line_error
from mtx.cli.streams import path_text, print_line, refuse_overwriting
from mtx.files.atomic import new_file


def plot(
    runs: Annotated[
        list[Path] | None, typer.Argument(metavar="RUN", help="Run folders; default: newest in ./runs.", parser=to_path)
    ] = None,
    output: Annotated[Path, path_option("File to write, .html (a page) or .png (a picture).", "--output", "-o")] = Path(
        "curves.html"
    ),
) -> None:
    """Plot the training curves of runs beside one another: loss, dev scores, learning rate, gradient norm, speed.

    The numbers are those of metrics.jsonl; a run that is still training has curves, too. Prints the path of the file.

    \b
    mtx plot                                  the newest run as a page, curves.html
    mtx plot runs/a runs/b --output ab.png    two runs as one picture
    """
    suffix = output.suffix.lower()
    if suffix not in (".html", ".png"):
        raise command_line_error(f"--output {output} ends neither in .html nor in .png", "Give such a name.")
    from mtx.train.charts import draw_picture
    from mtx.train.curves import to_html
    from mtx.train.records import read_runs

    read = read_runs(runs or (), RUNS)
    refuse_overwriting(output, [])
    data = draw_picture(read) if suffix == ".png" else to_html(read).encode()
    with new_file(output) as file:
        file.write(data)
    print_line(path_text(output))
