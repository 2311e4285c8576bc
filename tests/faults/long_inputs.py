"""Memory stays bounded on long inputs: more lines than a test can wait for, and more text than fits into memory."""

import os
import random
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from subprocess import PIPE, Popen
from typing import IO

from tests.faults.outcome import Outcome, Verdict

EARLY = 10_000
"""Lines after which memory must not grow much."""
MOST_GROWTH = 50_000_000
"""Bytes by which each process may grow after `EARLY` lines."""
ADDRESS_SPACE = 3 * 2**30
"""Bytes that a training on many pairs may map."""

CONFIG = """
data: {src_lang: en, tgt_lang: de, train: [{tsv: train.tsv}]}
tokenizer: {vocab_size: 8000}
model: {d_model: 64, num_heads: 4, d_ff: 128, encoder_layers: 1, decoder_layers: 1}
train: {batch_tokens: 4096, lr: 2e-3, warmup_steps: 20, save_every: 300, precision: fp32, device: cpu}
"""


def translate_many_lines(folder: Path, tries: int, seed: int) -> list[Outcome]:
    """Translate `tries` lines with one `mtx translate`: no process grows by 50 MB or more after the first 10,000."""
    draw = random.Random(seed)
    words = made_up_words(draw)
    write_training(folder, ((line, line) for line in lines(draw, words, 20_000, longest=6)))
    train(folder, "train.max_steps=300")
    early: list[int] = []
    largest: list[int] = []
    command = [sys.executable, "-m", "mtx", "translate", "-m", "run", "--beam", "1"]
    with Popen(command, cwd=folder, stdin=PIPE, stdout=PIPE, stderr=(folder / "stderr").open("wb")) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        feeder = threading.Thread(target=feed, args=(process.stdin, lines(draw, words, tries, longest=6)))
        feeder.start()
        num_answers = 0
        for num_answers, _ in enumerate(process.stdout, start=1):
            if num_answers == EARLY:
                early = [resident(pid) for pid in family(process.pid)]
            elif num_answers > EARLY and num_answers % EARLY == 0 and num_answers < tries:
                now = [resident(pid) for pid in family(process.pid)]
                largest = [max(pair) for pair in zip(now, largest or now, strict=True)]
        feeder.join()
    told = f"{megabytes(early)} MB after {EARLY:,}, {megabytes(largest)} at most later"
    row = Outcome(f"{tries:,} lines translated in constant memory ({told})")
    is_bounded = all(late - soon < MOST_GROWTH for soon, late in zip(early, largest, strict=True))
    is_whole = process.returncode == 0 and num_answers == tries
    row.count(Verdict.SURVIVED if is_whole and is_bounded else Verdict.LOST, f"exit {process.returncode}, {told}")
    return [row]


def train_on_many_pairs(folder: Path, tries: int, seed: int) -> list[Outcome]:
    """Train a vocabulary and a model on `tries` pairs in an address space of 3 GB."""
    draw = random.Random(seed)
    words = made_up_words(draw)
    write_training(folder, ((line, line) for line in lines(draw, words, tries, longest=30)))
    size = (folder / "train.tsv").stat().st_size
    row = Outcome(f"{tries:,} pairs ({size / 1e6:,.0f} MB) trained on in 3 GB")
    ended = train(folder, "train.max_steps=30", address_space=ADDRESS_SPACE)
    row.count(Verdict.LOST if ended.returncode else Verdict.SURVIVED, ended.stderr[-300:])
    return [row]


def made_up_words(draw: random.Random) -> list[str]:
    """Draw more words than a vocabulary has pieces."""
    syllables = [consonant + vowel for consonant in "bdfgklmnprstvz" for vowel in "aeiou"]
    return ["".join(draw.choices(syllables, k=draw.randint(1, 4))) for _ in range(20_000)]


def lines(draw: random.Random, words: list[str], count: int, longest: int) -> Iterator[str]:
    """Draw `count` lines of 2 to `longest` words."""
    return (" ".join(draw.choices(words, k=draw.randint(2, longest))) for _ in range(count))


def write_training(folder: Path, pairs: Iterator[tuple[str, str]]) -> None:
    """Write data and config of a training."""
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(CONFIG)
    with (folder / "train.tsv").open("w") as file:
        file.writelines(f"{src}\t{tgt}\n" for src, tgt in pairs)


def train(folder: Path, *overrides: str, address_space: int | None = None) -> subprocess.CompletedProcess[str]:
    """Train to the end in an address space of `address_space` bytes, if given."""
    limit = f"ulimit -v {address_space // 1024} && " if address_space else ""
    command = f'{limit}exec "$@"'
    arguments = [sys.executable, "-m", "mtx", "train", "--config", "config.yaml", "--run-dir", "run", *overrides]
    environment = {**os.environ, "MTX_CACHE": str(folder / "cache")}
    return subprocess.run(
        ["bash", "-c", command, "bash", *arguments],
        cwd=folder, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip


def feed(file: IO[bytes], text: Iterator[str]) -> None:
    """Write all lines, as fast as they are taken."""
    with file:
        for line in text:
            file.write(f"{line}\n".encode())


def family(pid: int) -> list[int]:
    """A process and those that it has started."""
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return [pid, *(one for task in tasks for child in task.read_text().split() for one in family(int(child)))]


def resident(pid: int) -> int:
    """Bytes of memory that a process holds, shared ones included."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def megabytes(sizes: list[int]) -> str:
    """Sizes for people."""
    return " / ".join(f"{size / 1e6:.0f}" for size in sizes)
