"""The story of a run, from a config to a model folder."""

import time
from collections.abc import Iterator
from dataclasses import asdict
from itertools import islice
from pathlib import Path

import torch

from mtx.checkpoint.model_folder import GenerationDefaults, TrainedModel
from mtx.checkpoint.training import (
    Progress,
    Training,
    load_checkpoint,
    newest_checkpoint,
    prune_checkpoints,
    save_checkpoint,
    saved_steps,
)
from mtx.config.settings import Config
from mtx.data.batching import Batch, Position, batches_from, epoch_batches, padding_share
from mtx.data.corpus import read_pairs
from mtx.data.prepare import Corpus, prepare
from mtx.errors import ExitCode, UserError
from mtx.model import build_transformer
from mtx.runtime import (
    LOGGER,
    Precision,
    StopRequest,
    choose_device,
    choose_precision,
    deferred_stop,
    log_to_file,
    seed_everything,
    use_threads,
)
from mtx.tokenizer import Tokenizer, train_tokenizer
from mtx.train.finish import choose_weights, write_model
from mtx.train.metrics import Window, append_record, describe_record, progress_bar
from mtx.train.optim import build_optimizer
from mtx.train.run_folder import RunFolder
from mtx.train.update import update
from mtx.train.validation import DevSet, Stopped, best_of, describe, load_dev_set, validate

SKIPS_IN_A_ROW = 10
"""So many updates without a finite gradient end the run."""


def train(config: Config, run_dir: Path, *, resume: str = "auto", dry_run: bool = False) -> Path:
    """Train as `config` says, or go on where this run was stopped; returns the model folder.

    Raises:
        UserError: for everything that the user can mend; STOPPED codes when a signal ended it, state saved.
    """
    run = RunFolder(run_dir.absolute())
    run.check_continuable(config, resume)
    finished_steps = run.finished_steps()
    if finished_steps is not None and finished_steps >= config.train.max_steps:
        LOGGER.info("already finished at step %s", f"{finished_steps:,}")
        return run.model

    precision = choose_precision(config.train.precision, choose_device(config.train.device))
    threads = use_threads()
    tokenizer = run.tokenizer() or _make_tokenizer(config)
    corpus = prepare(config.data.train, config.data, tokenizer)
    seed_everything(config.train.seed)
    trained = _new_model(config, tokenizer, corpus, precision)
    dev = load_dev_set(config, trained)
    _announce(config, trained, corpus, precision, threads)
    if dry_run:
        return run.model

    with run.locked(), log_to_file(run.log), deferred_stop() as stop:
        run.prepare(config, tokenizer)
        optimizer = build_optimizer(trained.model, config.train)
        training = Training(trained.model, optimizer, precision.scaler(), Progress())
        about = {"data": corpus.key, "tokenizer": tokenizer.digest, "threads": threads, "precision": str(precision)}
        _resume(run, training, about)
        session = Session(config, run, trained, training, corpus, dev, precision, stop, about)
        try:
            session.run_updates()
            choice = choose_weights(
                run, trained, dev, config, precision, training.progress.evaluations, session.steps_to_average(), stop
            )
        except Stopped:
            session.leave()
        folder = write_model(run, trained, config, corpus, choice)
        LOGGER.info("model folder: %s", folder)
        LOGGER.info('next: mtx evaluate --model %s    mtx translate --model %s "a sentence"', run_dir, run_dir)
        return folder


class Session:
    """What the loop works with, and the loop: updates, and what is due between them."""

    def __init__(
        self,
        config: Config,
        run: RunFolder,
        trained: TrainedModel,
        training: Training,
        corpus: Corpus,
        dev: DevSet | None,
        precision: Precision,
        stop: StopRequest,
        about: dict[str, object],
    ) -> None:
        self.config, self.run, self.trained, self.training = config, run, trained, training
        self.corpus, self.dev, self.precision, self.stop, self.about = corpus, dev, precision, stop, about
        self.last_saved = training.progress.step

    def run_updates(self) -> None:
        """Train until `max_steps`, or until dev does not get better; save and validate when that is due.

        Raises:
            Stopped: a signal asked for it.
        """
        settings, progress = self.config.train, self.training.progress
        window = Window.empty(self.precision.device)
        batches = self._batches()
        self.trained.model.train()
        if progress.step:
            self._validate_if_due()  # a kill between a save and its validation left that undone
        with progress_bar(progress.step, settings.max_steps) as bar:
            while progress.step < settings.max_steps and not self._is_out_of_patience():
                start = time.perf_counter()
                taken = list(islice(batches, settings.accumulate))
                stats = update(self.training, self.trained.model, [b for _, b in taken], self.precision, settings)
                seconds = time.perf_counter() - start
                self._advance(taken[-1][0], stats.num_tokens, seconds, is_skipped=stats.is_skipped)
                window.add(stats, seconds)
                bar.update()
                if progress.step % settings.log_every == 0 or progress.step == settings.max_steps:
                    record = window.record(progress.step, stats.lr)
                    window = Window.empty(self.precision.device)
                    append_record(self.run.metrics, record)
                    bar.set_postfix(loss=record["loss"], tokens_s=round(record["tokens_per_second"]))
                    LOGGER.info("%s", describe_record(record, settings.max_steps) + self._time_left())
                if self._is_due(progress.step):
                    self.save()
                    self._validate_if_due()
                if self.stop.code is not None:
                    raise Stopped

    def save(self) -> None:
        """Write a checkpoint of this step, unless there is one, and delete those that are no longer needed."""
        progress = self.training.progress
        if progress.step == self.last_saved:
            return
        save_checkpoint(self.run.checkpoints, self.training, self.about)
        self.last_saved = progress.step
        settings = self.config.train
        kept = saved_steps(self.run.checkpoints)[-settings.keep :] + self.steps_to_average()
        if progress.evaluations:
            kept.append(best_of(progress.evaluations).step)
        prune_checkpoints(self.run.checkpoints, kept)

    def leave(self) -> None:
        """Save and report that a signal ended the run.

        Raises:
            UserError: always, with the code of the signal.
        """
        assert self.stop.code is not None
        self.save()
        what = f"stopped by a signal at step {self.training.progress.step:,}, state saved"
        raise UserError(self.stop.code, what, where=str(self.run.path), do="Run the same command to continue.")

    def steps_to_average(self) -> list[int]:
        """The newest checkpoints at regular steps: one that a signal left must not change the result."""
        regular = [step for step in saved_steps(self.run.checkpoints) if self._is_due(step)]
        return regular[-self.config.train.average :]

    def _batches(self) -> Iterator[tuple[Position, Batch]]:
        progress, tokenizer = self.training.progress, self.trained.tokenizer
        return batches_from(
            self.corpus,
            Position(progress.epoch, progress.batch),
            batch_tokens=self.config.train.batch_tokens,
            seed=self.config.train.seed,
            pad_id=tokenizer.pad_id,
            bos_id=tokenizer.bos_id,
            eos_id=tokenizer.eos_id,
        )

    def _advance(self, position: Position, num_tokens: int, seconds: float, *, is_skipped: bool) -> None:
        progress = self.training.progress
        progress.step += 1
        progress.epoch, progress.batch = position.epoch, position.batch
        progress.num_tokens += num_tokens
        progress.seconds += seconds
        progress.skipped_in_a_row = progress.skipped_in_a_row + 1 if is_skipped else 0
        if progress.skipped_in_a_row >= SKIPS_IN_A_ROW:
            what = f"training diverged: {SKIPS_IN_A_ROW} updates in a row without a finite gradient"
            do = "Lower train.lr or raise train.warmup_steps, and start in another --run-dir."
            raise UserError(ExitCode.DIVERGED, what, where=f"step {progress.step:,}", do=do)

    def _is_due(self, step: int) -> bool:
        """Whether a checkpoint belongs to `step`: each validation needs one, too."""
        settings = self.config.train
        return step % settings.save_every == 0 or self._is_validation_due(step)

    def _is_validation_due(self, step: int) -> bool:
        return step % self.config.train.eval_every == 0 or step == self.config.train.max_steps

    def _validate_if_due(self) -> None:
        progress = self.training.progress
        if self.dev is None or not self._is_validation_due(progress.step):
            return
        found = validate(self.trained, self.dev, self.config, self.precision, progress.step, self.stop)
        progress.evaluations.append(found)
        append_record(self.run.metrics, {"event": "validation", **asdict(found)})
        is_best = best_of(progress.evaluations) is found
        LOGGER.info("step %s: %s%s", f"{progress.step:,}", describe(found), "  (best so far)" if is_best else "")

    def _is_out_of_patience(self) -> bool:
        patience, evaluations = self.config.train.patience, self.training.progress.evaluations
        if not patience or not evaluations:
            return False
        is_over = len(evaluations) - 1 - evaluations.index(best_of(evaluations)) >= patience
        if is_over:
            LOGGER.info("stopping early: no better validation in %d", patience)
        return is_over

    def _time_left(self) -> str:
        progress = self.training.progress
        left = progress.seconds / progress.step * (self.config.train.max_steps - progress.step)
        return f"  {left / 60:.0f} min left" if left >= 90 else f"  {left:.0f} s left"


def _make_tokenizer(config: Config) -> Tokenizer:
    """The tokenizer that the config names, or one trained on its training data."""

    def pairs() -> Iterator[tuple[str, str]]:
        for source in config.data.train:
            yield from read_pairs(source, config.data.src_lang, config.data.tgt_lang)

    return train_tokenizer((src for src, _ in pairs()), (tgt for _, tgt in pairs()), config.tokenizer, LOGGER.info)


def _new_model(config: Config, tokenizer: Tokenizer, corpus: Corpus, precision: Precision) -> TrainedModel:
    model = build_transformer(
        config.model,
        src_vocab_size=tokenizer.src_vocab_size,
        tgt_vocab_size=tokenizer.tgt_vocab_size,
        pad_id=tokenizer.pad_id,
        is_joint=tokenizer.is_joint,
    ).to(precision.device)
    generation = GenerationDefaults(decode=config.decode, max_source_tokens=int(corpus.src.lengths.max()) + 1)
    return TrainedModel(model, tokenizer, config.data.src_lang, config.data.tgt_lang, generation)


def _announce(config: Config, trained: TrainedModel, corpus: Corpus, precision: Precision, threads: int) -> None:
    """Say what is about to be trained, on what, with what."""
    settings = config.train
    lengths = corpus.src.lengths, corpus.tgt.lengths
    plan = epoch_batches(*lengths, batch_tokens=settings.batch_tokens, seed=settings.seed, epoch=0)
    num_parts = {
        "embeddings": sum({id(p): p.numel() for p in _embeddings(trained)}.values()),
        "encoder": sum(p.numel() for p in trained.model.encoder.parameters()),
        "decoder": sum(p.numel() for p in trained.model.decoder.parameters()),
    }
    total = sum(p.numel() for p in trained.model.parameters())
    parts = ", ".join(f"{name} {count:,}" for name, count in num_parts.items())
    vocabulary = f"{trained.tokenizer.src_vocab_size:,} source and {trained.tokenizer.tgt_vocab_size:,} target pieces"
    tokens = int(lengths[1].sum()) + len(corpus)
    updates = max(len(plan) / settings.accumulate, 1)
    LOGGER.info("data        %s", corpus.summary())
    LOGGER.info("tokenizer   %s%s", vocabulary, ", joint" if trained.tokenizer.is_joint else "")
    LOGGER.info("model       %s parameters: %s", f"{total:,}", parts)
    LOGGER.info(
        "epoch       %s batches of %s target tokens, %.1f %% padding; %.1f epochs in %s updates",
        f"{len(plan):,}", f"{tokens / len(plan):,.0f}", 100 * padding_share(*lengths, plan),
        settings.max_steps / updates, f"{settings.max_steps:,}",
    )  # fmt: skip
    LOGGER.info("machine     %s, %s, %d threads", precision.device, precision, threads)


def _embeddings(trained: TrainedModel) -> list[torch.Tensor]:
    return [trained.model.src_input.embedding.weight, trained.model.tgt_input.embedding.weight]


def _resume(run: RunFolder, training: Training, about: dict[str, object]) -> None:
    """Go back to the newest whole checkpoint, if there is one.

    Raises:
        UserError: the training data is no longer the same (DATA).
    """
    newest = newest_checkpoint(run.checkpoints)
    if newest is None:
        run.rewind_metrics(0)
        return
    folder, saved = newest
    if saved.get("data") != about["data"] or saved.get("tokenizer") != about["tokenizer"]:
        what, do = "the training data is not what this run was started with", "Restore it, or give another --run-dir."
        raise UserError(ExitCode.DATA, what, where=str(run.path), do=do)
    load_checkpoint(folder, training)
    run.rewind_metrics(training.progress.step)
    LOGGER.info("resuming from step %s", f"{training.progress.step:,}")
    if saved.get("threads") != about["threads"]:
        LOGGER.info(
            "not bit-equal to an uninterrupted run: %s threads then, %s now", saved.get("threads"), about["threads"]
        )
