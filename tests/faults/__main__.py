"""The long versions of all fault tests, from outside: what users do, what disks do, and what comes of it.

    scripts/torture                                  everything: hours
    scripts/torture --only kills --kills 100         one fault
    scripts/torture --only signals --seed 17 --signals 1    one try again, by the seed that its failure names

Prints one table; exit code 1 if anything was lost, silent or had a traceback.
"""

import argparse
import json
import multiprocessing
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path

from tests.faults.outcome import Fault, Outcome, SkippedError, merged, table

SEEDS_APART = 100_000
"""Between the first seeds of two jobs, so that they never draw the same."""


@dataclass(frozen=True)
class Kind:
    """A kind of fault: where it is made, and how often unless told otherwise."""

    module: str
    function: str
    tries: int

    def load(self) -> Fault:
        """The function that makes it."""
        fault: Fault = getattr(import_module(f"tests.faults.{self.module}"), self.function)
        return fault


KINDS = {
    "kills": Kind("kills", "kill_at_random", 500),
    "signals": Kind("signals", "send_at_random", 50),
    "injections": Kind("injections", "inject_at_random", 400),
    "limits": Kind("disks", "limit_files", 10),
    "disks": Kind("disks", "fill_disks", 10),
    "damage": Kind("run_files", "damage_at_random", 200),
    "sharing": Kind("two_runs", "share_a_folder", 3),
    "saves": Kind("inside", "fail_one_save", 1),
    "power": Kind("inside", "lose_power", 1),
    "folders": Kind("inside", "damage_folders", 200),
    "files": Kind("inside", "damage_run_files", 200),
    "tokenizers": Kind("inside", "damage_tokenizers", 10_000),
    "weights": Kind("inside", "make_up_weights", 1000),
    "company": Kind("inside", "change_company", 1000),
    "lines": Kind("long_inputs", "translate_many_lines", 1_000_000),
    "pairs": Kind("long_inputs", "train_on_many_pairs", 1_000_000),
}


def main() -> None:
    """Make the faults that are asked for, print the table, exit with 1 if something was not survived."""
    options = parse()
    scratch = Path(tempfile.mkdtemp(prefix="torture-"))
    outcomes: list[Outcome] = []
    for name in options.only:
        begun = time.monotonic()
        try:
            found = make(name, scratch / name, getattr(options, name), options.seed, options.jobs)
        except SkippedError as reason:
            say(f"{name}: skipped: {reason}")
            continue
        say(f"{name}: {sum(outcome.tries for outcome in found)} tries in {time.monotonic() - begun:.0f} s")
        outcomes += found
        for line in failures_of(found):  # at once: whoever watches need not wait for the table
            say(line)
    print(table(outcomes))
    failures = failures_of(outcomes)
    print(*failures, sep="\n", end="\n" if failures else "")
    if options.json:
        options.json.write_text(json.dumps([asdict(outcome) for outcome in outcomes], indent=1) + "\n")
    if failures:
        say(f"what they left is in {scratch}")
        sys.exit(1)
    shutil.rmtree(scratch)


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="scripts/torture", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name, kind in KINDS.items():
        module = import_module(f"tests.faults.{kind.module}")
        first_line = (getattr(module, kind.function).__doc__ or module.__doc__ or "").partition("\n")[0]
        parser.add_argument(f"--{name}", type=int, default=kind.tries, metavar="TRIES", help=first_line)
    parser.add_argument("--only", type=names, default=list(KINDS), metavar="NAME,…", help=f"of {', '.join(KINDS)}")
    parser.add_argument("--seed", type=int, default=1, help="all that is drawn is drawn from it (default: 1)")
    parser.add_argument("--jobs", type=int, default=1, help="so many processes share the tries (default: 1)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="the rows, for programs")
    return parser.parse_args()


def failures_of(outcomes: Sequence[Outcome]) -> list[str]:
    """A line for each try that was not survived."""
    return [f"{outcome.fault}: {failure}" for outcome in outcomes for failure in outcome.failures]


def names(text: str) -> list[str]:
    """Names of faults, as given to `--only`."""
    given = text.split(",")
    if unknown := [name for name in given if name not in KINDS]:
        raise argparse.ArgumentTypeError(f"unknown: {', '.join(unknown)}; there are {', '.join(KINDS)}")
    return given


def make(name: str, folder: Path, tries: int, seed: int, jobs: int) -> list[Outcome]:
    """Make a fault `tries` times in all, shared out among `jobs` processes.

    Raises:
        SkippedError: it can't be made here.
    """
    shares = [tries // jobs + (job < tries % jobs) for job in range(jobs)]
    with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn")) as pool:
        running = [
            pool.submit(KINDS[name].load(), folder / f"job-{job}", share, seed + job * SEEDS_APART)
            for job, share in enumerate(shares)
            if share
        ]
        return merged(outcome for job in running for outcome in job.result())


def say(line: str) -> None:
    """Tell how far it is: stderr, since stdout is for the table."""
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
