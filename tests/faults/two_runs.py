"""A run folder that somebody else uses, or a run that is not the same any more: refused at once, nothing changed."""

import os
from pathlib import Path

from tests.faults.outcome import Outcome, Verdict
from tests.faults.process import Running
from tests.faults.starter import Starter
from tests.faults.training import (
    Failure,
    Training,
    check_finished,
    check_refused,
    count,
    digest,
    saved_steps,
    untouched,
)

USAGE, DATA, IN_USE = 2, 3, 7


def share_a_folder(folder: Path, tries: int, seed: int) -> list[Outcome]:
    """Each of these, `tries` times; nothing is left to chance, so `seed` is not used."""
    training = Training(folder / "data", max_steps=60)
    training.write()
    rows = [Outcome(name) for name in ("two runs in a folder", "finished run again", "other config", "other data")]
    with Starter() as starter:
        _, expected = untouched(training, folder / "untouched", starter.start)
        for number in range(tries):
            place = folder / f"two-{number}"
            count(rows[0], two_at_once(training, place, starter, expected), rows[0].fault, place)
            again = folder / "untouched" / "run"
            before = contents(again)
            failure = check_finished(starter.start(training.start(folder / "untouched")).wait(), again, expected)
            changed = (Verdict.SILENT, "its files changed") if contents(again) != before else None
            count(rows[1], failure or changed, rows[1].fault, folder / f"none-{number}")
            place = folder / f"other-{number}"
            count(rows[2], other_config(training, place, starter, expected), rows[2].fault, place)
            place = folder / f"data-{number}"
            count(rows[3], other_data(place, starter), rows[3].fault, place)
    return rows


def until_saved(running: Running) -> Running:
    """Wait until a training has saved something, or has ended."""
    while not saved_steps(running.start.folder / "run") and running.status(0.001) is None:
        pass
    return running


def two_at_once(training: Training, place: Path, starter: Starter, expected: dict[str, str]) -> Failure | None:
    """A second start while the first runs is refused and names it; once that is killed, a third goes on."""
    first = until_saved(starter.start(training.start(place)))
    second = starter.start(training.start(place)).wait()
    was_running = first.status(0) is None
    first.kill()
    if was_running:
        if failure := check_refused(second, IN_USE):
            return failure
        if str(first.pid) not in second.errors[0]:
            return Verdict.LOST, f"process {first.pid} is not named: {second}"
    return check_finished(starter.start(training.start(place)).wait(), place / "run", expected)


def other_config(training: Training, place: Path, starter: Starter, expected: dict[str, str]) -> Failure | None:
    """A run that was killed is not gone on with by another config; by its own, it is."""
    until_saved(starter.start(training.start(place))).kill()
    before = contents(place / "run")
    refused = starter.start(training.start(place, "train.lr=1e-3")).wait()
    if failure := check_refused(refused, USAGE):
        return failure
    if contents(place / "run") != before:
        return Verdict.SILENT, "a refused start changed files"
    return check_finished(starter.start(training.start(place)).wait(), place / "run", expected)


def other_data(place: Path, starter: Starter) -> Failure | None:
    """A run that was killed is not gone on with on data of which one letter has changed, of the same size and time."""
    training = Training(place / "data", max_steps=60)
    training.write()
    until_saved(starter.start(training.start(place))).kill()
    data = place / "data" / "train.tsv"
    times, text = data.stat(), data.read_text()
    data.write_text(text.replace("one", "onE", 1))
    os.utime(data, ns=(times.st_atime_ns, times.st_mtime_ns))
    return check_refused(starter.start(training.start(place)).wait(), DATA)


def contents(folder: Path) -> dict[str, str]:
    """Digests of all files of a folder."""
    return {str(path.relative_to(folder)): digest(path.read_bytes()) for path in folder.rglob("*") if path.is_file()}
