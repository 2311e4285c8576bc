"""Damage any file of a run folder: `mtx train` continues, rebuilds or refuses; `mtx translate` is right or refuses."""

import random
import shutil
import signal
from pathlib import Path

from tests.faults.damage import KINDS, damage
from tests.faults.outcome import Outcome, Verdict
from tests.faults.process import Ended, Start
from tests.faults.starter import Starter
from tests.faults.training import Failure, Training, check_finished, check_refused, count, saved_steps, untouched

REFUSALS = (2, 3, 4, 7)
MODEL = 4

HARMLESS = ("train.log", "README.md", ".lock")
"""Files that mtx never reads."""

SENTENCES = ("one two three", "seven", "ten nine one")


def damage_at_random(folder: Path, tries: int, seed: int) -> list[Outcome]:
    """Damage one file of a stopped, then of a finished run, `tries` times each; all files and all ways have their turn.

    The first is drawn from `seed`, the next from `seed + 1` and so on.
    """
    training = Training(folder / "data", max_steps=12, save_every=4, eval_every=6)
    training.write()
    stopped, finished = Outcome("damaged file, stopped run"), Outcome("damaged file, finished run")
    with Starter() as starter:
        _, expected = untouched(training, folder / "untouched", starter.start)
        stop(training, folder / "stopped", starter, after=8)
        translated = translate(folder / "untouched", starter)
        for number in range(tries):
            for row, whole in ((stopped, folder / "stopped"), (finished, folder / "untouched")):
                draw = random.Random(seed + number)
                place = folder / f"{whole.name}-{seed + number}"
                shutil.copytree(whole, place)
                files = sorted(p for p in (place / "run").rglob("*") if p.is_file() and p.name not in HARMLESS)
                file, kind = files[(seed + number) % len(files)], draw.choice(list(KINDS))
                newest = max(saved_steps(place / "run"))
                damage(file, kind, draw)
                where = file.relative_to(place / "run")
                ended = starter.start(training.start(place)).wait()
                if row is stopped:
                    failure = check_continued(ended, place / "run", where, newest, expected)
                else:
                    failure = check_refused(ended, 0, *REFUSALS) if ended.code else None
                    failure = failure or check_translated(translate(place, starter), translated)
                count(row, failure, f"{where} {kind}, seed {seed + number}", place)
    return [stopped, finished]


def stop(training: Training, place: Path, starter: Starter, *, after: int) -> None:
    """Let a training run up to the checkpoint of step `after`, and then stop it as a scheduler would."""
    running = starter.start(training.start(place))
    while after not in saved_steps(place / "run") and running.status(0.001) is None:
        pass
    running.send(signal.SIGTERM)
    running.wait()
    shutil.rmtree(place / "run" / "model", ignore_errors=True)  # it had finished already: a busy machine


def check_continued(ended: Ended, run: Path, damaged: Path, newest: int, expected: dict[str, str]) -> Failure | None:
    """Check how a stopped run continued. One damaged checkpoint must not stop it if others are whole."""
    if damaged.parts[0] == "checkpoints" or damaged.name == "metrics.jsonl":
        is_redone = f"{newest:06d}" in str(damaged)
        if ended.code or ended.has_traceback or is_redone:
            return check_finished(ended, run, expected)
        return None  # a checkpoint to average, or a log record, is lost
    return check_refused(ended, *REFUSALS) if ended.code else check_finished(ended, run, expected)


def translate(place: Path, starter: Starter) -> Ended:
    """Translate some sentences with the model of a run."""
    return starter.start(Start(["translate", "--model", "run", *SENTENCES], place)).wait()


def check_translated(found: Ended, expected: Ended) -> Failure | None:
    """Check the translations of a model that may be damaged: the expected ones, or exit code MODEL."""
    if found.code:
        return check_refused(found, MODEL)
    return None if found.stdout == expected.stdout else (Verdict.SILENT, f"translates otherwise: {found.stdout!r}")
