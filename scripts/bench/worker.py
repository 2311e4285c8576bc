"""Protocol inside a contestant's process: get ready, wait for a turn, work, answer.

JSON lines: the worker prints {"ready": …} once. Then each line on stdin is a turn, and each answer a line on stdout.
The end of stdin ends it. Imports only the standard library, since every Python of the contest runs this.
"""

import json
import os
import resource
import sys
import time
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, TextIO

Facts = Mapping[str, Any]


@cache
def claim_stdout() -> TextIO:
    """Reserve stdout for answers and return it: all other output goes to stderr from now on.

    Call this before importing or loading anything that may print.
    """
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return answers


def serve(turn: Callable[[Any], Facts], about: Facts) -> None:
    """Report readiness with the facts `about` this worker, then answer each request with `turn(request)`."""
    _answer({"ready": dict(about)})
    for line in sys.stdin:
        _answer(turn(json.loads(line)))


class Turnstile:
    """Controls a trainer that owns its loop: lets a number of steps pass per turn, and blocks in between.

    The first step belongs to getting ready. Time spent waiting is not counted.
    """

    def __init__(self, about: Facts) -> None:
        claim_stdout()
        self.about = about
        self.due = 1
        self.steps = self.tokens = 0
        self.start: float | None = None

    def count(self, real_tokens: int) -> None:
        """Add the target tokens, end symbols included, of one batch of the current step."""
        self.tokens += real_tokens

    def watch_optimizers(self) -> None:
        """Close a step whenever any torch optimizer steps."""
        from torch.optim.optimizer import register_optimizer_step_post_hook

        register_optimizer_step_post_hook(lambda *_: self.close_step())

    def close_step(self) -> None:
        """Count a step; if the turn is over, answer and wait for the next one."""
        self.steps += 1
        if self.steps < self.due:
            return
        wait_for_device()
        if self.start is None:
            _answer({"ready": dict(self.about)})
        else:
            seconds = time.perf_counter() - self.start
            counts = {"steps": self.steps, "tokens": self.tokens}
            _answer({**counts, "seconds": seconds, "peak_rss_mib": peak_rss_mib()})
        line = sys.stdin.readline()
        if not line:
            sys.stdout.flush()
            os._exit(0)  # a regular exit would let the trainer write models
        self.due = json.loads(line)["steps"]
        self.steps = self.tokens = 0
        self.start = time.perf_counter()


def wait_for_device() -> None:
    """Wait until a GPU, if torch uses one here, has finished its work."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.synchronize()


def peak_rss_mib(process: int | str = "self") -> int:
    """Return the peak resident memory of a process, by default of this one, in MiB."""
    # Not ru_maxrss: in a fresh process it begins with the value of the parent.
    status = Path(f"/proc/{process}/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) // 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // (1024 * 1024)


def _answer(facts: Facts) -> None:
    stream = claim_stdout()
    stream.write(json.dumps(facts) + "\n")
    stream.flush()
