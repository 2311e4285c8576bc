"""The config that `mtx init` writes, with the dev and test sets beside it."""

import os
import shlex
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any

from mtx.config.document import dump_line
from mtx.config.settings import Config, DataSettings
from mtx.config.sources import HubDataset, Source
from mtx.data.cleaning.clean import HeldOutKeys, held_out_sources
from mtx.data.sources.read import is_same_text, read_pairs, reader
from mtx.errors import ExitCode, UserError, escape_controls
from mtx.files.atomic import write_file
from mtx.init.corpus_stats import CorpusStats, scan
from mtx.init.recipe import RecipeSetting, choose_settings
from mtx.init.split import set_size, split
from mtx.model import build_transformer
from mtx.model.fast import for_training
from mtx.system.device import choose_device, choose_precision, use_threads
from mtx.system.formats import format_duration
from mtx.system.logs import LOGGER
from mtx.system.memory import ONEDNN_KERNELS_TRAINING, limit_onednn_cache
from mtx.train.estimate import Estimate, Sizes, estimate

MAX_BATCH, MIN_BATCH = 32_768, 1_024
"""Tokens per batch to try on a GPU: larger batches than the first are no faster; the second is used untested."""

LETTERS_PER_TOKEN = 4  # Typical with a trained vocabulary, which does not exist yet
FEW_PAIRS = 100  # Number of pairs below which a model only memorizes them
LONG_SECONDS = 24 * 3600  # Duration on a CPU above which the config says how to shorten the run
COMMENT_COLUMN = 44  # Column of comments; longer values push theirs to the right


@dataclass(frozen=True, slots=True)
class InitRequest:
    """The arguments of `mtx init`."""

    data: DataSettings
    output: Path  # The config to write
    device: str
    command: Sequence[str]  # The command line, for the header of the config


def write_config(request: InitRequest) -> Path:
    """Write a config for the data of `request`, with the dev and test sets it lacks beside it.

    Raises:
        UserError: a file to write already exists (USAGE); a source can't be read or has no usable pairs (DATA); a file
            can't be written (MACHINE).
    """
    data = request.data
    set_files = {role: _set_files(request, role) for role in ("dev", "test") if getattr(data, role) is None}
    _check_outputs([request.output, *(path for paths in set_files.values() for path in paths)])
    kind = choose_device(request.device).type
    stats, held_out = _scan(data)
    LOGGER.info("found       %s", stats.summary)
    sizes = [set_size(stats.num_pairs)] * len(set_files)
    sets = dict(zip(set_files, split(stats.sample, sizes, held_out), strict=True))
    for role, pairs in sets.items():
        LOGGER.info("%-11s %s pairs split off", role, f"{len(pairs):,}")
    if stats.num_pairs < FEW_PAIRS:
        LOGGER.warning("fewer than %d pairs: a model can only memorize them, and scores mean nothing", FEW_PAIRS)
    recipe, cost = _fit_to_memory(stats, request.device, kind)
    for line in cost.format():
        LOGGER.info("estimate    %s", line)
    new_sets = {role: set_files[role] for role, pairs in sets.items() if pairs}
    settings = [*_data_settings(request, stats, new_sets), *recipe]
    if request.device != "auto":
        settings.append(RecipeSetting("train", "device", request.device, "as given to mtx init"))
    config = _commented_yaml(_header(request, stats, cost, kind), settings)
    texts = {
        path: lines
        for role, paths in new_sets.items()
        for path, lines in zip(paths, zip(*sets[role], strict=True), strict=True)
    }
    _write_all({**texts, request.output: config})
    return request.output


def _scan(data: DataSettings) -> tuple[CorpusStats, HeldOutKeys]:
    """Scan the training data except pairs of the given dev and test sets; also return the sentences of these.

    Raises:
        UserError: see `scan`; a dev or test set is training data itself (USAGE).
    """
    languages = data.src_lang, data.tgt_lang
    given = held_out_sources(data)
    for source in (*data.train, *given):
        reader(source).check(*languages)
    if any(is_same_text(source, other) for source in given for other in data.train):
        what, do = "a dev or test set is a file of the training data", "Leave it out: mtx init splits one off."
        raise UserError(ExitCode.USAGE, what, do=do)
    pairs = [pair for source in given for pair in read_pairs(source, *languages)]
    stats = scan(data.train, *languages, HeldOutKeys.of(pairs, "pair"))
    return stats, HeldOutKeys.of(pairs, "side")


# --- settings and their cost -----------------------------------------------------------------------------------------


def _fit_to_memory(stats: CorpusStats, device_name: str, kind: str) -> tuple[list[RecipeSetting], Estimate]:
    """Choose settings and estimate their cost; halve the batch until it fits into the memory of the device."""
    batch_tokens = MAX_BATCH
    while True:
        settings = choose_settings(stats, kind, batch_tokens)
        cost = _estimate(settings, stats, device_name)
        # The recipe may want less than the memory allows.
        chosen = next(each.value for each in settings if (each.section, each.key) == ("train", "batch_tokens"))
        if not cost.num_splits or chosen <= MIN_BATCH:
            return settings, cost
        batch_tokens = max(chosen // 2, MIN_BATCH)


def _estimate(settings: Sequence[RecipeSetting], stats: CorpusStats, device_name: str) -> Estimate:
    """Estimate the cost of a run with `settings`, without training a vocabulary: its size is enough."""
    sections: dict[str, dict[str, Any]] = {"data": {"train": [{"demo": "train"}]}, "train": {"device": device_name}}
    for each in settings:
        sections.setdefault(each.section, {})[each.key] = each.value
    config = Config.model_validate(sections)
    use_threads()
    limit_onednn_cache(ONEDNN_KERNELS_TRAINING)
    precision = choose_precision(config.train.precision, choose_device(device_name))
    vocab_size, is_joint = config.tokenizer.vocab_size, config.tokenizer.joint
    src_length, tgt_length = (max(round(letters / LETTERS_PER_TOKEN), 1) + 1 for letters in stats.mean_letters)
    pairs_per_batch = max(config.train.batch_tokens / max(src_length, tgt_length), 1)
    num_batches = ceil(stats.num_pairs / pairs_per_batch)  # a small corpus does not fill even one
    sizes = Sizes(vocab_size, vocab_size, src_length, tgt_length, stats.num_pairs * tgt_length / max(num_batches, 1))
    model = build_transformer(
        config.model, src_vocab_size=vocab_size, tgt_vocab_size=vocab_size, pad_id=0, is_joint=is_joint
    )
    for_training(model).to(precision.device)
    return estimate(model, sizes, config.train, precision)


# --- the text of the config ------------------------------------------------------------------------------------------


def _header(request: InitRequest, stats: CorpusStats, cost: Estimate, kind: str) -> Iterator[str]:
    data = request.data
    time_text, memory_text = cost.format()
    yield f"purpose   {data.src_lang} to {data.tgt_lang}, {stats.num_pairs:,} distinct pairs."
    yield f"command   {shlex.join(['mtx', 'train', '--config', str(request.output)])}"
    yield f"made by   {shlex.join(request.command)}"
    yield f"data      {stats.summary}"
    yield f"time      {time_text} (measured on this machine's {kind})"
    yield f"memory    {memory_text}"
    if cost.seconds > LONG_SECONDS and kind == "cpu":
        yield (
            f"          {format_duration(cost.seconds)} is long: lower train.max_steps (which may cost quality), "
            "or model.encoder_layers and model.decoder_layers, or use a GPU."
        )


def _data_settings(
    request: InitRequest, stats: CorpusStats, new_sets: dict[str, tuple[Path, Path]]
) -> Iterator[RecipeSetting]:
    data, folder = request.data, request.output.parent
    train = [_relative_source(source, folder) for source in data.train]
    yield RecipeSetting("data", "src_lang", data.src_lang)
    yield RecipeSetting("data", "tgt_lang", data.tgt_lang)
    yield RecipeSetting("data", "train", train, f"{stats.num_read:,} pairs")
    for role, purpose in (("dev", "chooses the best checkpoint"), ("test", "scored by mtx evaluate")):
        given: Source | None = getattr(data, role)
        if role in new_sets:
            src, tgt = (path.name for path in new_sets[role])
            yield RecipeSetting("data", role, {"src": src, "tgt": tgt}, f"{purpose}; a random sample, split off")
        elif given is not None:
            yield RecipeSetting("data", role, _relative_source(given, folder), purpose)
    if new_sets:
        reason = "training sees no sentence of dev or test, ignoring case and punctuation"
        yield RecipeSetting("clean", "held_out", "side", reason)
    elif held_out_sources(data):
        yield RecipeSetting("clean", "held_out", "pair", "training sees no pair of dev or test")


def _relative_source(source: Source, folder: Path) -> dict[str, Any]:
    """The keys of `source` in a config in `folder`, to which paths given as relative become relative."""
    keys = {key: _relative(value, folder) for key, value in source.model_dump(exclude_defaults=True).items()}
    if isinstance(source, HubDataset) and os.path.exists(source.dataset):
        keys["dataset"] = _relative(Path(source.dataset), folder)
    return keys


def _relative(value: Any, folder: Path) -> Any:
    if not isinstance(value, Path):
        return value
    return str(value) if value.is_absolute() else os.path.relpath(value, folder)


def _commented_yaml(header: Iterable[str], settings: Iterable[RecipeSetting]) -> list[str]:
    """The lines of a config: a header of comments, then the settings by section with their reasons as comments."""
    sections: dict[str, list[str]] = {}
    for each in settings:
        text = f"  {each.key}: {dump_line(each.value)}"
        comment = f"  # {escape_controls(each.reason)}" if each.reason else ""
        sections.setdefault(each.section, []).append(f"{text:<{COMMENT_COLUMN}}{comment}".rstrip())
    comments = [f"# {escape_controls(line)}".rstrip() for line in header]
    return [*comments, *(line for name, lines in sections.items() for line in (f"{name}:", *lines))]


# --- files -----------------------------------------------------------------------------------------------------------


def _set_files(request: InitRequest, role: str) -> tuple[Path, Path]:
    """The files for the two sides of a dev or test set: OUTPUT.ROLE.LANGUAGE."""
    src, tgt = request.data.src_lang, request.data.tgt_lang
    sides = (src, tgt) if src != tgt else ("src", "tgt")
    return request.output.with_suffix(f".{role}.{sides[0]}"), request.output.with_suffix(f".{role}.{sides[1]}")


def _check_outputs(paths: Sequence[Path]) -> None:
    """Check that no file at `paths` exists yet, but their folders do.

    Raises:
        UserError: the check failed (USAGE).
    """
    for path in paths:
        if not path.parent.is_dir():
            raise UserError(ExitCode.USAGE, "no such folder", where=str(path.parent), do="Create it, or give another.")
        if os.path.lexists(path):
            what, do = "file already exists; mtx init never overwrites", "Give another --output, or move it away."
            raise UserError(ExitCode.USAGE, what, where=str(path), do=do)


def _write_all(texts: dict[Path, Sequence[str]]) -> None:
    """Write lines to files: all of them, or none.

    Raises:
        UserError: a file can't be written (MACHINE).
    """
    written: list[Path] = []
    try:
        for path, lines in texts.items():
            write_file(path, "".join(f"{line}\n" for line in lines).encode("utf-8", "surrogateescape"))
            written.append(path)
    except BaseException:
        for path in written:
            path.unlink(missing_ok=True)
        raise
