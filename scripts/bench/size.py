"""Growth of time and memory with the number of pairs: preparing, training, resuming.

    python -m scripts.bench.size --pairs 200000 2000000 20000000 > size.md

Generates distinct pairs of phrases. `mtx train` prepares them and trains for some steps; a second start continues from
its checkpoint. The model is small (1.6 million weights), so the data dominates. Memory is the peak of the largest
process, torch and model included, also beyond that of a run with a thousand pairs. Tables go to stdout, progress to
stderr.
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
"""Pairs of the run that serves as the baseline for memory."""
STEPS = 60

CONFIG = """
data: {{src_lang: en, tgt_lang: de, train: [{{src: {folder}/text.en, tgt: {folder}/text.de}}]}}
tokenizer: {{file: {tokenizer}}}
model: {{d_model: 128, num_heads: 4, d_ff: 256, encoder_layers: 2, decoder_layers: 2}}
train: {{max_steps: {steps}, batch_tokens: 2048, log_every: 1, save_every: {steps}, device: cpu}}
"""


@dataclass(frozen=True, slots=True)
class Start:
    """Times and memory of one start of `mtx train`."""

    seconds_to_data: float
    """Time until all pairs are ready."""
    seconds_to_step: float
    """Time until the first step is done."""
    step_seconds: float
    """Median time of the steps after the first."""
    peak_mib: int


def main() -> None:
    """Measure each number of pairs and print a table."""
    options = parse()
    with tempfile.TemporaryDirectory(dir=options.folder, prefix="bench-size-") as scratch:
        folder = Path(scratch)
        os.environ |= {"MTX_CACHE": str(folder / "cache"), "OMP_NUM_THREADS": str(options.threads)}
        tokenizer = train_tokenizer(folder, options.vocabulary)
        least = start(*prepare(folder, FEW, tokenizer), STEPS)
        rows = []
        for pairs in options.pairs:
            files = prepare(folder, pairs, tokenizer)
            first, resumed = (start(*files, steps) for steps in (STEPS, 2 * STEPS))  # the second one resumes
            preparation = first.seconds_to_data - resumed.seconds_to_data
            rows.append(
                {
                    "pairs": f"{pairs:,}",
                    "prepared in": f"{preparation:.1f} s",
                    "pairs/s": f"{pairs / preparation:,.0f}",
                    "peak MiB": f"{first.peak_mib:,}",
                    f"beyond {FEW:,} pairs": f"{first.peak_mib - least.peak_mib:,}",
                    "resumed, to its first step": f"{resumed.seconds_to_step:.1f} s",
                    "peak MiB then": f"{resumed.peak_mib:,}",
                    "a step": f"{resumed.step_seconds:.3f} s",
                }
            )
            say(str(rows[-1]))
    print(f"{options.threads} threads; a run with {FEW:,} pairs: {least.peak_mib:,} MiB\n")
    print(markdown_table(rows))


def parse() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, nargs="+", default=[200_000, 2_000_000, 20_000_000])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--vocabulary", type=int, default=8000)
    parser.add_argument(
        "--folder", type=Path, help="folder with 400 bytes of space per pair; default: the temporary folder"
    )
    return parser.parse_args()


def train_tokenizer(folder: Path, size: int) -> Path:
    """Train a vocabulary on generated pairs."""
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
    """Write `count` distinct pairs as two files; each side is two phrases, 4 to 30 words together."""
    draw = random.Random(1)
    words = ["".join(draw.choices("abcdefghijklmnopqrstuvwxyz", k=draw.randint(2, 9))) for _ in range(20_000)]
    num_phrases = 5000
    phrases = [[" ".join(draw.choices(words, k=draw.randint(2, 15))) for _ in range(num_phrases)] for _ in range(4)]
    with (folder / "text.en").open("w") as src, (folder / "text.de").open("w") as tgt:
        for number in range(count):
            one, other = divmod(number * 7919 % num_phrases**2, num_phrases)  # distinct, as 7919 is prime
            src.write(f"{phrases[0][one]} {phrases[1][other]}\n")
            tgt.write(f"{phrases[2][one]} {phrases[3][other]}\n")


def prepare(folder: Path, pairs: int, tokenizer: Path) -> tuple[Path, Path]:
    """Write `pairs` pairs and a config; returns it and the run folder."""
    say(f"writing {pairs:,} pairs")
    write_pairs(folder, pairs)
    config, run = folder / f"{pairs}.yaml", folder / f"run-{pairs}"
    config.write_text(CONFIG.format(folder=folder, tokenizer=tokenizer, steps=STEPS))
    time.sleep(3)  # files changed within the last seconds are read again
    return config, run


def start(config: Path, run: Path, steps: int) -> Start:
    """Run `mtx train` up to step `steps`."""
    arguments = ["train", "--config", str(config), "--run-dir", str(run), f"train.max_steps={steps}"]
    began = time.monotonic()
    line = [sys.executable, "-m", "mtx", *arguments]
    with subprocess.Popen(line, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as process:
        assert process.stderr is not None
        to_data, step_times = times_of(process.stderr)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"bench: mtx train ended with code {process.returncode}")
    between = [later - before for before, later in pairwise(step_times)]
    return Start(to_data - began, step_times[0] - began, statistics.median(between), usage.ru_maxrss >> 10)


def times_of(log: IO[str]) -> tuple[float, list[float]]:
    """Read the log as it comes; return the time when the data was ready, and that of each step."""
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
