"""Training speed of mtx and its peers on the same job, in turns. Prints a Markdown table.

    scripts/bench/environments                    (once: installs the peers)
    python -m scripts.bench.train --config configs/multi30k_en_de_files.yaml

A turn is `--steps` optimizer steps; speed is target tokens per second, end symbols included and padding not. The peers
get the same ids that mtx trains on; hand-written loops get the same batches, too.
"""

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mtx.config.load import load_config
from scripts.bench.contest import (
    PEERS,
    ROOT,
    Contestant,
    Turn,
    alternate,
    markdown_table,
    rates,
    ratios,
    say,
    spread,
    started,
)
from scripts.bench.training_data import write_work

MATRIX_RATE = "matrix products"
WARM_UP_STEPS = 3


@dataclass(frozen=True, slots=True)
class Kind:
    """Trainer that can take part."""

    title: str
    python: str
    """Python that it is installed in: mtx, base or fairseq."""
    precisions: tuple[str, ...]
    note: str = ""


KINDS = {
    "mtx": Kind("mtx", "mtx", ("fp32", "bf16")),
    "fairseq": Kind("fairseq", "fairseq", ("fp32",), "plans its own batches; post-norm"),
    "marian": Kind("Marian (transformers)", "base", ("fp32", "bf16"), "post-norm"),
    "torch": Kind("nn.Transformer", "base", ("fp32", "bf16"), "post-norm; its dropout rates are set by attribute"),
}
"""Trainers by their names for `--only`."""


def main() -> None:
    """Run the contest and print its table."""
    options = parse_arguments(sys.argv[1:])
    config = load_config(options.config, options.overrides)
    with tempfile.TemporaryDirectory(prefix="bench-train-") as name:
        folder = Path(name)
        say("writing the data")
        flops_per_token = write_work(config, folder)
        with started(contestants(options, folder), folder) as field:
            alternate(field.workers, {"steps": WARM_UP_STEPS}, rounds=1)
            turns = alternate(field.workers, {"steps": options.steps}, options.rounds)
    print(f"{options.rounds} rounds of {options.steps} steps, {options.threads} threads, `{options.config}`\n")
    print(markdown_table(table_rows(turns, flops_per_token)))
    print("\n" + "\n".join([*notes(turns, flops_per_token), *field.left_out_lines()]))
    if options.json:
        about = {worker.name: worker.about for worker in field.workers}
        whole = {"flops_per_token": flops_per_token, "about": about, "turns": turns, "left_out": field.left_out}
        options.json.write_text(json.dumps(whole, indent=1) + "\n", encoding="utf-8")


def parse_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="settings that override the config")
    parser.add_argument("--config", type=Path, help="the job to train; default: the demo")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each contestant")
    parser.add_argument("--steps", type=int, default=20, help="optimizer steps per turn")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--precision", nargs="+", choices=("fp32", "bf16"), default=["fp32", "bf16"])
    parser.add_argument("--only", nargs="+", choices=tuple(KINDS), default=list(KINDS), metavar="NAME")
    parser.add_argument(
        "--python", nargs="+", default=[], metavar="NAME=PATH", help="another Python for base or fairseq"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all turns")
    return parser.parse_args(arguments)


def contestants(options: argparse.Namespace, folder: Path) -> list[Contestant]:
    """List the chosen trainers, and the measurement of the machine's matrix rate."""
    peers = ROOT / ".peers"
    pythons = {"mtx": sys.executable, **{name: str(peers / name / "bin" / "python") for name in ("base", "fairseq")}}
    pythons |= dict(given.split("=", 1) for given in options.python)
    environment = {"OMP_NUM_THREADS": str(options.threads)}

    def contestant(name: str, python: str, script: str, *arguments: str) -> Contestant:
        return Contestant(name, (pythons[python], str(PEERS / f"{script}.py"), str(folder), *arguments), environment)

    chosen = [
        contestant(f"{kind.title} {precision}", kind.python, f"{name}_train", "--precision", precision)
        for name, kind in KINDS.items()
        if name in options.only
        for precision in kind.precisions
        if precision in options.precision
    ]
    return [*chosen, contestant(MATRIX_RATE, "mtx", "matrix_rate", *options.precision)]


def table_rows(turns: dict[str, list[Turn]], flops_per_token: float) -> list[dict[str, str]]:
    """Make one row per contestant, fastest first."""
    trainers = {name: those for name, those in turns.items() if name != MATRIX_RATE}
    speeds = {name: rates(those, "tokens") for name, those in trainers.items()}
    reference = fastest_fp32_peer(speeds)
    rows = []
    for name in sorted(speeds, key=lambda name: -statistics.median(speeds[name])):
        machine = [turn[name.split()[-1]] / flops_per_token for turn in turns[MATRIX_RATE]]
        share = statistics.median(ratios(speeds[name], machine))
        those = trainers[name]
        rows.append(
            {
                "contestant": name,
                "target tokens/s": spread(speeds[name], ",.0f"),
                "tokens a step": f"{sum(t['tokens'] for t in those) / sum(t['steps'] for t in those):,.0f}",
                f"times {reference or 'a peer'}": (
                    spread(ratios(speeds[name], speeds[reference]), ".2f") if reference else "-"
                ),
                "share of matrix rate": f"{100 * share:.0f} %",
                "peak MiB": f"{max(turn['peak_rss_mib'] for turn in those):,}",
            }
        )
    return rows


def fastest_fp32_peer(speeds: dict[str, list[float]]) -> str | None:
    """Find the peer to compare with, if any took part."""
    peers = [name for name in speeds if name.endswith(" fp32") and not name.startswith("mtx ")]
    return max(peers, key=lambda name: statistics.median(speeds[name]), default=None)


def notes(turns: dict[str, list[Turn]], flops_per_token: float) -> list[str]:
    """Explain how to read the table."""
    machine: list[dict[str, Any]] = turns[MATRIX_RATE]
    measured = ", ".join(
        f"{precision} {spread([turn[precision] / 1e9 for turn in machine], ',.0f')}" for precision in machine[0]
    )
    lines = [
        "Median (minimum..maximum) over the rounds; ratios are taken within each round.",
        f"{flops_per_token / 1e6:,.1f} MFLOP per target token; matrix products, measured in each round, in GFLOP/s: "
        f"{measured}.",
    ]
    for kind in KINDS.values():
        if kind.note and any(name.startswith(kind.title) for name in turns):
            lines.append(f"{kind.title}: {kind.note}.")
    return lines


if __name__ == "__main__":
    main()
