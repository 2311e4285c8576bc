"""Numbered attempts in child processes, so that an attempt that kills its process is known by its number.

The child prints the number before each attempt, and one word for the outcome after it. If the child dies, another one
continues with the next number.
"""

import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Sequence

HARMLESS = ("refused", "works")
"""Acceptable outcomes: the attempt works, or the user gets one error."""


def outcomes(command: Sequence[str], count: int) -> list[str]:
    """Run attempts 0 to `count` - 1 with `command FIRST STOP`; return the outcome of each, by number.

    An attempt that kills the child counts as `diedCODE`; a new child continues with the next one."""
    found: list[str] = []
    while len(found) < count:
        child = subprocess.run(
            [sys.executable, *command, str(len(found)), str(count)], stdout=subprocess.PIPE, text=True, check=False
        )
        words = child.stdout.split()
        numbers, results = words[::2], words[1::2]
        if numbers[: len(results)] != [str(number) for number in range(len(found), len(found) + len(results))]:
            raise RuntimeError(f"{command[0]} printed something else")
        found += results
        if len(found) < count:
            if len(numbers) == len(results):
                raise RuntimeError(f"{command[0]} ended by itself, with code {child.returncode}")
            found.append(f"died{child.returncode}")
    return found


def run_attempts(first: int, stop: int, attempt: Callable[[int], str]) -> None:
    """Make attempts `first` to `stop` - 1 in the child and print their outcomes."""
    for number in range(first, stop):
        print(number, flush=True)
        print(attempt(number), flush=True)


def report(found: Sequence[str]) -> int:
    """Print how often each outcome occurred and the numbers of bad ones; return the exit code."""
    for outcome, times in Counter(found).most_common():
        print(f"{outcome:12} {times:7,}")
    bad = [f"{number}: {outcome}" for number, outcome in enumerate(found) if outcome not in HARMLESS]
    print("\n".join(bad[:20]))
    return 1 if bad else 0
