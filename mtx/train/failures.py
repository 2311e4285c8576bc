"""Failures of a training, as errors for the user: which pairs were involved, and what to do."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from mtx.checkpoint.training import TrainState, saved_steps
from mtx.config.sources import Source
from mtx.data.prepared.corpus import Corpus, source_lines
from mtx.errors import ExitCode, UserError
from mtx.files.atomic import write_file
from mtx.system.device import is_gpu_error, is_out_of_memory
from mtx.train.setup import RunInputs
from mtx.train.step import PairTooLargeError, StepStats

GENTLER = "Lower train.lr or raise train.warmup_steps, and start in another --run-dir."


def divergence(stats: StepStats, last_good_step: int, why: str, inputs: RunInputs) -> UserError:
    """Build the error that ends a diverged run, and write the pairs of its last step to the run folder."""
    lines = [origin.to_json() for origin in source_lines(inputs.corpus, inputs.config.data.train, stats.rows)]
    report = {"step": stats.step, "last_good_step": last_good_step, "lines": lines}
    path = inputs.folder.bad_batch
    if inputs.group.is_rank0:
        write_file(path, (json.dumps(report, indent=1, ensure_ascii=False) + "\n").encode())
    where = f"step {stats.step:,}, last good step {last_good_step:,}, its pairs are in {path}"
    return UserError(ExitCode.DIVERGED, f"training diverged: {why}", where=where, do=f"Look at these pairs. {GENTLER}")


@contextmanager
def explain_large_pair(corpus: Corpus, sources: Sequence[Source]) -> Iterator[None]:
    """In the block, turn a pair of `corpus` that memory can't hold into an error that names its line (MACHINE)."""
    try:
        yield
    except PairTooLargeError as error:
        (origin,) = source_lines(corpus, sources, error.batch.rows)
        do = "Free memory, lower data.max_tokens or use a smaller model, and run the same command."
        raise UserError(ExitCode.MACHINE, f"out of memory for one pair of {error}", where=str(origin), do=do) from error


@contextmanager
def explain_failures(state: TrainState, inputs: RunInputs) -> Iterator[None]:
    """In the block, turn bad numbers (DIVERGED), lack of memory and a broken GPU (MACHINE) into errors for the user."""
    try:
        with explain_large_pair(inputs.corpus, inputs.config.data.train):
            yield
    except FloatingPointError as error:  # from the decoding of a validation
        what, where = f"training diverged: {error}", f"step {state.progress.step:,}"
        raise UserError(ExitCode.DIVERGED, what, where=where, do=GENTLER) from error
    except (RuntimeError, MemoryError, OSError) as error:
        if is_gpu_error(error):
            steps = saved_steps(inputs.folder.checkpoints)
            where = f"last checkpoint: step {steps[-1]:,}" if steps else "before the first checkpoint"
            what = f"the GPU failed at step {state.progress.step:,}: {str(error).splitlines()[0].rstrip('.')}"
            do = f"Run the same command to continue from {'it' if steps else 'the beginning'}."
            raise UserError(ExitCode.MACHINE, what, where=f"{inputs.folder.path}, {where}", do=do) from error
        if not inputs.group.is_distributed or not is_out_of_memory(error):
            raise
        what, where = "out of memory for a share of a batch", f"rank {inputs.group.rank}"
        do = "Use more devices or train.parallel=fsdp, or start in another --run-dir with lower train.batch_tokens."
        raise UserError(ExitCode.MACHINE, what, where=where, do=do) from error
