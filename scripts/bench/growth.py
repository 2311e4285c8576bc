"""Growth of time and memory with sentence length, batch, vocabulary and beam, beside that of the arithmetic.

    python -m scripts.bench.growth --plot growth.png > growth.md

Measures mtx's own training step and `Translator` on random weights of the default sizes and random ids, each point in a
fresh process. Growth is the exponent g between neighbouring points: doubling x multiplies the time by 2^g. Tables go to
stdout, progress to stderr.
"""

import argparse
import json
import math
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from scripts.bench.contest import ROOT, markdown_table, say
from scripts.bench.measurement import Point, measure

AXES: dict[str, dict[int, list[Point]]] = {
    "tokens in a sentence": {
        n: [Point("train", 8, n, 8000), Point("translate", 4, n, 8000, 5)] for n in (16, 32, 64, 128, 256, 512)
    },
    "tokens in a batch": {n: [Point("train", n // 32, 32, 8000)] for n in (1024, 2048, 4096, 8192, 16384)},
    "vocabulary": {
        n: [Point("train", 64, 32, n), Point("translate", 8, 32, n, 5)] for n in (8000, 16000, 32000, 64000)
    },
    "beam": {n: [Point("translate", 8, 32, 8000, n)] for n in (1, 2, 5, 10, 20)},
}
"""Points to measure, by the quantity that grows and its values."""

Measured = dict[str, Any]


def main() -> None:
    """Measure all points, print a table per axis and job, and draw the plot."""
    options = parse()
    if options.point:
        print(json.dumps(measure(Point(**json.loads(options.point)), options.precision, options.repeats)))
        return
    print(f"{options.precision}, {options.threads} threads; best of up to {options.repeats} runs\n")
    curves: dict[str, dict[str, dict[int, Measured]]] = {}
    for axis in options.only:
        curves[axis] = {}
        for value, points in AXES[axis].items():
            for point in points:
                measured = {**measure_apart(point, options), "flops": point.flops}
                curves[axis].setdefault(point.job, {})[value] = measured
                say(f"{axis} {value}, {point.job}: {measured['seconds']:.3f} s")
        for job, curve in curves[axis].items():
            print(table(axis, job, curve), end="\n\n")
    if options.plot:
        draw(curves, options.plot)


def parse() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", default=list(AXES), choices=list(AXES), help="quantities to vary")
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3, help="runs per point; the best counts")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="write a plot")
    parser.add_argument("--point", help=argparse.SUPPRESS)  # used by the fresh processes
    return parser.parse_args()


def measure_apart(point: Point, options: argparse.Namespace) -> Measured:
    """Run `measure` in a fresh process."""
    arguments = ["--point", json.dumps(asdict(point)), "--precision", options.precision]
    done = subprocess.run(
        [sys.executable, "-m", "scripts.bench.growth", *arguments, "--repeats", str(options.repeats)],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": str(options.threads)},
        stdout=subprocess.PIPE,
        check=True,
    )
    measured: Measured = json.loads(done.stdout)
    return measured


def exponent(curve: Mapping[int, Measured], what: str, before: int, after: int) -> float:
    """Compute the exponent g with which `what` grows between two values: what ~ value^g."""
    return math.log(curve[after][what] / curve[before][what]) / math.log(after / before)


def table(axis: str, job: str, curve: Mapping[int, Measured]) -> str:
    """Format time, memory and FLOPs at each value, their growth since the previous one, and over all."""
    values = list(curve)
    before = dict(zip(values[1:], values, strict=False))
    rows = []
    for value, point in curve.items():

        def growth(what: str, value: int = value) -> str:
            return f"{exponent(curve, what, before[value], value):.2f}" if value in before else ""

        rows.append(
            {
                f"{job}: {axis}": f"{value:,}",
                "seconds": f"{point['seconds']:.3f}",
                "growth": growth("seconds"),
                "by arithmetic": growth("flops"),
                "GFLOP/s": f"{point['flops'] / point['seconds'] / 1e9:.0f}",
                "peak MiB": f"{point['mib']:,}",
                "beyond import": f"{point['mib_beyond_import']:,}",
                "its growth": growth("mib_beyond_import"),
            }
        )
    whole = {what: f"{exponent(curve, what, values[0], values[-1]):.2f}" for what in curve[values[0]]}
    last = ["all", "", whole["seconds"], whole["flops"], "", "", "", whole["mib_beyond_import"]]
    return markdown_table([*rows, dict(zip(rows[0], last, strict=True))])


def draw(curves: Mapping[str, Mapping[str, Mapping[int, Measured]]], path: Path) -> None:
    """Plot time (above) and memory (below) for each axis; dashed lines extrapolate the first time by FLOPs."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    from matplotlib.ticker import LogLocator

    figure, grid = plt.subplots(2, len(curves), figsize=(3.2 * len(curves), 5.6), squeeze=False, sharex="col")
    for (upper, lower), (axis, jobs) in zip(grid.T, curves.items(), strict=True):
        for (job, curve), color in zip(jobs.items(), ("tab:blue", "tab:orange"), strict=False):
            values, points = list(curve), list(curve.values())
            scale = points[0]["seconds"] / points[0]["flops"]
            upper.loglog(values, [point["seconds"] for point in points], "o-", color=color, label=job)
            upper.loglog(values, [point["flops"] * scale for point in points], "--", color=color)
            lower.loglog(values, [point["mib_beyond_import"] for point in points], "o-", color=color)
        upper.set(title=axis, ylabel="seconds (dashed: arithmetic)")
        upper.legend(fontsize="small")
        lower.set(
            xlabel=axis, ylabel="MiB beyond import", xticks=values, xticklabels=[f"{value:,}" for value in values]
        )
        lower.tick_params(axis="x", labelrotation=45)
        for panel in (upper, lower):
            panel.minorticks_off()
            panel.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            panel.yaxis.set_major_formatter("{x:g}")
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    plt.close(figure)


if __name__ == "__main__":
    main()
