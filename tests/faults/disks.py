"""Disks too small or read-only, files that may not grow: exit 5 in one line; with room again, bit-equal."""

import os
import random
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.faults.outcome import Outcome, SkippedError
from tests.faults.process import Ended
from tests.faults.starter import Starter
from tests.faults.training import Failure, Training, check_finished, check_refused, count, untouched

MACHINE = 5
"""The exit code for a disk that fails."""


def limit_files(folder: Path, tries: int, seed: int) -> list[Outcome]:
    """Give `tries` trainings a limit of the size of files."""
    row = Outcome("limit of the size of files")
    training, draw = write_training(folder), random.Random(seed)
    with Starter() as starter:
        expected, sizes = measure(training, folder, starter)
        for number in range(tries):
            place, limit = folder / f"limit-{number}", draw.randrange(8192, max(sizes))
            ended = starter.start(training.start(place, file_size=limit)).wait()
            failure = check_full(ended) or finish(training, place, starter, expected)
            count(row, failure, f"RLIMIT_FSIZE of {limit} bytes", place)
    return [row]


def fill_disks(folder: Path, tries: int, seed: int) -> list[Outcome]:
    """Give `tries` trainings a run folder on too small a disk, and one a read-only disk.

    Raises:
        SkippedError: this user may not mount a disk.
    """
    full, closed = Outcome("full disk"), Outcome("read-only disk")
    training, draw = write_training(folder), random.Random(seed)
    with Starter() as starter:
        expected, sizes = measure(training, folder, starter)
        for number in range(tries):
            place, size = folder / f"disk-{number}", draw.randrange(8192, sum(sizes))
            with disk_at(place / "run", f"size={size}"):
                ended = starter.start(training.start(place)).wait()
                remount(place / "run", "size=100m")
                failure = check_full(ended) or finish(training, place, starter, expected)
            count(full, failure, f"tmpfs of {size} bytes", place)
        place = folder / "closed"
        with disk_at(place / "run", "size=100m"):
            remount(place / "run", "ro")
            ended = starter.start(training.start(place)).wait()
            remount(place / "run", "rw")
            failure = check_refused(ended, MACHINE) or finish(training, place, starter, expected)
        count(closed, failure, "tmpfs, read-only", place)
    return [full, closed]


def write_training(folder: Path) -> Training:
    """A short training."""
    training = Training(folder / "data", max_steps=12, save_every=4, eval_every=6)
    training.write()
    return training


def measure(training: Training, folder: Path, starter: Starter) -> tuple[dict[str, str], list[int]]:
    """Train with enough room; return the digests of the result and the sizes of the run's files in bytes."""
    _, expected = untouched(training, folder / "untouched", starter.start)
    return expected, [path.stat().st_size for path in (folder / "untouched" / "run").rglob("*") if path.is_file()]


def finish(training: Training, place: Path, starter: Starter, expected: dict[str, str]) -> Failure | None:
    """Run the same command again, now with room."""
    return check_finished(starter.start(training.start(place)).wait(), place / "run", expected)


def check_full(ended: Ended) -> Failure | None:
    """Check that a training on a small disk either succeeded or ended with exit code MACHINE and one error line."""
    return None if ended.code == 0 and not ended.has_traceback else check_refused(ended, MACHINE)


@contextmanager
def disk_at(folder: Path, options: str) -> Iterator[None]:
    """Mount a disk in memory at `folder` for the duration of the block.

    Raises:
        SkippedError: this user may not mount one.
    """
    if os.geteuid() or shutil.which("mount") is None:
        raise SkippedError("only root may mount a disk in memory")
    folder.mkdir(parents=True)
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "torture", folder], capture_output=True, text=True)
    if done.returncode:
        raise SkippedError(f"no disk can be mounted here: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def remount(folder: Path, options: str) -> None:
    """Change the options of a disk that is mounted."""
    subprocess.run(["mount", "-o", f"remount,{options}", folder], check=True)
