"""Metrics of a run: sums between two log lines, a line in the log, a record in `metrics.jsonl`."""

import math
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from typing import Any

from mtx.checkpoint.training import TrainState
from mtx.data.batching import Batch
from mtx.data.prepared.corpus import source_lines
from mtx.system.formats import format_duration, format_flops
from mtx.system.logs import LOGGER
from mtx.train.failures import divergence
from mtx.train.flops import step_flops
from mtx.train.records import UPDATE
from mtx.train.setup import RunInputs
from mtx.train.spikes import SpikeDetector
from mtx.train.step import StepStats

MAX_SKIPS = 10  # Steps in a row without a finite loss or gradient that end the run
MIN_SCALE = 1e-4  # Scale of the fp16 loss below which the run ends, because the gradients are huge


@dataclass(slots=True)
class Window:
    """Sums over the steps since the last log line. A skipped step only counts as skipped."""

    loss: float = 0.0
    nll: float = 0.0
    grad_norm: float = 0.0
    num_updates: int = 0  # Steps that were not skipped; the name is that in `state.json`
    num_tokens: int = 0
    num_padded: int = 0
    num_real: int = 0
    num_skipped: int = 0
    num_spikes: int = 0  # Spikes, skipped or not
    seconds: float = 0.0
    num_flops: int = 0

    def add(self, stats: StepStats, num_flops: int, seconds: float) -> None:
        self.num_flops += num_flops
        self.seconds += seconds
        if stats.is_skipped:
            self.num_skipped += 1
            return
        self.num_updates += 1
        for name in ("loss", "nll", "grad_norm", "num_tokens", "num_padded", "num_real"):
            setattr(self, name, getattr(self, name) + getattr(stats, name))

    def record(self, step: int, lr: float, matrix_rate: float) -> dict[str, Any]:
        """Build the record of `metrics.jsonl`: means, or null if every step was skipped.

        `mfu` is model FLOPs utilisation: the share of `matrix_rate`, in FLOP/s, that the steps reached.
        """
        has_updates = self.num_updates > 0
        return {
            "event": UPDATE,
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


class StepLog:
    """Log of the steps of a session."""

    def __init__(self, state: TrainState, inputs: RunInputs) -> None:
        self.progress, self.scaler, self.inputs = state.progress, state.scaler, inputs
        self.window = Window(**state.progress.unlogged)
        self.spikes = SpikeDetector.restore(state.progress.ordinary)
        self.has_split = False

    def add(self, stats: StepStats, batches: Sequence[Batch], seconds: float) -> None:
        """Count a step, and log what is unusual about it.

        Raises:
            UserError: too many steps in a row had no finite loss or gradient (DIVERGED).
        """
        sizes, vocab_size = self.inputs.config.model, self.inputs.trained.tokenizer.tgt_vocab_size
        num_flops = sum(step_flops(sizes, vocab_size, b.num_src_tokens, b.num_tokens, len(b.rows)) for b in batches)
        self.window.add(stats, num_flops, seconds)
        self.progress.num_tokens += stats.num_tokens
        self.progress.seconds += seconds
        loss, step = stats.loss / stats.num_tokens, f"step {stats.step:,}"
        if math.isfinite(loss) and math.isfinite(stats.grad_norm):
            self.progress.skipped_in_a_row = 0
            if self.spikes.is_spike(loss, stats.grad_norm):
                self.window.num_spikes += 1
                verb, values = "skipped" if stats.is_skipped else "spike", self.spikes.format(loss, stats.grad_norm)
                sources = self.inputs.config.data.train
                where = "; ".join(map(str, source_lines(self.inputs.corpus, sources, stats.rows)))
                LOGGER.warning("%s  %s: %s: %s", step, verb, values, where)
            self.spikes.add(loss, stats.grad_norm)
        else:
            self._count_failure(stats)
        if stats.num_splits and not self.has_split:
            self.has_split = True
            what = "out of memory: batch split in two (same gradient). Further splits are not reported."
            LOGGER.warning("%s  %s", step, what)

    def write(self, lr: float, bar: Any) -> None:
        """Log the steps since the last call, and append their record to the metrics file."""
        record = self.window.record(self.progress.step, lr, self.inputs.matrix_rate)
        self.window = Window()
        if self.inputs.group.is_rank0:
            self.inputs.folder.append_metrics(record)
        bar.set_postfix(loss=record["loss"], tokens_s=round(record["tokens_per_second"]))
        max_steps, progress = self.inputs.settings.max_steps, self.progress
        seconds_left = progress.seconds / progress.step * (max_steps - progress.step)
        LOGGER.info("%s  %s left", format_record(record, max_steps), format_duration(seconds_left))

    def store(self) -> None:
        """Copy sums and statistics to the progress, for the next checkpoint."""
        self.progress.unlogged, self.progress.ordinary = asdict(self.window), asdict(self.spikes)

    def _count_failure(self, stats: StepStats) -> None:
        self.progress.skipped_in_a_row += 1
        if self.progress.skipped_in_a_row >= MAX_SKIPS:
            why = f"{MAX_SKIPS} steps in a row without a finite gradient"
        elif self.scaler.get_scale() < MIN_SCALE:  # read only here, because it waits for a GPU
            why = f"gradients overflow fp16 even if scaled by {MIN_SCALE}"
        else:
            return
        raise divergence(stats, stats.step - self.progress.skipped_in_a_row, why, self.inputs)


def format_record(record: dict[str, Any], max_steps: int) -> str:
    step = f"step {record['step']:,}/{max_steps:,}"
    if record["loss"] is None:
        return f"{step}  all {record['skipped']} steps skipped"
    skipped = f", {record['skipped']} skipped" if record["skipped"] else ""
    return (
        f"{step}  loss {record['loss']:.3f}  "
        f"perplexity {math.exp(min(record['nll'], 50)):.2f}  lr {record['lr']:.2e}  "
        f"grad {record['grad_norm']:.2f}  {record['tokens_per_second']:,.0f} tokens/s, "
        f"{100 * record['mfu']:.0f} % of {format_flops(record['matrix_rate'])}{skipped}"
    )


@contextmanager
def progress_bar(done: int, total: int, *, is_wanted: bool) -> Iterator[Any]:
    """Show a bar with the time left, and log lines above it; only on a terminal."""
    from tqdm import tqdm
    from tqdm.contrib.logging import logging_redirect_tqdm

    is_shown = is_wanted and sys.stderr.isatty()
    bar = tqdm(total=total, initial=done, unit=" steps", disable=not is_shown, dynamic_ncols=True, leave=False)
    with bar, logging_redirect_tqdm([LOGGER]) if is_shown else nullcontext():
        yield bar
