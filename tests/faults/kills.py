"""kill -9 at any moment of a training, then the same command to the end: bit-equal to one that was never killed."""

import random
import shutil
from collections.abc import Callable
from pathlib import Path

from tests.faults.outcome import Outcome, Verdict
from tests.faults.process import Running, Start, start_command
from tests.faults.starter import Starter
from tests.faults.training import Failure, Training, check_finished, difference, untouched

SHARE_OF_COMMANDS = 0.1
"""Share of the runs started as users start them; a `Starter` forks the others, which is faster."""

STARTS_AT_MOST = 50
"""Maximum number of starts of one run; a run that needs more makes no progress."""


def kill_at_random(folder: Path, tries: int, seed: int) -> list[Outcome]:
    """Kill trainings `tries` times in all, at moments drawn evenly over the time that an untouched one takes.

    The first run is drawn from `seed`, the next from `seed + 1` and so on: to repeat one, begin with its seed.
    """
    training = Training(folder / "data")
    training.write()
    rows: dict[str, Outcome] = {}
    with Starter() as starter:
        length, expected = untouched(training, folder / "untouched", starter.start)
        apart_length, found = untouched(training, folder / "untouched_apart", start_command)
        assert not difference(expected, found), "two untouched runs differ"
        while (left := tries - sum(row.tries for row in rows.values())) > 0:
            draw = random.Random(seed)
            is_apart = draw.random() < SHARE_OF_COMMANDS
            begin, longest = (start_command, apart_length) if is_apart else (starter.start, length)
            kills = [draw.uniform(0, longest) for _ in range(min(left, STARTS_AT_MOST))]
            place = folder / f"seed-{seed}"
            phases, failure = killed_run(training, place, begin, kills, expected)
            if failure and not phases:
                phases = ["that came too late"]
            for number, phase in enumerate(phases, start=1):
                row = rows.setdefault(phase, Outcome(f"kill -9 {phase}"))
                if failure and number == len(phases):
                    verdict, what = failure
                    row.count(verdict, f"{what} (seed {seed}, after kills: {described(kills, phases)}; {place})")
                else:
                    row.count(Verdict.SURVIVED)
            if not failure:
                shutil.rmtree(place)
            seed += 1
    return sorted(rows.values(), key=lambda row: row.fault)


def killed_run(
    training: Training,
    place: Path,
    begin: Callable[[Start], Running],
    kills: list[float],
    expected: dict[str, str],
) -> tuple[list[str], Failure | None]:
    """Start one run again and again, killed `kills` seconds after each start, until it ends before the kill.

    Returns the phase of each kill that hit it, and the failure at the end, or None.
    """
    start, run = training.start(place), place / "run"
    phases: list[str] = []
    for seconds in kills:
        ended = begin(start).kill_at(seconds)
        if ended is not None:
            break
        phases.append(training.phase(run))
    else:
        ended = begin(start).wait()
    return phases, check_finished(ended, run, expected)


def described(kills: list[float], phases: list[str]) -> str:
    """Moments and phases of kills, for people."""
    return ", ".join(f"{seconds:.3f} s {phase}" for seconds, phase in zip(kills, phases, strict=False))
