"""The story of a run, from a config to a model folder."""

import math
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import NoReturn

from mtx.checkpoint.training import save_checkpoint
from mtx.config.settings import Config
from mtx.data.batching import Batch, Position, batches_from
from mtx.distributed.process_group import SINGLE, ProcessGroup, explain_lost_peers
from mtx.errors import DiskFullError, ExitCode, UserError
from mtx.system.logs import LOGGER, log_to_file
from mtx.system.rng import random_state
from mtx.system.signals import ECHO_SECONDS, Requests, deferred_signals
from mtx.train.engine import build_engine
from mtx.train.estimate import tell_estimate
from mtx.train.failures import (
    diverged,
    gpu_failure_explained,
    origin_of,
    overflow_explained,
    pair_too_large_explained,
    share_too_large_explained,
)
from mtx.train.finish import choose_weights, write_model
from mtx.train.flops import update_flops
from mtx.train.metrics import Window, append_record, describe_record, progress_bar
from mtx.train.retention import make_room, prune
from mtx.train.run_folder import RunFolder
from mtx.train.setup import begin_or_resume, equip, with_found_sources
from mtx.train.spikes import Ordinary
from mtx.train.state import Equipment, Session, Stopped
from mtx.train.step import UpdateStats, update
from mtx.train.validation import best_of, describe, validate

UPDATES_TO_ESTIMATE = 20
"""After so many the time that is left is told for the first time."""

UPDATES_AHEAD = {"cpu": 0, "cuda": 1}
"""Updates that a device is given while it works on one: what that tells is read only then, so that it never waits."""

SKIPS_IN_A_ROW = 10
"""So many updates without a finite gradient end the run."""

LOWEST_SCALE = 1e-4
"""A scale of the fp16 loss below it ends the run, too: gradients that need it are huge."""


ECHO_OF_A_LAUNCHER = 5.0
"""Seconds after which a signal is another one, where a launcher passes on what may have come to the ranks, too."""

FINISHED, BEGUN = "finished", "begun"
"""What the first rank tells the others."""


def train(
    config: Config,
    run_dir: Path,
    *,
    resume: str = "auto",
    dry_run: bool = False,
    allow_data_change: bool = False,
    group: ProcessGroup = SINGLE,
) -> Path:
    """Train as `config` says, or go on where this run was stopped; returns the model folder.

    Of several ranks the first one checks, prepares, says and writes all; the others take part in updates and
    validations.

    Raises:
        UserError: for everything that the user can mend; STOPPED codes when a signal ended it, state saved.
    """
    run = RunFolder(run_dir.absolute())
    if not group.is_rank0:
        if group.wait_for_message() == BEGUN:
            config = with_found_sources(config)
            _train(config, run, equip(config, run, group), group, allow_data_change)
        return run.model
    run.check_continuable(config, resume)
    finished_steps = run.finished_steps()
    if finished_steps is not None and finished_steps >= config.train.max_steps:
        LOGGER.info("already finished at step %s", f"{finished_steps:,}")
        group.publish(FINISHED)
        return run.model
    if dry_run:
        tell_estimate(equip(with_found_sources(config), run, group), config.train)
        group.publish(FINISHED)
        return run.model

    with run.locked():
        run.check_continuable(config, resume)  # again, now that no other process can change it
        run.check_checkpoints()
        asked, config = config, with_found_sources(config)
        equipment = equip(config, run, group)
        run.begin(asked, equipment.trained.tokenizer)
        group.publish(BEGUN)
        with log_to_file(run.log):
            _train(config, run, equipment, group, allow_data_change)
            LOGGER.info("model folder: %s", run.model)
            LOGGER.info('next: mtx evaluate --model %s    mtx translate --model %s "a sentence"', run_dir, run_dir)
    return run.model


def _train(config: Config, run: RunFolder, equipment: Equipment, group: ProcessGroup, allow_data_change: bool) -> None:
    """Together: from the beginning, or from where the run was stopped, to its model folder."""
    group.rendezvous("ready")
    echo_seconds = ECHO_OF_A_LAUNCHER if group.is_distributed else ECHO_SECONDS
    with explain_lost_peers(), deferred_signals(echo_seconds, is_last=group.is_distributed) as requests:
        _check_alike(equipment, group)
        saved = begin_or_resume(config, run, equipment, group, allow_data_change)
        engine = build_engine(saved, config.train, equipment.precision, group)
        session = Session(config, run, equipment, engine, requests, Requests() if group.is_distributed else requests)
        try:
            with gpu_failure_explained(session), overflow_explained(session), share_too_large_explained(session):
                run_updates(session)
                write_model(session, choose_weights(session))
                if group.is_rank0:
                    prune(session)  # once more, for what the disk did not let go before
        except Stopped:
            leave(session)


def _check_alike(equipment: Equipment, group: ProcessGroup) -> None:
    """Together: make sure that all ranks work with the same.

    Raises:
        UserError: they do not (DATA, or MODEL for the tokenizer).
    """
    about = group.all_gather(equipment.about)
    for number, other in enumerate(about):
        for key, value in about[0].items():
            if other[key] != value and key != "threads":
                code = ExitCode.MODEL if key == "tokenizer" else ExitCode.DATA
                what, do = f"rank {number} has another {key} than rank 0", "Give all machines the same files and torch."
                raise UserError(code, what, where=str(value)[:40], do=do)


def run_updates(session: Session) -> None:
    """Together: train until `max_steps`, or until dev does not get better; save and validate when that is due.

    Raises:
        Stopped: a signal asked for it.
    """
    settings, progress, is_first = session.config.train, session.progress, session.group.is_rank0
    # Whether the next update is too far out of the ordinary depends on the one before, which must be known then.
    num_ahead = 0 if settings.skip_spikes else UPDATES_AHEAD[session.precision.device.type]
    window, ordinary = Window(**progress.unlogged), Ordinary.of(progress.ordinary)
    made: deque[tuple[UpdateStats, int]] = deque()  # updates that are not counted in yet
    batches, begun = _batches(session), progress.step
    is_cut_told = False
    session.engine.objective.train()
    if progress.step:
        _validate_if_due(session)  # a kill between a save and its validation left that undone
    with progress_bar(progress.step, settings.max_steps, is_wanted=is_first) as bar:
        while progress.step < settings.max_steps and not _is_out_of_patience(session):
            start = time.perf_counter()
            taken = list(islice(batches, settings.accumulate))
            stats = _update(session, [batch for _, batch in taken], ordinary)
            _advance(session, taken[-1][0], stats.num_tokens)
            made.append((stats, sum(_flops(session, batch) for _, batch in taken)))
            is_log_due = progress.step % settings.log_every == 0 or progress.step == settings.max_steps
            session.agree()
            is_save_due = session.is_save_due(progress.step) or session.agreed.is_pending
            while len(made) > (0 if is_log_due or is_save_due else num_ahead):
                _count_in(session, window, ordinary, *made.popleft())
            window.seconds += (seconds := time.perf_counter() - start)
            progress.seconds += seconds
            bar.update()
            if stats.num_cuts and not is_cut_told:
                what = "no memory for a batch at once: cut in two, for the same update; not said again"
                LOGGER.warning("step %s  %s", f"{progress.step:,}", what)
                is_cut_told = True
            if progress.step == begun + UPDATES_TO_ESTIMATE:
                LOGGER.info("estimate  %s", _time_left(session))
            if is_log_due:
                record = window.record(progress.step, stats.lr, session.equipment.matrix_rate)
                window = Window()
                if is_first:
                    append_record(session.run.metrics, record)
                bar.set_postfix(loss=record["loss"], tokens_s=round(record["tokens_per_second"]))
                LOGGER.info("%s", describe_record(record, settings.max_steps) + _time_left(session))
            if is_save_due:
                progress.unlogged, progress.ordinary = asdict(window), asdict(ordinary)
                save(session)
                session.stop_if_asked()
                _validate_if_due(session)


def save(session: Session) -> None:
    """Together: write a checkpoint of this step, and delete those that are not needed; before it if space is short.

    Raises:
        UserError: it can't be written (MACHINE), or it would hold a number that is not finite (DIVERGED).
    """
    session.requests.is_save_wanted = session.agreed.is_save_wanted = False
    session.engine.gather()
    states = session.group.all_gather(random_state())
    if session.group.is_rank0:
        whole = session.run.checkpoints, session.training, session.equipment.about, states[1:]
        try:
            save_checkpoint(*whole)
        except DiskFullError as error:
            LOGGER.warning("%s Deleting older checkpoints to try once more.", error)
            make_room(session)
            save_checkpoint(*whole)
        prune(session)
    session.group.barrier()  # no other rank looks for a checkpoint before it is there


def leave(session: Session) -> NoReturn:
    """Report that a signal ended the run.

    Raises:
        UserError: always, with the code of the signal.
    """
    assert session.agreed.stop is not None
    what = f"stopped by a signal at step {session.progress.step:,}, state saved"
    raise UserError(session.agreed.stop, what, where=str(session.run.path), do="Run the same command to continue.")


def _batches(session: Session) -> Iterator[tuple[Position, Batch]]:
    settings, special = session.config.train, session.trained.tokenizer
    return batches_from(
        session.corpus,
        session.equipment.mixture,
        Position(session.progress.epoch, session.progress.part, session.progress.batch),
        batch_tokens=settings.batch_tokens,
        seed=settings.seed,
        pad_id=special.pad_id,
        bos_id=special.bos_id,
        eos_id=special.eos_id,
        rank=session.group.rank,
        num_ranks=session.group.size,
    )


def _flops(session: Session, batch: Batch) -> int:
    vocab_size = session.trained.tokenizer.tgt_vocab_size
    sizes = batch.num_src_tokens, batch.num_tokens, len(batch.rows)
    return update_flops(session.config.model, vocab_size, *sizes)


def _advance(session: Session, position: Position, num_tokens: int) -> None:
    progress = session.progress
    progress.step += 1
    progress.epoch, progress.part, progress.batch = position.epoch, position.part, position.batch
    progress.num_tokens += num_tokens


def _update(session: Session, batches: list[Batch], ordinary: Ordinary) -> UpdateStats:
    settings, engine = session.config.train, session.engine
    with pair_too_large_explained(session.corpus, session.config.data.train):
        to_keep_to = ordinary if settings.skip_spikes else None
        return update(
            engine.training, engine.objective, batches, session.precision, settings, to_keep_to, session.group
        )


def _count_in(session: Session, window: Window, ordinary: Ordinary, stats: UpdateStats, num_flops: int) -> None:
    """Count in an update, which is waited for; say so if it was far out of the ordinary.

    Raises:
        UserError: the last of too many in a row without a finite gradient, or with one too large for fp16 (DIVERGED).
    """
    progress = session.progress
    window.add(stats, num_flops)
    loss, grad_norm = stats.loss / stats.num_tokens, stats.grad_norm
    if math.isfinite(loss) and math.isfinite(grad_norm):
        progress.skipped_in_a_row = 0
        if ordinary.is_spike(loss, grad_norm):
            window.num_spikes += 1
            told = "skipped" if stats.is_skipped else "spike"
            where, numbers = origin_of(session, stats), ordinary.describe(loss, grad_norm)
            LOGGER.warning("step %s  %s: %s: %s", f"{stats.step:,}", told, numbers, where)
        ordinary.add(loss, grad_norm)
        return
    progress.skipped_in_a_row += 1
    if progress.skipped_in_a_row >= SKIPS_IN_A_ROW:
        raise diverged(session, stats, f"{SKIPS_IN_A_ROW} updates in a row without a finite gradient")
    # Only here: to read the scale waits for the updates that follow, and only skipped ones lower it.
    if session.training.scaler.get_scale() < LOWEST_SCALE:
        raise diverged(session, stats, f"gradients overflow fp16 even if scaled by {LOWEST_SCALE}")


def _validate_if_due(session: Session) -> None:
    progress = session.progress
    if session.dev is None or not session.is_validation_due(progress.step):
        return
    found = validate(session, session.dev, progress.step)
    progress.evaluations.append(found)
    if session.group.is_rank0:
        append_record(session.run.metrics, {"event": "validation", **asdict(found)})
    is_best = best_of(progress.evaluations) is found
    LOGGER.info("step %s: %s%s", f"{progress.step:,}", describe(found), "  (best so far)" if is_best else "")


def _is_out_of_patience(session: Session) -> bool:
    patience, evaluations = session.config.train.patience, session.progress.evaluations
    if not patience or not evaluations:
        return False
    is_over = len(evaluations) - 1 - evaluations.index(best_of(evaluations)) >= patience
    if is_over:
        LOGGER.info("stopping early: no better validation in %d", patience)
    return is_over


def _time_left(session: Session) -> str:
    progress = session.progress
    left = progress.seconds / progress.step * (session.config.train.max_steps - progress.step)
    return f"  {left / 60:.0f} min left" if left >= 90 else f"  {left:.0f} s left"
