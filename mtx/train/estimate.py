"""How long a training takes and how much memory: from a few of its updates, made here and now on random ids."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from statistics import median

import numpy as np
import torch

from mtx.checkpoint.training import Progress, Training, checkpoint_bytes
from mtx.config.settings import TrainSettings
from mtx.data.batching import Batch, Whole
from mtx.errors import ExitCode, UserError
from mtx.model import Transformer
from mtx.system.device import Precision
from mtx.system.formats import format_duration, format_megabytes
from mtx.system.logs import LOGGER
from mtx.system.memory import configure_malloc, resident_memory, trim_malloc
from mtx.train.optim import build_optimizer
from mtx.train.retention import most_kept
from mtx.train.state import Equipment
from mtx.train.step import Objective, PairTooLargeError, update

SECONDS = 5.0
"""To be spent on updates, about."""

FEWEST, MOST = 2, 20
"""Updates of one size that are measured, after one that is not."""

FIRST_TOKENS = 512
"""Tokens of the first batch; each that follows holds twice as many, until one is as large as wanted, or takes long."""

FIRST_ID = 4
"""Ids below it are special."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """What a batch is like."""

    src_vocab_size: int
    tgt_vocab_size: int
    src_length: int
    """Tokens of a sentence, with its end symbol."""
    tgt_length: int
    num_tokens: float | None = None
    """Target tokens of a batch, on average, of which some are shorter and some not full; None for full ones."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a training takes."""

    seconds_an_update: float
    num_tokens: int
    """Target tokens of an update."""
    num_updates: int
    weights: int
    """Bytes; the gradient takes as many again, Adam's moments twice."""
    batch: int
    """Bytes that the largest batch takes beside these, for a while."""
    disk: int
    """Bytes of the checkpoints that are kept at once, and of the model folder."""
    num_cuts: int
    """How often a batch did not fit into the memory."""
    is_whole: bool
    """Whether batches of the wanted size were measured; else smaller ones, of which the wanted one is a multiple."""

    @property
    def seconds(self) -> float:
        """Of all updates."""
        return self.seconds_an_update * self.num_updates

    @property
    def memory(self) -> int:
        """Bytes of a training at once."""
        return 4 * self.weights + self.batch

    def lines(self) -> list[str]:
        """What there is to say of it."""
        rate = self.num_tokens / self.seconds_an_update
        smaller = "" if self.is_whole else ", by a smaller batch"
        return [
            f"{format_duration(self.seconds)} for {self.num_updates:,} updates of {self.num_tokens:,} target tokens, "
            f"{rate:,.0f} tokens/s, without validations{smaller}",
            f"{format_megabytes(self.memory)} of memory beside the program's own: weights "
            f"{format_megabytes(self.weights)}, gradient and Adam's moments {format_megabytes(3 * self.weights)}, "
            f"a batch {format_megabytes(self.batch)}; {format_megabytes(self.disk)} of disk",
        ]


def tell_estimate(equipment: Equipment, settings: TrainSettings) -> None:
    """Say what the training that `equipment` is for takes; its weights are changed."""
    corpus, tokenizer = equipment.corpus, equipment.trained.tokenizer
    src_length, tgt_length = (round(float(ids.lengths.mean())) + 1 for ids in (corpus.src, corpus.tgt))
    num_tokens = equipment.num_target_tokens(equipment.first_batches(settings))
    sizes = Sizes(tokenizer.src_vocab_size, tokenizer.tgt_vocab_size, src_length, tgt_length, num_tokens)
    time_text, memory_text = estimate(equipment.trained.model, sizes, settings, equipment.precision).lines()
    LOGGER.info("time        %s", time_text)
    LOGGER.info("memory      %s", memory_text)


def estimate(model: Transformer, sizes: Sizes, settings: TrainSettings, precision: Precision) -> Estimate:
    """Train `model` a little on random ids, in full batches, and measure it.

    Batches grow until they are of the size that `settings` want, or take too long: what is left is a multiple.

    Raises:
        UserError: there is no memory for one pair (MACHINE).
    """
    try:
        return _estimate(model, sizes, settings, precision)
    except PairTooLargeError as error:
        what, do = f"no memory for one pair of {error}", "Use a smaller model."
        raise UserError(ExitCode.MACHINE, what, do=do) from error


def _estimate(model: Transformer, sizes: Sizes, settings: TrainSettings, precision: Precision) -> Estimate:
    model.train()
    training = Training(model, build_optimizer(model, settings), precision.scaler(), Progress())
    objective = Objective(model)
    generator = np.random.default_rng(0)
    num_tokens, begin = min(FIRST_TOKENS, settings.batch_tokens), time.perf_counter()
    # Layers are compiled only after a minute: here they run as they are.
    with torch.compiler.set_stance("force_eager"):
        # Before memory is watched: what is made once for all updates, Adam's moments too.
        update(training, objective, [_random_batch(sizes, 1, generator)], precision, settings)
        with _watched_memory(precision.device) as memory:
            while True:
                batch = _random_batch(sizes, num_tokens, generator)
                make = partial(update, training, objective, [batch], precision, settings)
                stats = make()  # prepares what updates of this size need
                is_whole, spent = num_tokens == settings.batch_tokens, time.perf_counter() - begin
                seconds = _seconds_of(make, precision.device, SECONDS - spent if is_whole else 0)
                if is_whole or stats.num_cuts or spent + 6 * seconds > SECONDS:
                    break
                num_tokens = min(2 * num_tokens, settings.batch_tokens)
        optimizer_seconds = _seconds_of(partial(_step, training), precision.device, 0)
    weights = checkpoint_bytes(model) // 3
    times = settings.batch_tokens / num_tokens
    # Adam's work is the same for a batch of any size, and done once for all that are accumulated.
    full = batch.num_tokens * times
    tokens_a_batch = full if sizes.num_tokens is None else sizes.num_tokens
    batch_seconds = max(seconds - optimizer_seconds, 0) * times * tokens_a_batch / full
    return Estimate(
        seconds_an_update=batch_seconds * settings.accumulate + optimizer_seconds,
        num_tokens=round(tokens_a_batch * settings.accumulate),
        num_updates=settings.max_steps,
        weights=weights,
        batch=round(max(memory.num_bytes - weights, 0) * times),  # the gradient is counted by itself
        disk=most_kept(settings) * checkpoint_bytes(model) + weights,
        num_cuts=stats.num_cuts,
        is_whole=is_whole,
    )


def _step(training: Training) -> None:
    """Adam's part of an update."""
    for parameter in training.model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    training.optimizer.step()
    training.optimizer.zero_grad(set_to_none=True)


def _seconds_of(make: Callable[[], object], device: torch.device, at_most: float) -> float:
    """The median time that `make` takes, of as many calls as fit into `at_most` seconds; of two at least."""
    tries: list[float] = []
    while len(tries) < FEWEST or (len(tries) < MOST and sum(tries) + tries[-1] < at_most):
        start = time.perf_counter()
        make()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        tries.append(time.perf_counter() - start)
    return median(tries)


@dataclass(slots=True)
class _Memory:
    """How much memory was taken at most."""

    num_bytes: int = 0


@contextmanager
def _watched_memory(device: torch.device) -> Iterator[_Memory]:
    """Tells, after the block, how much memory was taken in it at once.

    On a CPU that is what the process holds more than before: the C library keeps what was freed.
    """
    memory = _Memory()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        yield memory
        memory.num_bytes = torch.cuda.max_memory_allocated(device) - before
    else:
        configure_malloc()
        trim_malloc()  # so that nothing of it is taken without being seen
        before = resident_memory()
        yield memory
        memory.num_bytes = resident_memory() - before


def _random_batch(sizes: Sizes, num_tokens: int, generator: np.random.Generator) -> Batch:
    """A batch without padding of at most `num_tokens` tokens on either side."""
    num_rows = max(num_tokens // max(sizes.src_length, sizes.tgt_length), 1)

    def ids(length: int, vocab_size: int) -> torch.Tensor:
        drawn = generator.integers(min(FIRST_ID, vocab_size - 1), vocab_size, (num_rows, length))
        return torch.from_numpy(drawn)

    src_ids = ids(sizes.src_length, sizes.src_vocab_size)
    tgt_out = ids(sizes.tgt_length, sizes.tgt_vocab_size)
    rows = np.arange(num_rows)
    return Batch(
        src_ids=src_ids,
        src_mask=torch.ones_like(src_ids, dtype=torch.bool),
        tgt_in=tgt_out.roll(1, dims=1),
        tgt_out=tgt_out,
        real=torch.arange(tgt_out.numel()),
        num_src_tokens=src_ids.numel(),
        num_tokens=tgt_out.numel(),
        rows=rows,
        whole=Whole(tgt_out.numel(), rows),
    )
