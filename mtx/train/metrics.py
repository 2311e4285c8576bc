"""What a run says of its updates: sums between two log lines, one line for people, one record for programs."""

import json
import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mtx.system.formats import format_flops
from mtx.system.logs import LOGGER
from mtx.train.step import UpdateStats


@dataclass(slots=True)
class Window:
    """Sums over the updates since the last log line.

    Updates that were skipped are counted, and leave no trace in the other sums.
    """

    loss: float = 0.0
    nll: float = 0.0
    grad_norm: float = 0.0
    num_updates: int = 0
    num_tokens: int = 0
    num_padded: int = 0
    num_real: int = 0
    num_skipped: int = 0
    num_spikes: int = 0
    """Skipped or not."""
    seconds: float = 0.0
    num_flops: int = 0

    def add(self, stats: UpdateStats, num_flops: int) -> None:
        """Count one update in that took, by `mtx.train.flops`, so much arithmetic; waits until it is made."""
        self.num_flops += num_flops
        if stats.is_skipped:
            self.num_skipped += 1
            return
        self.num_updates += 1
        self.num_tokens += stats.num_tokens
        self.num_padded += stats.num_padded
        self.num_real += stats.num_real
        self.loss += stats.loss
        self.nll += stats.nll
        self.grad_norm += stats.grad_norm

    def record(self, step: int, lr: float, matrix_rate: float) -> dict[str, Any]:
        """The means, as one record of `metrics.jsonl`; null where every update was skipped.

        `mfu` is model FLOPs utilisation: the share of the machine's `matrix_rate`, in FLOP/s, that the updates reach.
        """
        has_updates = self.num_updates > 0
        return {
            "event": "update",
            "step": step,
            "loss": self.loss / self.num_tokens if has_updates else None,
            "nll": self.nll / self.num_tokens if has_updates else None,
            "grad_norm": self.grad_norm / self.num_updates if has_updates else None,
            "lr": lr,
            "tokens": self.num_tokens,
            "tokens_per_second": self.num_tokens / self.seconds if self.seconds else 0.0,
            "mfu": self.num_flops / self.seconds / matrix_rate if self.seconds else 0.0,
            "matrix_rate": matrix_rate,
            "padding": 1 - self.num_real / self.num_padded if has_updates else None,
            "skipped": self.num_skipped,
            "spikes": self.num_spikes,
        }


def describe_record(record: dict[str, Any], max_steps: int) -> str:
    """One line for people."""
    step = f"step {record['step']:,}/{max_steps:,}"
    if record["loss"] is None:
        return f"{step}  all of {record['skipped']} updates skipped"
    skipped = f", {record['skipped']} skipped" if record["skipped"] else ""
    return (
        f"{step}  loss {record['loss']:.3f}  "
        f"perplexity {math.exp(min(record['nll'], 50)):.2f}  lr {record['lr']:.2e}  "
        f"grad {record['grad_norm']:.2f}  {record['tokens_per_second']:,.0f} tokens/s, "
        f"{100 * record['mfu']:.0f} % of {format_flops(record['matrix_rate'])}{skipped}"
    )


def append_record(path: Path, record: dict[str, Any]) -> None:
    """Add one line to a metrics file; JSON has no number that is not finite, and null instead."""
    finite = {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in record.items()}
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(finite, allow_nan=False) + "\n")


@contextmanager
def progress_bar(done: int, total: int, *, is_wanted: bool) -> Iterator[Any]:
    """A bar with the time left on a terminal, with log lines passing above it; nothing elsewhere."""
    from tqdm import tqdm
    from tqdm.contrib.logging import logging_redirect_tqdm

    is_shown = is_wanted and sys.stderr.isatty()
    bar = tqdm(total=total, initial=done, unit=" steps", disable=not is_shown, dynamic_ncols=True, leave=False)
    with bar, logging_redirect_tqdm([LOGGER]) if is_shown else nullcontext():
        yield bar
