"""How time and memory of mtx grow with the number of pairs: prepared, trained from, stopped, resumed.

    python -m scripts.bench.size --pairs 200000 2000000 20000000 > size.md

Pairs are drawn from phrases, each different from all others. `mtx train` prepares them and does some updates; the same
command then goes on from its checkpoint. The model is small (1.6 million weights), so that what counts is the data.
Memory is the peak of the largest process, torch and model and all, and what it is beyond that of a run with a thousand
pairs. Tables go to stdout, progress to stderr.
"""

import argparse
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import IO

from scripts.bench.contest import markdown_table, say

FEW = 1000
"""Pairs of the run that others are held against."""
UPDATES = 60

CONFIG = """
data: {{src_lang: en, tgt_lang: de, train: [{{src: {folder}/text.en, tgt: {folder}/text.de}}]}}
tokenizer: {{file: {tokenizer}}}
model: {{d_model: 128, num_heads: 4, d_ff: 256, encoder_layers: 2, decoder_layers: 2}}
train: {{max_steps: {updates}, batch_tokens: 2048, log_every: 1, save_every: {updates}, device: cpu}}
"""


@dataclass(frozen=True, slots=True)
class Start:
    """A start of `mtx train`, up to its end some updates later."""

    seconds_to_data: float
    """Until all pairs are ready."""
    seconds_to_update: float
    """Until the first update is done."""
    update_seconds: float
    """Of the updates after it, the median."""
    peak_mib: int


def main() -> None:
    """Measure each number of pairs, print a table."""
    options = parse()
    with tempfile.TemporaryDirectory(dir=options.folder, prefix="bench-size-") as scratch:
        folder = Path(scratch)
        os.environ |= {"MTX_CACHE": str(folder / "cache"), "OMP_NUM_THREADS": str(options.threads)}
        tokenizer = train_tokenizer(folder, options.vocabulary)
        least, _ = measure(folder, FEW, tokenizer)
        rows = []
        for pairs in options.pairs:
            first, resumed = measure(folder, pairs, tokenizer)
            preparation = first.seconds_to_data - resumed.seconds_to_data
            rows.append(
                {
                    "pairs": f"{pairs:,}",
                    "prepared in": f"{preparation:.1f} s",
                    "pairs/s": f"{pairs / preparation:,.0f}",
                    "peak MiB": f"{first.peak_mib:,}",
                    f"beyond {FEW:,} pairs": f"{first.peak_mib - least.peak_mib:,}",
                    "resumed, to its first update": f"{resumed.seconds_to_update:.1f} s",
                    "peak MiB then": f"{resumed.peak_mib:,}",
                    "an update": f"{resumed.update_seconds:.3f} s",
                }
            )
            say(str(rows[-1]))
    print(f"{options.threads} threads; a run with {FEW:,} pairs: {least.peak_mib:,} MiB\n")
    print(markdown_table(rows))


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, nargs="+", default=[200_000, 2_000_000, 20_000_000])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--vocabulary", type=int, default=8000)
    parser.add_argument(
        "--folder", type=Path, help="where there is space: 400 bytes a pair; default: that for files of the moment"
    )
    return parser.parse_args()


def train_tokenizer(folder: Path, size: int) -> Path:
    """A vocabulary of the words that the pairs are made of."""
    write_pairs(folder, 20_000)
    text = folder / "both"
    text.write_bytes((folder / "text.en").read_bytes() + (folder / "text.de").read_bytes())
    model = folder / "spm.model"
    arguments = [str(text), "--vocab-size", str(size), "--output", str(model)]
    subprocess.run(
        [sys.executable, "-m", "mtx", "tokenizer", "train", *arguments], check=True, stdout=subprocess.DEVNULL
    )
    return model


def write_pairs(folder: Path, count: int) -> None:
    """So many pairs as two files: each of two phrases, which are words on both sides, of 4 to 30 in all."""
    draw = random.Random(1)
    words = ["".join(draw.choices("abcdefghijklmnopqrstuvwxyz", k=draw.randint(2, 9))) for _ in range(20_000)]
    num_phrases = 5000
    phrases = [[" ".join(draw.choices(words, k=draw.randint(2, 15))) for _ in range(num_phrases)] for _ in range(4)]
    with (folder / "text.en").open("w") as src, (folder / "text.de").open("w") as tgt:
        for number in range(count):
            one, other = divmod(number * 7919 % num_phrases**2, num_phrases)  # all different: 7919 is prime
            src.write(f"{phrases[0][one]} {phrases[1][other]}\n")
            tgt.write(f"{phrases[2][one]} {phrases[3][other]}\n")


def measure(folder: Path, pairs: int, tokenizer: Path) -> tuple[Start, Start]:
    """The first start of a run with so many pairs, and that which goes on from its checkpoint."""
    say(f"writing {pairs:,} pairs")
    write_pairs(folder, pairs)
    config, run = folder / f"{pairs}.yaml", folder / f"run-{pairs}"
    config.write_text(CONFIG.format(folder=folder, tokenizer=tokenizer, updates=UPDATES))
    time.sleep(3)  # what was written just now is looked at once more
    return start(config, run, UPDATES), start(config, run, 2 * UPDATES)


def start(config: Path, run: Path, updates: int) -> Start:
    """`mtx train` until it has done so many updates in all."""
    arguments = ["train", "--config", str(config), "--run-dir", str(run), f"train.max_steps={updates}"]
    began = time.monotonic()
    line = [sys.executable, "-m", "mtx", *arguments]
    with subprocess.Popen(line, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as process:
        assert process.stderr is not None
        to_data, steps = times_of(process.stderr)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"mtx train ended with {process.returncode}")
    between = [later - before for before, later in pairwise(steps)]
    return Start(to_data - began, steps[0] - began, statistics.median(between), usage.ru_maxrss >> 10)


def times_of(log: IO[str]) -> tuple[float, list[float]]:
    """When the data was ready, and when each update was done."""
    to_data, steps = 0.0, []
    for line in log:
        if line.startswith("data "):
            to_data = time.monotonic()
        elif line.startswith("step ") and "loss" in line:
            steps.append(time.monotonic())
        if not line.startswith("step "):
            say(line.rstrip())
    return to_data, steps


if __name__ == "__main__":
    main()
