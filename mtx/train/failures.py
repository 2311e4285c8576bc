"""What can go wrong with an update, for the user: which pairs it was, and what to do."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from mtx.checkpoint.training import saved_steps
from mtx.config.sources import Source
from mtx.data.prepared.corpus import Corpus
from mtx.data.prepared.provenance import source_lines
from mtx.errors import ExitCode, UserError
from mtx.files.atomic import write_file
from mtx.system.device import is_gpu_error, is_out_of_memory
from mtx.train.state import Session
from mtx.train.step import PairTooLargeError, UpdateStats

GENTLER = "lower train.lr or raise train.warmup_steps, and start in another --run-dir"


def origin_of(session: Session, stats: UpdateStats) -> str:
    """Where the pairs of an update stand in the training data, in words."""
    return "; ".join(map(str, source_lines(session.corpus, session.config.data.train, stats.rows)))


def diverged(session: Session, stats: UpdateStats, why: str) -> UserError:
    """The end of a run whose last update is that of `stats`, with its pairs in the run folder."""
    last_good_step = stats.step - session.progress.skipped_in_a_row
    lines = [origin.to_json() for origin in source_lines(session.corpus, session.config.data.train, stats.rows)]
    report = {"step": stats.step, "last_good_step": last_good_step, "lines": lines}
    if session.group.is_rank0:
        write_file(session.run.bad_batch, (json.dumps(report, indent=1, ensure_ascii=False) + "\n").encode())
    where = f"step {stats.step:,}, last good step {last_good_step:,}, its pairs in {session.run.bad_batch}"
    do = f"Look at these, {GENTLER}."
    return UserError(ExitCode.DIVERGED, f"training diverged: {why}", where=where, do=do)


@contextmanager
def overflow_explained(session: Session) -> Iterator[None]:
    """Inside, numbers that a validation meets and that are not finite are the end of the run (DIVERGED)."""
    try:
        yield
    except FloatingPointError as error:
        what, where = f"training diverged: {error}", f"step {session.progress.step:,}"
        raise UserError(ExitCode.DIVERGED, what, where=where, do=f"{GENTLER[:1].upper()}{GENTLER[1:]}.") from error


@contextmanager
def pair_too_large_explained(corpus: Corpus, sources: Sequence[Source]) -> Iterator[None]:
    """Inside, a pair of `corpus` that there is no memory for becomes one line for the user (MACHINE)."""
    try:
        yield
    except PairTooLargeError as error:
        (origin,) = source_lines(corpus, sources, error.batch.rows)
        do = "Free memory, lower data.max_tokens, or take a smaller model, and run the same command."
        raise UserError(ExitCode.MACHINE, f"out of memory for one pair of {error}", where=str(origin), do=do) from error


@contextmanager
def share_too_large_explained(session: Session) -> Iterator[None]:
    """Inside, a share of a batch that a rank has no memory for while the others wait for it is one line (MACHINE)."""
    try:
        yield
    except (RuntimeError, MemoryError, OSError) as error:
        if not session.group.is_distributed or not is_out_of_memory(error):
            raise
        what, where = "out of memory for a share of a batch", f"rank {session.group.rank}"
        do = "Use more devices or train.parallel=fsdp, or start in another --run-dir with lower train.batch_tokens."
        raise UserError(ExitCode.MACHINE, what, where=where, do=do) from error


@contextmanager
def gpu_failure_explained(session: Session) -> Iterator[None]:
    """Inside, an error of the GPU becomes one line that names the last checkpoint (MACHINE)."""
    try:
        yield
    except RuntimeError as error:
        if not is_gpu_error(error):
            raise
        steps = saved_steps(session.run.checkpoints)
        where = f"last checkpoint: step {steps[-1]:,}" if steps else "before the first checkpoint"
        what = f"the GPU failed at step {session.progress.step:,}: {str(error).splitlines()[0].rstrip('.')}"
        do = f"Run the same command to go on from {'it' if steps else 'the beginning'}."
        raise UserError(ExitCode.MACHINE, what, where=f"{session.run.path}, {where}", do=do) from error
