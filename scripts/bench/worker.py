"""What runs inside a contestant's process: it gets ready, waits for its turn, works, answers.

JSON lines: the worker says {"ready": …} once; then each line on stdin is a turn, and the answer one line on stdout.
The end of stdin ends it. Importable by any Python of the contest: the standard library only.
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
    """The real stdout, for answers alone: whatever else this process prints goes to stderr from now on.

    To be called before anything is imported or loaded that may print.
    """
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return answers


def serve(turn: Callable[[Any], Facts], about: Facts) -> None:
    """Say that all is ready, with what there is to say `about` it, and answer each request with `turn(request)`."""
    _answer({"ready": dict(about)})
    for line in sys.stdin:
        _answer(turn(json.loads(line)))


class Turnstile:
    """Holds a trainer that owns its loop: it passes `updates` at a turn, and waits in between.

    The first update belongs to getting ready. Time spent waiting is not counted.
    """

    def __init__(self, about: Facts) -> None:
        claim_stdout()
        self.about = about
        self.due = 1
        self.updates = self.tokens = 0
        self.start: float | None = None

    def count(self, real_tokens: int) -> None:
        """Note the real target tokens, end symbols included, of one batch of the update that is being made."""
        self.tokens += real_tokens

    def watch_optimizers(self) -> None:
        """Close an update with each step of any torch optimizer."""
        from torch.optim.optimizer import register_optimizer_step_post_hook

        register_optimizer_step_post_hook(lambda *_: self.close_update())

    def close_update(self) -> None:
        """Note that an update is made; wait for the next turn, if this one is over."""
        self.updates += 1
        if self.updates < self.due:
            return
        wait_for_device()
        if self.start is None:
            _answer({"ready": dict(self.about)})
        else:
            seconds = time.perf_counter() - self.start
            counts = {"updates": self.updates, "tokens": self.tokens}
            _answer({**counts, "seconds": seconds, "peak_rss_mib": peak_rss_mib()})
        line = sys.stdin.readline()
        if not line:
            os._exit(0)  # the trainer's own end, in the middle of its loop, would write models and take its time
        self.due = json.loads(line)["updates"]
        self.updates = self.tokens = 0
        self.start = time.perf_counter()


def wait_for_device() -> None:
    """Let a GPU finish what was asked of it, if torch uses one here."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.synchronize()


def peak_rss_mib(process: int | str = "self") -> int:
    """The most memory that a process, this one if none is named, has held, in MiB."""
    # Not ru_maxrss where it can be helped: that of a fresh process begins with its parent's.
    status = Path(f"/proc/{process}/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) // 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // (1024 * 1024)


def _answer(facts: Facts) -> None:
    stream = claim_stdout()
    stream.write(json.dumps(facts) + "\n")
    stream.flush()
