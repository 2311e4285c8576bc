"""The beginning of a run: tokenizer and model, what there is to say of them, and where the last process stopped."""

from collections.abc import Iterator

from mtx.checkpoint.model_folder import GenerationDefaults, TrainedModel
from mtx.checkpoint.training import (
    Progress,
    Training,
    load_checkpoint,
    newest_checkpoint,
    prune_checkpoints,
    saved_steps,
)
from mtx.config.settings import Config
from mtx.data.batching import epoch_batches, padding_share
from mtx.data.corpus import check_files, read_pairs
from mtx.data.prepare import Corpus, prepare
from mtx.errors import ExitCode, UserError
from mtx.model import build_transformer
from mtx.model.compiled import compile_layers, has_compiler
from mtx.runtime import LOGGER, Precision, choose_device, choose_precision, seed_everything, use_threads
from mtx.tokenizer import Tokenizer, train_tokenizer
from mtx.train.dev_set import load_dev_set
from mtx.train.flops import matrix_rate
from mtx.train.metrics import describe_rate
from mtx.train.optim import build_optimizer
from mtx.train.run_folder import RunFolder
from mtx.train.session import Equipment


def equip(config: Config, run: RunFolder) -> Equipment:
    """All that `config` asks for, checked and ready; says what it is, writes nothing.

    Raises:
        UserError: for everything that the user can mend.
    """
    settings = config.train
    precision = choose_precision(settings.precision, choose_device(settings.device))
    threads = use_threads()
    check_sources(config)
    tokenizer = run.tokenizer() or make_tokenizer(config)
    corpus = prepare(config.data.train, config.data, tokenizer)
    seed_everything(settings.seed)
    trained = new_model(config, tokenizer, corpus, precision)
    about = {"data": corpus.key, "tokenizer": tokenizer.digest, "threads": threads, "precision": str(precision)}
    dev = load_dev_set(config, trained)
    equipment = Equipment(trained, corpus, dev, precision, matrix_rate(precision), about)
    announce(config, equipment)
    return equipment


def check_sources(config: Config) -> None:
    """Make sure that the files of all sources are there, those that are needed last too.

    Raises:
        UserError: a file cannot be read (DATA).
    """
    for source in (*config.data.train, config.data.dev, config.data.test):
        if source is not None:
            check_files(source)


def make_tokenizer(config: Config) -> Tokenizer:
    """The tokenizer that the config names, or one trained on its training data."""

    def pairs() -> Iterator[tuple[str, str]]:
        for source in config.data.train:
            yield from read_pairs(source, config.data.src_lang, config.data.tgt_lang)

    return train_tokenizer((src for src, _ in pairs()), (tgt for _, tgt in pairs()), config.tokenizer, LOGGER.info)


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
    ).to(precision.device)
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
    plan = epoch_batches(*lengths, batch_tokens=settings.batch_tokens, seed=settings.seed, epoch=0)
    embeddings = {model.src_input.embedding.weight, model.tgt_input.embedding.weight}  # one, where they are tied
    num_parts = {
        "embeddings": sum(p.numel() for p in embeddings),
        "encoder": sum(p.numel() for p in model.encoder.parameters()),
        "decoder": sum(p.numel() for p in model.decoder.parameters()),
    }
    total = sum(p.numel() for p in model.parameters())
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
    rate, threads = describe_rate(equipment.matrix_rate), equipment.about["threads"]
    LOGGER.info("machine     %s, %s, %d threads; matrix products: %s", precision.device, precision, threads, rate)


def begin_or_resume(config: Config, run: RunFolder, equipment: Equipment) -> Training:
    """A training at its beginning, or at the newest whole checkpoint of this run, if there is one.

    Raises:
        UserError: the training data is no longer the same (DATA); every checkpoint is damaged (MODEL).
    """
    model, about = equipment.trained.model, equipment.about
    training = Training(model, build_optimizer(model, config.train), equipment.precision.scaler(), Progress())
    newest = newest_checkpoint(run.checkpoints)
    if newest is not None:
        folder, saved = newest
        if saved.get("data") != about["data"] or saved.get("tokenizer") != about["tokenizer"]:
            what, do = "the training data is not what this run began with", "Restore it, or give another --run-dir."
            raise UserError(ExitCode.DATA, what, where=str(run.path), do=do)
        load_checkpoint(folder, training)
        LOGGER.info("resuming from step %s", f"{training.progress.step:,}")
        for name in ("threads", "precision"):
            if saved.get(name) != about[name]:
                LOGGER.info(
                    "not bit-equal to an uninterrupted run: %s was %s, is %s", name, saved.get(name), about[name]
                )
    # What is newer is damaged, and will be made again.
    prune_checkpoints(run.checkpoints, [s for s in saved_steps(run.checkpoints) if s <= training.progress.step])
    run.rewind_metrics(training.progress.step)
    return training
