"""The training of a model: from a config to a model folder."""

import shlex
import time
from collections.abc import Iterator
from dataclasses import asdict
from itertools import islice
from pathlib import Path

from mtx.checkpoint.training import Progress, TrainState
from mtx.config.settings import Config
from mtx.data.batching import Batch, Position, batches_from
from mtx.distributed.process_group import SINGLE, ProcessGroup, explain_lost_peers
from mtx.system.logs import LOGGER, log_to_file
from mtx.system.signals import ECHO_SECONDS, deferred_signals
from mtx.train.checkpoints import check_changes, is_save_due, keep_bleu_tokenizers, prune, save, start_or_resume
from mtx.train.failures import explain_failures
from mtx.train.finish import choose_weights, write_model
from mtx.train.metrics import StepLog, progress_bar
from mtx.train.parallel import parallelize
from mtx.train.records import VALIDATION
from mtx.train.run_folder import RunFolder
from mtx.train.setup import RunInputs, check_ranks_agree, load_inputs
from mtx.train.step import train_step
from mtx.train.stopping import Stopped, StopSignals
from mtx.train.validation import best_of, format_evaluation, is_out_of_patience, is_validation_due, validate

ECHO_SECONDS_OF_LAUNCHER = 5.0  # Stop signals this close count as one: a launcher may pass on what ranks got already


def train(
    config: Config,
    run_dir: Path,
    *,
    resume: str = "auto",
    allow_data_change: bool = False,
    group: ProcessGroup = SINGLE,
) -> Path:
    """Train, or continue a run, and return the model folder. On several ranks, rank 0 calls it.

    Raises:
        UserError: the user can fix it; or a signal ended the run, with its state saved (INTERRUPTED, TERMINATED).
    """
    folder = RunFolder(run_dir.absolute())
    folder.check_continuable(config, resume)
    with folder.locked():
        folder.check_continuable(config, resume)  # again, now that no other process can change it
        folder.check_checkpoints()
        inputs = load_inputs(config, folder, group)
        if not allow_data_change:
            check_changes(config, inputs)
        folder.begin(config, inputs.trained.tokenizer)
        group.publish("train")
        with log_to_file(folder.log):
            fit(inputs, allow_data_change)
            LOGGER.info("model folder: %s", folder.model)
            name = shlex.quote(str(run_dir))
            LOGGER.info('next: mtx evaluate --model %s    mtx translate --model %s "a sentence"', name, name)
    return folder.model


def train_beside_rank0(config: Config, run_dir: Path, *, allow_data_change: bool, group: ProcessGroup) -> None:
    """Take part in the training of rank 0, once that has prepared the data. Every other rank calls it."""
    if group.wait_for_message() == "train":
        fit(load_inputs(config, RunFolder(run_dir.absolute()), group), allow_data_change)


def fit(inputs: RunInputs, allow_data_change: bool = False) -> None:
    """Train from the start or the last checkpoint to the model folder. All ranks call it together. See `train`."""
    group = inputs.group
    group.rendezvous()
    echo_seconds = ECHO_SECONDS_OF_LAUNCHER if group.is_distributed else ECHO_SECONDS
    with explain_lost_peers(), deferred_signals(echo_seconds, is_last=group.is_distributed) as requests:
        check_ranks_agree(inputs)
        state, signals = start_or_resume(inputs, allow_data_change), StopSignals(requests, group)
        inputs = keep_bleu_tokenizers(inputs, state.progress)
        try:
            with explain_failures(state, inputs):
                run_steps(state, inputs, signals)
                write_model(*choose_weights(state.progress, inputs, signals), inputs, signals)
                if group.is_rank0:
                    prune(state.progress, inputs.folder, inputs.settings)  # again, for what could not be deleted before
        except Stopped:
            raise signals.error(state.progress.step, str(inputs.folder.path)) from None


def run_steps(state: TrainState, inputs: RunInputs, signals: StopSignals) -> None:
    """Train until `max_steps`, or until validations get no better. Log, save and validate on the way.

    Raises:
        Stopped: a signal asked for it.
    """
    settings, progress, precision, group = inputs.settings, state.progress, inputs.precision, inputs.group
    state, loss_fn = parallelize(state, settings, precision.device, group)
    stream, log = _batches(progress, inputs), StepLog(state, inputs)
    spikes = log.spikes if settings.skip_spikes else None
    state.model.train()
    if progress.step:
        _validate_if_due(progress, inputs, signals)  # a kill between a save and its validation left that undone
    with progress_bar(progress.step, settings.max_steps, is_wanted=group.is_rank0) as bar:
        while progress.step < settings.max_steps and not is_out_of_patience(progress.evaluations, settings.patience):
            start = time.perf_counter()
            positions, batches = zip(*islice(stream, settings.accumulate), strict=True)
            stats = train_step(state, loss_fn, batches, precision, settings, group, spikes)
            progress.epoch, progress.part, progress.batch = positions[-1]
            signals.share()
            log.add(stats, batches, time.perf_counter() - start)
            bar.update()
            if progress.step % settings.log_every == 0 or progress.step == settings.max_steps:
                log.write(stats.lr, bar)
            if is_save_due(progress.step, settings) or signals.shared.stop or signals.shared.is_save_wanted:
                signals.forget_save()
                log.store()
                save(state, inputs)
                signals.raise_if_stopped()
                _validate_if_due(progress, inputs, signals)
    if progress.step < settings.max_steps:
        LOGGER.info("stopping early: no better validation in %d", settings.patience)


def _batches(progress: Progress, inputs: RunInputs) -> Iterator[tuple[Position, Batch]]:
    settings, special = inputs.settings, inputs.trained.tokenizer
    return batches_from(
        inputs.corpus,
        inputs.mixture,
        Position(progress.epoch, progress.part, progress.batch),
        batch_tokens=settings.batch_tokens,
        seed=settings.seed,
        pad_id=special.pad_id,
        bos_id=special.bos_id,
        eos_id=special.eos_id,
        rank=inputs.group.rank,
        num_ranks=inputs.group.size,
    )


def _validate_if_due(progress: Progress, inputs: RunInputs, signals: StopSignals) -> None:
    if not inputs.dev or not is_validation_due(progress.step, inputs.settings):
        return
    evaluation = validate(inputs, progress.step, signals)
    progress.evaluations.append(evaluation)
    if inputs.group.is_rank0:
        inputs.folder.append_metrics({"event": VALIDATION, **asdict(evaluation)})
    best = "  (best so far)" if best_of(progress.evaluations) is evaluation else ""
    LOGGER.info("step %s: %s%s", f"{progress.step:,}", format_evaluation(evaluation), best)
