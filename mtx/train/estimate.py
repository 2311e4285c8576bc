"""Estimate of time, memory and disk of a training, from a few steps on random ids."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from statistics import median

import numpy as np
import torch

from mtx.checkpoint.training import Progress, TrainState, checkpoint_bytes
from mtx.config.settings import Config, TrainSettings
from mtx.data.batching import Batch, collate
from mtx.data.prepared.corpus import Corpus, Ids, Lines
from mtx.distributed.process_group import SINGLE, ProcessGroup
from mtx.errors import ExitCode, UserError
from mtx.model import Transformer
from mtx.system.device import Precision
from mtx.system.formats import format_duration, format_megabytes
from mtx.system.logs import LOGGER
from mtx.system.memory import configure_malloc, resident_memory, trim_malloc
from mtx.train.checkpoints import max_kept
from mtx.train.optim import build_optimizer
from mtx.train.parallel import parallelize
from mtx.train.run_folder import RunFolder
from mtx.train.setup import load_inputs
from mtx.train.step import PairTooLargeError, train_step

SECONDS = 5.0  # Time to spend on steps, about
MIN_TRIES, MAX_TRIES = 2, 20  # Steps of one size that are measured, after one that is not
FIRST_TOKENS = 512  # Tokens of the first batch; then doubled until it is the wanted one, or a step takes too long


@dataclass(frozen=True, slots=True)
class Sizes:
    """Sizes of a batch."""

    src_vocab_size: int
    tgt_vocab_size: int
    src_length: int  # Tokens of a sentence, EOS included
    tgt_length: int
    num_tokens: float  # Target tokens of a batch on average; not every batch is full


@dataclass(frozen=True, slots=True)
class Estimate:
    """Time, memory and disk of a training. Sizes are in bytes."""

    seconds_per_step: float
    num_tokens: int  # Target tokens of a step
    num_steps: int
    weights: int  # Memory of the weights; the gradient takes the same again, Adam's moments twice that
    batch: int  # Memory that the largest batch takes beside these
    disk: int  # Disk space of the checkpoints that are kept at a time, and of the model folder
    num_splits: int  # Splits of a batch that did not fit into memory
    is_full_size: bool  # Whether batches of the wanted size were measured; if not, smaller ones are extrapolated

    @property
    def seconds(self) -> float:
        """Time of all steps."""
        return self.seconds_per_step * self.num_steps

    @property
    def memory(self) -> int:
        """Peak memory of a training, without the program itself."""
        return 4 * self.weights + self.batch

    def format(self) -> list[str]:
        """Format time and memory, a line each."""
        rate = self.num_tokens / self.seconds_per_step
        smaller = "" if self.is_full_size else ", extrapolated from a smaller batch"
        return [
            f"{format_duration(self.seconds)} for {self.num_steps:,} steps of {self.num_tokens:,} target tokens, "
            f"{rate:,.0f} tokens/s, without validations{smaller}",
            f"{format_megabytes(self.memory)} of memory besides the program: weights "
            f"{format_megabytes(self.weights)}, gradient and Adam's moments {format_megabytes(3 * self.weights)}, "
            f"a batch {format_megabytes(self.batch)}; {format_megabytes(self.disk)} of disk",
        ]


def estimate_run(config: Config, folder: RunFolder, group: ProcessGroup = SINGLE) -> None:
    """Log how long the training would take and how much memory. Writes only the cache."""
    inputs = load_inputs(config, folder, group)
    corpus, tokenizer = inputs.corpus, inputs.trained.tokenizer
    src_length, tgt_length = (round(float(ids.lengths.mean())) + 1 for ids in (corpus.src, corpus.tgt))
    num_tokens = inputs.mean_target_tokens(inputs.first_batches())
    sizes = Sizes(tokenizer.src_vocab_size, tokenizer.tgt_vocab_size, src_length, tgt_length, num_tokens)
    time_text, memory_text = estimate(inputs.trained.model, sizes, inputs.settings, inputs.precision).format()
    LOGGER.info("time        %s", time_text)
    LOGGER.info("memory      %s", memory_text)


def estimate(model: Transformer, sizes: Sizes, settings: TrainSettings, precision: Precision) -> Estimate:
    """Train `model` for a few steps on random ids, in full batches, and measure them.

    Batches grow to the size in `settings`. If that takes too long, the figures of a smaller size are extrapolated.

    Raises:
        UserError: there is no memory for a single pair (MACHINE).
    """
    device, draw = precision.device, np.random.default_rng(0)
    initial = TrainState(model.train(), build_optimizer(model, settings), precision.scaler(), Progress())
    state, loss_fn = parallelize(initial, settings, device, SINGLE)
    num_tokens, begin = min(FIRST_TOKENS, settings.batch_tokens), time.perf_counter()
    try:
        # Compiling layers takes a minute: here they run uncompiled.
        with torch.compiler.set_stance("force_eager"):
            # A first step before memory is measured allocates what all steps share, such as Adam's moments.
            train_step(state, loss_fn, [_random_batch(sizes, 1, draw)], precision, settings)
            memory_before = _memory_before(device)
            while True:
                batch = _random_batch(sizes, num_tokens, draw)
                step = partial(train_step, state, loss_fn, [batch], precision, settings)
                stats = step()  # warm-up for this size
                is_full_size, spent = num_tokens == settings.batch_tokens, time.perf_counter() - begin
                seconds = _seconds_of(step, device, SECONDS - spent if is_full_size else 0)
                if is_full_size or stats.num_splits or spent + 6 * seconds > SECONDS:
                    break
                num_tokens = min(2 * num_tokens, settings.batch_tokens)
            memory = _peak_memory(device) - memory_before
    except PairTooLargeError as error:
        what, do = f"no memory for one pair of {error}", "Use a smaller model."
        raise UserError(ExitCode.MACHINE, what, do=do) from error
    optimizer_seconds = _seconds_of(partial(_optimizer_step, state), device, 0)
    weights = checkpoint_bytes(model) // 3
    times = settings.batch_tokens / num_tokens
    # Adam's work doesn't depend on the size of a batch, and is done once for all that are accumulated.
    batch_seconds = max(seconds - optimizer_seconds, 0) * sizes.num_tokens / batch.num_tokens
    return Estimate(
        seconds_per_step=batch_seconds * settings.accumulate + optimizer_seconds,
        num_tokens=round(sizes.num_tokens * settings.accumulate),
        num_steps=settings.max_steps,
        weights=weights,
        batch=round(max(memory - weights, 0) * times),  # the gradient is counted separately
        disk=max_kept(settings) * checkpoint_bytes(model) + weights,
        num_splits=stats.num_splits,
        is_full_size=is_full_size,
    )


def _optimizer_step(state: TrainState) -> None:
    for parameter in state.model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    state.optimizer.step()
    state.optimizer.zero_grad(set_to_none=True)


def _seconds_of(call: Callable[[], object], device: torch.device, max_seconds: float) -> float:
    """Measure the median time of `call`, over all tries that fit into `max_seconds`; over two at least."""
    tries: list[float] = []
    while len(tries) < MIN_TRIES or (len(tries) < MAX_TRIES and sum(tries) + tries[-1] < max_seconds):
        start = time.perf_counter()
        call()
        torch.get_device_module(device).synchronize()  # does nothing on a CPU
        tries.append(time.perf_counter() - start)
    return median(tries)


def _memory_before(device: torch.device) -> int:
    """Return the memory taken now, in bytes. The peak is measured from here on."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return torch.cuda.memory_allocated(device)
    configure_malloc()
    trim_malloc()  # so that memory freed earlier is not used again unseen
    return resident_memory()


def _peak_memory(device: torch.device) -> int:
    """Return the most memory taken at a time. A process on a CPU never shrinks: the C library keeps freed memory."""
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else resident_memory()


def _random_batch(sizes: Sizes, num_tokens: int, draw: np.random.Generator) -> Batch:
    """Draw a batch without padding, of at most `num_tokens` tokens on either side."""
    rows = np.arange(max(num_tokens // max(sizes.src_length, sizes.tgt_length), 1), dtype=np.uint32)
    sides = ((sizes.src_length, sizes.src_vocab_size), (sizes.tgt_length, sizes.tgt_vocab_size))
    src, tgt = (Ids.from_lists(draw.integers(size, size=(len(rows), length - 1)).tolist()) for length, size in sides)
    return collate(Corpus(src, tgt, Lines([rows]), {}, 0, ""), rows, pad_id=0, bos_id=0, eos_id=0)
