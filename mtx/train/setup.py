"""The beginning of a run: tokenizer and model, what there is to say of them, and where the last process stopped."""

import shutil
from collections.abc import Iterator
from itertools import tee
from typing import Any

import torch

from mtx.checkpoint.model_folder import GenerationDefaults, TrainedModel
from mtx.checkpoint.training import Progress, Training, checkpoint_bytes, load_checkpoint, newest_checkpoint
from mtx.config.settings import Config, TrainSettings
from mtx.config.sources import HubDataset
from mtx.data.batching import check_longest, padding_share
from mtx.data.cleaning.held_out import read_held_out
from mtx.data.cleaning.rules import build_cleaner
from mtx.data.mixing import Mixture
from mtx.data.prepared.corpus import Corpus
from mtx.data.prepared.prepare import prepare
from mtx.data.sources.read import expand_folders, is_same_text, read_pairs, reader
from mtx.distributed.process_group import SINGLE, ProcessGroup
from mtx.errors import DiskFullError, ExitCode, UserError
from mtx.model import build_transformer
from mtx.model.fast import for_training
from mtx.model.fast.compile import compile_layers, has_compiler
from mtx.system.device import Precision, choose_precision, use_threads
from mtx.system.formats import format_flops, format_megabytes
from mtx.system.logs import LOGGER
from mtx.system.memory import ONEDNN_KERNELS_TRAINING, configure_malloc, limit_onednn_cache
from mtx.system.rng import decorrelate_rng, seed_everything
from mtx.text.tokenizer import Tokenizer
from mtx.text.train_tokenizer import train_tokenizer
from mtx.train.dev_set import load_dev_set
from mtx.train.engine import check_engine
from mtx.train.flops import matrix_rate
from mtx.train.optim import build_optimizer
from mtx.train.retention import most_kept
from mtx.train.run_folder import TOKENIZER_FILES, RunFolder
from mtx.train.state import Equipment

SAME_BITS = ("threads", "precision", "device", "torch", "ranks", "parallel")
"""Of what a checkpoint tells of its making, what has to be the same if a run that continues shall end the same."""


def equip(config: Config, run: RunFolder, group: ProcessGroup = SINGLE) -> Equipment:
    """All that `config` asks for, checked and ready; says what it is, writes nothing.

    Raises:
        UserError: for everything that the user can mend.
    """
    settings = config.train
    precision = choose_precision(settings.precision, group.device(settings.device))
    check_engine(settings, precision, group)
    threads = use_threads()
    check_sources(config)
    tokenizer = run.tokenizer() or make_tokenizer(config)
    check_tags(config, tokenizer)
    corpus = prepare(config.data.train, config.data, config.clean, tokenizer)
    configure_malloc()  # not before: what the preparation had is given back to the system
    limit_onednn_cache(ONEDNN_KERNELS_TRAINING)
    seed_everything(settings.seed)
    trained = new_model(config, tokenizer, corpus, precision)
    dev = load_dev_set(config, trained)
    about = {
        "data": corpus.key,
        "sources": corpus.sources,
        "dev": dev.corpus.key if dev is not None else None,
        "tokenizer": tokenizer.digest,
        "threads": threads,
        "precision": str(precision),
        "device": precision.device.type,
        "torch": torch.__version__,
        "ranks": group.size,
        "parallel": settings.parallel if group.is_distributed else None,
    }
    mixture = Mixture.of(corpus, config.data.train, config.data.temperature)
    equipment = Equipment(trained, corpus, mixture, dev, precision, matrix_rate(precision), about)
    announce(config, equipment)
    return equipment


def with_found_sources(config: Config) -> Config:
    """`config` with the sources in folders, each by itself, in place of these.

    Raises:
        UserError: there are none (DATA).
    """
    data = config.data
    found = expand_folders(data.train, data.src_lang, data.tgt_lang)
    return config.model_copy(update={"data": data.model_copy(update={"train": found})})


def check_sources(config: Config) -> None:
    """Make sure that all sources are there, and that the test set, which is needed last, can be read to its end.

    Raises:
        UserError: one cannot be read (DATA).
    """
    data = config.data
    for source in (*data.train, data.dev, data.test):
        if source is not None:
            reader(source).check(data.src_lang, data.tgt_lang)
    if data.test is None:
        return
    if any(is_same_text(data.test, source) for source in data.train):
        LOGGER.warning("the test pairs are training pairs: they cannot tell how well new sentences are translated")
    if not isinstance(data.test, HubDataset):
        for _ in read_pairs(data.test, data.src_lang, data.tgt_lang):
            pass


def check_tags(config: Config, tokenizer: Tokenizer) -> None:
    """Make sure that the tokenizer knows the tag of each source, also of the test set, which is needed last.

    Raises:
        UserError: it does not (USAGE).
    """
    for source in (*config.data.train, config.data.dev, config.data.test):
        if source is not None and source.tag is not None:
            tokenizer.tag_id(source.tag)


def make_tokenizer(config: Config) -> Tokenizer:
    """The tokenizer that the config names, or one trained on its training data."""
    languages = config.data.src_lang, config.data.tgt_lang
    held_out = read_held_out(config.data, config.clean, build_cleaner(config.clean, *languages))

    def pairs() -> Iterator[tuple[str, str]]:
        for source in config.data.train:
            yield from (pair for pair in read_pairs(source, *languages) if held_out.drop_reason(pair) is None)

    tags = sorted({source.tag for source in config.data.train if source.tag is not None})
    # A joint vocabulary reads both sides in step, so that one pass over the text is enough.
    src_pairs, tgt_pairs = tee(pairs()) if config.tokenizer.joint else (pairs(), pairs())
    sides = (src for src, _ in src_pairs), (tgt for _, tgt in tgt_pairs)
    return train_tokenizer(*sides, config.tokenizer, LOGGER.info, tags)


def new_model(config: Config, tokenizer: Tokenizer, corpus: Corpus, precision: Precision) -> TrainedModel:
    """A model with fresh weights, its layers compiled if that is asked for.

    Raises:
        UserError: nothing here can compile them (MACHINE).
    """
    model = build_transformer(
        config.model,
        src_vocab_size=tokenizer.src_vocab_size,
        tgt_vocab_size=tokenizer.tgt_vocab_size,
        pad_id=tokenizer.pad_id,
        is_joint=tokenizer.is_joint,
    )
    for_training(model).to(precision.device)
    wanted, is_able = config.train.compile, has_compiler(precision.device)
    if wanted == "always" and not is_able:
        what, do = "torch finds no compiler", "Install g++ (for a GPU: triton), or set train.compile to never."
        raise UserError(ExitCode.MACHINE, what, where="train.compile", do=do)
    if wanted == "always" or (wanted == "auto" and is_able and precision.device.type == "cuda"):
        compile_layers(model)
    generation = GenerationDefaults(decode=config.decode, max_source_tokens=int(corpus.src.lengths.max()) + 1)
    return TrainedModel(model, tokenizer, config.data.src_lang, config.data.tgt_lang, generation)


def announce(config: Config, equipment: Equipment) -> None:
    """Say what is about to be trained, on what, with what.

    Raises:
        UserError: a batch can't hold the longest pair (USAGE).
    """
    trained, corpus, precision = equipment.trained, equipment.corpus, equipment.precision
    settings, model = config.train, trained.model
    lengths = corpus.src.lengths, corpus.tgt.lengths
    check_longest(*lengths, settings.batch_tokens)
    plan = equipment.first_batches(settings)
    num_rows = len(equipment.mixture.order(settings.seed, epoch=0))
    num_batches = len(plan) * num_rows / sum(map(len, plan))  # of the whole epoch, of which the plan is a part
    embeddings = {model.src_input.embedding.weight, model.tgt_input.embedding.weight}  # one, where they are tied
    num_parts = {
        "embeddings": sum(p.numel() for p in embeddings),
        "encoder": sum(p.numel() for p in model.encoder.parameters()),
        "decoder": sum(p.numel() for p in model.decoder.parameters()),
    }
    total = sum(p.numel() for p in model.parameters())
    parts = ", ".join(f"{name} {count:,}" for name, count in num_parts.items())
    vocabulary = f"{trained.tokenizer.src_vocab_size:,} source and {trained.tokenizer.tgt_vocab_size:,} target pieces"
    updates = max(num_batches / settings.accumulate, 1)
    LOGGER.info("data        %s", corpus.summary())
    LOGGER.info("tokenizer   %s%s", vocabulary, ", joint" if trained.tokenizer.is_joint else "")
    LOGGER.info("model       %s parameters: %s", f"{total:,}", parts)
    LOGGER.info(
        "epoch       %s batches of %s target tokens, %.1f %% padding; %.1f epochs in %s updates",
        f"{num_batches:,.0f}", f"{equipment.num_target_tokens(plan):,.0f}", 100 * padding_share(*lengths, plan),
        settings.max_steps / updates, f"{settings.max_steps:,}",
    )  # fmt: skip
    rate, threads, ranks = format_flops(equipment.matrix_rate), equipment.about["threads"], equipment.about["ranks"]
    where = f"{ranks} ranks, each on {precision.device}" if ranks > 1 else str(precision.device)
    LOGGER.info("machine     %s, %s, %d threads; matrix products: %s", where, precision, threads, rate)


def begin_or_resume(
    config: Config, run: RunFolder, equipment: Equipment, group: ProcessGroup, allow_data_change: bool
) -> Training:
    """Together: a training at its beginning, or at the newest whole checkpoint of this run, if there is one.

    Raises:
        UserError: the training data is no longer the same (DATA); the tokenizer is not, or every checkpoint is damaged
            (MODEL); the disk has no space for the checkpoints to come (MACHINE).
    """
    model, about = equipment.trained.model, equipment.about
    training = Training(model, build_optimizer(model, config.train), equipment.precision.scaler(), Progress())
    newest = group.broadcast_from_0(lambda: newest_checkpoint(run.checkpoints))
    if newest is None:
        decorrelate_rng(group.rank)
    else:
        folder, saved = newest
        _compare(saved, about, run, equipment.trained.tokenizer, allow_data_change)
        load_checkpoint(folder, training, group.rank)
        LOGGER.info("resuming from step %s", f"{training.progress.step:,}")
    if group.is_rank0:
        run.rewind_metrics(training.progress.step)
        check_space(run, config.train, training)
    return training


def check_space(run: RunFolder, settings: TrainSettings, training: Training) -> None:
    """Make sure that the disk has space for what the run will keep at once.

    Raises:
        DiskFullError: it has not (MACHINE).
    """
    held = sum(path.stat().st_size for path in run.checkpoints.rglob("*"))
    needed = most_kept(settings) * checkpoint_bytes(training.model) - held
    free = shutil.disk_usage(run.path).free
    if free < needed:
        what = f"no space for the checkpoints: needs {format_megabytes(needed)}, {format_megabytes(free)} free"
        do = "Free some space, or give a --run-dir elsewhere."
        raise DiskFullError(ExitCode.MACHINE, what, where=str(run.path), do=do)


def _compare(
    saved: dict[str, Any], about: dict[str, Any], run: RunFolder, tokenizer: Tokenizer, allow_data_change: bool
) -> None:
    """Compare what a checkpoint was `saved` with and what there is now; say what may have changed and did.

    Raises:
        UserError: the training data (DATA) or the tokenizer (MODEL) is not the same.
    """
    is_same_tokenizer = saved.get("tokenizer") == about["tokenizer"]
    now = about["sources"]
    before = saved.get("sources", now)  # older checkpoints do not tell them
    others = [source for source in now if source not in before] + [source for source in before if source not in now]
    changed = list(dict.fromkeys(name for name, _ in others))
    is_changed = bool(changed) or (is_same_tokenizer and saved.get("data") != about["data"])
    if is_changed and not allow_data_change:
        what = "the training data is not what this run began with"
        do = "Restore it, give another --run-dir, or go on with --allow-data-change."
        if not changed and "sources" in saved:
            what = "this version of mtx prepares the training data otherwise than the one that this run began with"
            do = "Give another --run-dir, or go on with --allow-data-change."
        where = f"{run.path}: {', '.join(changed)}" if changed else str(run.path)
        raise UserError(ExitCode.DATA, what, where=where, do=do)
    if not is_same_tokenizer:
        files = " and ".join(str(run.path / TOKENIZER_FILES[name]) for name in tokenizer.files())
        what, do = "the tokenizer is not what this run began with", "Restore it, or give another --run-dir."
        raise UserError(ExitCode.MODEL, what, where=files, do=do)
    # Older checkpoints do not tell all of them.
    known = [key for key in SAME_BITS if key in saved]
    differences = [f"{key} was {saved[key]}, is {about[key]}" for key in known if saved[key] != about[key]]
    if is_changed:
        differences.append(f"other training data ({', '.join(changed) or 'prepared anew'})")
    if differences:
        LOGGER.info("not bit-equal to an uninterrupted run: %s", "; ".join(differences))
    if saved.get("dev", about["dev"]) != about["dev"]:
        LOGGER.info("the dev set is not what this run began with: scores before and after do not compare")
