"""Set-up of a run: check the config, prepare the data, build tokenizer and model. Nothing is written but the cache."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice, product, starmap, tee
from typing import Any

import torch
from torch import nn

from mtx.checkpoint.model_folder import GenerationDefaults, TrainedModel
from mtx.config.advice import advise
from mtx.config.settings import CleanSettings, Config, DataSettings, TrainSettings
from mtx.config.sources import HubDataset, Source
from mtx.data.batching import check_longest, fixed_batches, padding_share, part_batches
from mtx.data.cleaning.clean import read_cleaners
from mtx.data.cleaning.rules import lacks_letters
from mtx.data.mixing import Mixture
from mtx.data.prepared.corpus import Corpus, Rows
from mtx.data.prepared.prepare import prepare
from mtx.data.sources.read import expand_folders, is_same_text, read_pairs, reader, usable_pairs
from mtx.distributed.process_group import SINGLE, ProcessGroup
from mtx.errors import ExitCode, UserError
from mtx.judge.languages import choose_bleu_tokenizer, language_notes, script_notes
from mtx.model import build_transformer
from mtx.model.fast import for_training
from mtx.model.fast.compile import compile_layers, has_compiler
from mtx.system.device import Precision, choose_precision, use_threads
from mtx.system.formats import format_flops
from mtx.system.logs import LOGGER
from mtx.system.memory import ONEDNN_KERNELS_TRAINING, configure_malloc, limit_onednn_cache
from mtx.system.rng import seed_everything
from mtx.text.changes import describe_changes, round_trip
from mtx.text.tokenizer import Tokenizer
from mtx.text.train_tokenizer import train_tokenizer
from mtx.train.flops import matrix_rate
from mtx.train.parallel import check_parallel
from mtx.train.run_folder import RunFolder
from mtx.train.tensorboard import check_installed

NUM_ROUND_TRIPS = 10_000  # Targets of each source that a new tokenizer encodes and decodes again to find changes
NUM_LOOKED_AT = 1000  # Pairs of each source that are checked for letters before training starts
NO_CLEANING = CleanSettings(level="none")  # For dev: a rule must not change the pairs that scores are measured on


@dataclass(frozen=True, slots=True)
class DevSet:
    """A dev set: all pairs as ids for the loss, and the first pairs as text for decoding."""

    source: Source
    name: str
    corpus: Corpus
    batches: list[Rows]
    sources: list[str]
    references: list[str]
    bleu_tokenizer: str  # Its name in sacreBLEU


@dataclass(frozen=True, slots=True)
class RunInputs:
    """Everything that a run is given and that stays the same while it trains, except for the weights of `trained`."""

    folder: RunFolder
    config: Config  # With folders among the training sources expanded
    trained: TrainedModel  # Model in training with its tokenizer; with FSDP, whole weights as of the last save
    corpus: Corpus
    mixture: Mixture
    dev: tuple[DevSet, ...]
    precision: Precision
    matrix_rate: float  # Speed of matrix products measured on this machine in this precision, in FLOP/s
    metadata: dict[str, Any]  # In each checkpoint's manifest: all that a resumed run is compared with
    group: ProcessGroup

    @property
    def settings(self) -> TrainSettings:
        return self.config.train

    def first_batches(self) -> list[Rows]:
        """Rows of each batch in the first part of the first epoch."""
        seed, batch_tokens = self.settings.seed, self.settings.batch_tokens
        order, lengths = self.mixture.order(seed, epoch=0), (self.corpus.src.lengths, self.corpus.tgt.lengths)
        return part_batches(order, *lengths, batch_tokens=batch_tokens, seed=seed, epoch=0, part=0)

    def mean_target_tokens(self, batches: Sequence[Rows]) -> float:
        """Target tokens of a batch on average, EOS included."""
        lengths = self.corpus.tgt.lengths
        return sum(int(lengths[rows].sum()) + len(rows) for rows in batches) / len(batches)


def load_inputs(user_config: Config, folder: RunFolder, group: ProcessGroup = SINGLE) -> RunInputs:
    """Check `user_config`, prepare everything that it asks for, and log a summary.

    Raises:
        UserError: anything that the user can fix.
    """
    config = expand_config(user_config)
    settings, data = config.train, config.data
    precision = choose_precision(settings.precision, group.device(settings.device))
    check_parallel(settings, precision, group)
    if settings.log_to and group.is_rank0:
        check_installed()
    threads = use_threads()
    for note in (*advise(user_config), *language_notes(*data.all_languages)):
        LOGGER.warning("%s", note)
    check_sources(data)
    tokenizer = folder.tokenizer() or make_tokenizer(config)
    for source in (*data.train, *data.held_out):
        if source.tag is not None:
            tokenizer.tag_id(source.tag)  # an unknown tag is an error
    corpus = prepare(data.train, data, config.clean, tokenizer)
    check_longest(corpus.src.lengths, corpus.tgt.lengths, settings.batch_tokens)
    configure_malloc()  # not earlier, so that the memory of the preparation goes back to the system
    limit_onednn_cache(ONEDNN_KERNELS_TRAINING)
    seed_everything(settings.seed)
    trained = build_model(config, tokenizer, corpus, precision)
    dev = load_dev_sets(config, tokenizer)
    metadata = {
        "data": corpus.key,
        "sources": corpus.sources,
        "dev": " ".join(each.corpus.key for each in dev) or None,
        "bleu": [each.bleu_tokenizer for each in dev],
        "tokenizer": tokenizer.digest,
        "threads": threads,
        "precision": str(precision),
        "device": precision.device.type,
        "torch": torch.__version__,
        "ranks": group.size,
        "parallel": settings.parallel if group.is_distributed else None,
    }
    mixture, rate = Mixture.of(corpus, data.train, data.temperature), matrix_rate(precision)
    inputs = RunInputs(folder, config, trained, corpus, mixture, dev, precision, rate, metadata, group)
    log_summary(inputs)
    return inputs


def check_ranks_agree(inputs: RunInputs) -> None:
    """Refuse inputs that differ between ranks (DATA, or MODEL for the tokenizer). All ranks call it together."""
    metadata = inputs.group.all_gather(inputs.metadata)
    for rank, other in enumerate(metadata):
        for key, value in metadata[0].items():
            if other[key] != value and key != "threads":
                code = ExitCode.MODEL if key == "tokenizer" else ExitCode.DATA
                what = f"rank {rank} has another {key} than rank 0"
                do = "Give all machines the same files and packages."
                raise UserError(code, what, where=str(value)[:40], do=do)


def expand_config(config: Config) -> Config:
    """Replace each folder among the training sources by the sources in it. Refuse an empty one (DATA)."""
    data = config.data
    sources = expand_folders(data.train, data.src_lang, data.tgt_lang)
    return config.model_copy(update={"data": data.model_copy(update={"train": sources})})


def check_sources(data: DataSettings) -> None:
    """Refuse sources that can't be read (DATA). Test sets, which are needed last, are read to their ends."""
    for source in (*data.train, *data.held_out):
        reader(source).check(*data.languages_of(source))
    for source in data.train:
        _warn_if_unlettered(source, data)
    for name, sets in (("dev", data.dev), ("test", data.test)):
        if any(is_same_text(*each) for each in product(sets, data.train)):
            what = "the %s pairs are training pairs: scores will not show how new sentences are translated"
            LOGGER.warning(what, name)
    for source in data.test:
        if not isinstance(source, HubDataset):
            for _ in usable_pairs(source, data.src_lang, data.tgt_lang, data.on_bad_row):
                pass


def _warn_if_unlettered(source: Source, data: DataSettings) -> None:
    """Warn if most of the first pairs have a side without letters, such as ids instead of text."""
    if isinstance(source, HubDataset):
        return
    pairs = [pair for pair in islice(read_pairs(source, data.src_lang, data.tgt_lang), NUM_LOOKED_AT) if all(pair)]
    count = sum(starmap(lacks_letters, pairs))
    if count > len(pairs) / 2:
        what = "%s: %s of the first %s pairs have a side without letters; see mtx data check"
        LOGGER.warning(what, reader(source).label, f"{count:,}", f"{len(pairs):,}")


def make_tokenizer(config: Config) -> Tokenizer:
    """Load the tokenizer that the config names, or train one on its training data."""
    languages, on_bad_row = (config.data.src_lang, config.data.tgt_lang), config.data.on_bad_row
    cleaners = read_cleaners(config.data, config.clean, config.data.train)

    def pairs() -> Iterator[tuple[str, str]]:
        for source, cleaner in zip(config.data.train, cleaners, strict=True):
            yield from (pair for pair in read_pairs(source, *languages, on_bad_row) if pair not in cleaner.held_out)

    tags = sorted({source.tag for source in config.data.train if source.tag is not None})
    # A joint vocabulary reads both sides in step, so that one pass over the text is enough.
    src_pairs, tgt_pairs = tee(pairs()) if config.tokenizer.joint else (pairs(), pairs())
    sides = (src for src, _ in src_pairs), (tgt for _, tgt in tgt_pairs)
    tokenizer = train_tokenizer(*sides, config.tokenizer, LOGGER.info, tags)
    firsts = (islice(read_pairs(source, *languages), NUM_ROUND_TRIPS) for source in config.data.train)
    kept = chain.from_iterable(cleaner.kept(first) for cleaner, first in zip(cleaners, firsts, strict=True))
    if changes := describe_changes((tgt for _, tgt in kept), round_trip(tokenizer)):
        do = "to keep all, leave out tokenizer.normalization, byte_fallback and file"
        LOGGER.warning("the tokenizer changes %s (first %s lines); %s", changes, f"{NUM_ROUND_TRIPS:,}", do)
    return tokenizer


def build_model(config: Config, tokenizer: Tokenizer, corpus: Corpus, precision: Precision) -> TrainedModel:
    """Build a model with fresh weights; its layers are compiled if the config asks for it.

    Raises:
        UserError: there is no compiler for them (MACHINE).
    """
    model = build_transformer(
        config.model,
        src_vocab_size=tokenizer.src_vocab_size,
        tgt_vocab_size=tokenizer.tgt_vocab_size,
        pad_id=tokenizer.pad_id,
        is_joint=tokenizer.is_joint,
    )
    for_training(model).to(precision.device)
    wanted, has_one = config.train.compile, has_compiler(precision.device)
    if wanted == "always" and not has_one:
        what, do = "torch finds no compiler", "Install g++ (for a GPU: triton), or set train.compile to never."
        raise UserError(ExitCode.MACHINE, what, where="train.compile", do=do)
    if wanted == "always" or (wanted == "auto" and has_one and precision.device.type == "cuda"):
        compile_layers(model)
    generation = GenerationDefaults(
        decode=config.decode,
        max_source_tokens=int(corpus.src.lengths.max()) + 1,
        sentences_per_source=corpus.sentences_per_source,
    )
    data = config.data
    by_tag = {source.tag: data.languages_of(source)[1] for source in data.train if source.tag is not None}
    tag_languages = {tag: language for tag, language in sorted(by_tag.items()) if language != data.tgt_lang}
    return TrainedModel(model, tokenizer, data.src_lang, data.tgt_lang, generation, tag_languages)


def load_dev_sets(config: Config, tokenizer: Tokenizer) -> tuple[DevSet, ...]:
    """Load the config's dev sets.

    Raises:
        UserError: one is empty or can't be read (DATA).
    """
    return tuple(_load_dev_set(source, config.data, config.train, tokenizer) for source in config.data.dev)


def _load_dev_set(source: Source, data: DataSettings, settings: TrainSettings, tokenizer: Tokenizer) -> DevSet:
    corpus = prepare([source], data, NO_CLEANING, tokenizer)
    pairs = list(islice(usable_pairs(source, data.src_lang, data.tgt_lang), settings.eval_sentences))
    batches = fixed_batches(corpus.src.lengths, corpus.tgt.lengths, batch_tokens=settings.batch_tokens)
    sources, references = map(list, zip(*pairs, strict=True))
    tgt_lang = data.languages_of(source)[1]
    for note in script_notes(tgt_lang, references):
        LOGGER.warning("%s: %s", reader(source).label, note)
    bleu_tokenizer = choose_bleu_tokenizer(tgt_lang, references)
    return DevSet(source, reader(source).label, corpus, batches, sources, references, bleu_tokenizer)


def log_summary(inputs: RunInputs) -> None:
    """Log data, tokenizer, model, epoch and machine."""
    corpus, tokenizer, settings = inputs.corpus, inputs.trained.tokenizer, inputs.settings
    lengths = corpus.src.lengths, corpus.tgt.lengths
    batches = inputs.first_batches()
    num_rows = len(inputs.mixture.order(settings.seed, epoch=0))
    num_batches = len(batches) * num_rows / sum(map(len, batches))  # of the epoch, of which these are a part
    steps_per_epoch = max(num_batches / settings.accumulate, 1)
    model = inputs.trained.model
    embeddings = nn.ModuleList([model.src_input, model.tgt_input])
    modules = {"embeddings": embeddings, "encoder": model.encoder, "decoder": model.decoder}
    total, *counts = (sum(p.numel() for p in module.parameters()) for module in (model, *modules.values()))
    parts = ", ".join(f"{name} {count:,}" for name, count in zip(modules, counts, strict=True))
    LOGGER.info("data        %s", corpus.summary())
    vocabulary = f"{tokenizer.src_vocab_size:,} source and {tokenizer.tgt_vocab_size:,} target pieces"
    LOGGER.info("tokenizer   %s%s", vocabulary, ", joint" if tokenizer.is_joint else "")
    LOGGER.info("model       %s parameters: %s", f"{total:,}", parts)
    LOGGER.info(
        "epoch       %s batches of %s target tokens, %.1f %% padding; %.1f epochs in %s steps",
        f"{num_batches:,.0f}", f"{inputs.mean_target_tokens(batches):,.0f}", 100 * padding_share(*lengths, batches),
        settings.max_steps / steps_per_epoch, f"{settings.max_steps:,}",
    )  # fmt: skip
    device, ranks = inputs.precision.device, inputs.group.size
    where = f"{ranks} ranks, each on {device}" if ranks > 1 else str(device)
    rate, threads = format_flops(inputs.matrix_rate), inputs.metadata["threads"]
    LOGGER.info("machine     %s, %s, %d threads; matrix products: %s", where, inputs.precision, threads, rate)
