"""The config that `mtx init` writes, with the dev and test sets beside it."""

import os
import shlex
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from itertools import chain
from math import ceil
from pathlib import Path
from typing import Any

from mtx.config.document import dump_line
from mtx.config.settings import Config, DataSettings
from mtx.config.sources import Csv, HubDataset, Source, Tsv
from mtx.data.check.diagnose import problems_of_first_pairs
from mtx.data.cleaning.clean import HeldOutKeys
from mtx.data.sources.read import is_same_text, read_pairs, reader
from mtx.errors import ExitCode, UserError, escape_controls
from mtx.files.atomic import new_file
from mtx.init.corpus_stats import CorpusStats, scan
from mtx.init.recipe import Settings, choose_settings
from mtx.init.split import set_size, split
from mtx.model import build_transformer
from mtx.model.fast import for_training
from mtx.system.device import choose_device, choose_precision, use_threads
from mtx.system.formats import format_duration
from mtx.system.logs import LOGGER
from mtx.system.memory import ONEDNN_KERNELS_TRAINING, limit_onednn_cache
from mtx.train.estimate import Estimate, Sizes, estimate

MAX_BATCH = 32_768  # Tokens per batch to try first on a GPU: larger batches are no faster
MIN_BATCH = 1_024  # Tokens per batch that are used without testing whether they fit
LETTERS_PER_TOKEN = 4  # Typical with a trained vocabulary, which does not exist yet
FEW_PAIRS = 100  # Number of pairs below which a model only memorizes them
LONG_SECONDS = 24 * 3600  # Duration on a CPU above which the config says how to shorten the run
COMMENT_COLUMN = 44  # Column of comments; longer values push theirs to the right


def write_config(data: DataSettings, output: Path, device: str, command: Sequence[str]) -> list[str]:
    """Write a config for `data`, with the dev and test sets it lacks beside it: OUTPUT.ROLE.LANGUAGE.

    The header of the config shows `command`, the command line, and the problems of the data, which are returned.

    Raises:
        UserError: a file to write already exists (USAGE); a source can't be read or has no usable pairs (DATA); a file
            can't be written (MACHINE).
    """
    sides = (data.src_lang, data.tgt_lang) if data.src_lang != data.tgt_lang else ("src", "tgt")
    missing = [role for role in ("dev", "test") if not getattr(data, role)]
    files = {role: [output.with_suffix(f".{role}.{side}") for side in sides] for role in missing}
    _check_outputs([output, *chain.from_iterable(files.values())])
    kind = choose_device(device).type
    stats, held_out = _scan(data)
    problems = [*stats.problems, *problems_of_first_pairs(Config(data=data))]
    LOGGER.info("found       %s", stats.summary)
    sets = split(stats.sample, [set_size(stats.num_pairs)] * len(missing), held_out)
    new_sets: dict[str, list[Path]] = {}
    texts: dict[Path, Iterable[str]] = {}
    for role, pairs in zip(missing, sets, strict=True):
        LOGGER.info("%-11s %s pairs split off", role, f"{len(pairs):,}")
        if pairs:
            new_sets[role] = files[role]
            texts |= zip(files[role], zip(*pairs, strict=True), strict=True)
    if stats.num_pairs < FEW_PAIRS:
        LOGGER.warning("fewer than %d pairs: a model can only memorize them, and scores mean nothing", FEW_PAIRS)
    recipe, cost = _fit_to_memory(stats, device, kind)
    for line in cost.format():
        LOGGER.info("estimate    %s", line)
    sections = _data_settings(data, stats, output.parent, new_sets)
    sections["data"] |= recipe.pop("data")
    sections |= recipe
    if device != "auto":
        sections["train"]["device"] = device, "as given to mtx init"
    header = [
        f"purpose   {data.src_lang} to {data.tgt_lang}, {stats.num_pairs:,} distinct pairs.",
        f"command   {shlex.join(['mtx', 'train', '--config', str(output)])}",
        f"made by   {shlex.join(command)}",
        f"data      {stats.summary}",
        *(f"problem   {problem}" for problem in problems),
        *_cost_lines(cost, kind),
    ]
    _write_all({output: _commented_yaml(header, sections), **texts})
    return problems


def _scan(data: DataSettings) -> tuple[CorpusStats, HeldOutKeys]:
    """Scan the training data except pairs of the given dev and test sets; also return the sentences of these.

    Raises:
        UserError: see `scan`; a dev or test set is training data itself (USAGE).
    """
    languages = data.src_lang, data.tgt_lang
    for source in (*data.train, *data.held_out):
        reader(source).check(*languages)
    if any(is_same_text(source, other) for source in data.held_out for other in data.train):
        what, do = "a dev or test set is a file of the training data", "Leave it out: mtx init splits one off."
        raise UserError(ExitCode.USAGE, what, do=do)
    pairs = [pair for source in data.held_out for pair in read_pairs(source, *languages)]
    stats = scan(data.train, *languages, HeldOutKeys.of(pairs, "pair"))
    return stats, HeldOutKeys.of(pairs, "side")


def _fit_to_memory(stats: CorpusStats, device_name: str, kind: str) -> tuple[dict[str, Settings], Estimate]:
    """Choose settings and estimate their cost; halve the batch until it fits into the memory of the device."""
    batch_tokens = MAX_BATCH
    while True:
        recipe = choose_settings(stats, kind, batch_tokens)
        cost = _estimate(recipe, stats, device_name)
        chosen = recipe["train"]["batch_tokens"][0]  # the recipe may want less than the memory allows
        if not cost.num_splits or chosen <= MIN_BATCH:
            return recipe, cost
        batch_tokens = max(chosen // 2, MIN_BATCH)


def _estimate(recipe: dict[str, Settings], stats: CorpusStats, device_name: str) -> Estimate:
    """Estimate the cost of a run by `recipe`, without training a vocabulary: its size is enough."""
    values = {name: {key: value for key, (value, _) in section.items()} for name, section in recipe.items()}
    config = Config.model_validate(values | {"data": {"train": [{"demo": "train"}]}})
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


def _cost_lines(cost: Estimate, kind: str) -> Iterator[str]:
    time_text, memory_text = cost.format()
    yield f"time      {time_text} (measured on this machine's {kind})"
    yield f"memory    {memory_text}"
    if cost.seconds > LONG_SECONDS and kind == "cpu":
        yield (
            f"          {format_duration(cost.seconds)} is long: lower train.max_steps (which may cost quality), "
            "or model.encoder_layers and model.decoder_layers, or use a GPU."
        )


def _data_settings(
    data: DataSettings, stats: CorpusStats, folder: Path, new_sets: dict[str, list[Path]]
) -> dict[str, Settings]:
    """Describe the data in a config in `folder`; `new_sets` are the files of the sets split off."""
    settings: Settings = {"src_lang": (data.src_lang, ""), "tgt_lang": (data.tgt_lang, "")}
    settings["train"] = [_relative_source(source, folder) for source in data.train], f"{stats.num_read:,} pairs"
    for role, purpose in (("dev", "chooses the best checkpoint"), ("test", "scored by mtx evaluate")):
        given = [_relative_source(source, folder) for source in getattr(data, role)]
        if role in new_sets:
            src, tgt = (path.name for path in new_sets[role])
            settings[role] = {"src": src, "tgt": tgt}, f"{purpose}; a random sample, split off"
        elif given:
            settings[role] = given if len(given) > 1 else given[0], purpose
    if new_sets:
        reason = "training sees no sentence of dev or test, ignoring case and punctuation"
        return {"data": settings, "clean": {"held_out": ("side", reason)}}
    if data.held_out:
        return {"data": settings, "clean": {"held_out": ("pair", "training sees no pair of dev or test")}}
    return {"data": settings}


def _relative_source(source: Source, folder: Path) -> dict[str, Any]:
    """The keys of `source` in a config in `folder`, to which paths given as relative become relative."""
    keys = source.model_dump(exclude_defaults=True)
    if isinstance(source, Tsv | Csv) and {"src", "tgt"} & keys.keys():
        keys = source.model_dump(include={*keys, "src", "tgt"})  # both columns, even if one is the default
    if isinstance(source, HubDataset) and os.path.exists(source.dataset):
        keys["dataset"] = Path(source.dataset)
    for key, value in keys.items():
        if isinstance(value, Path):
            keys[key] = str(value) if value.is_absolute() else os.path.relpath(value, folder)
    return keys


def _commented_yaml(header: Iterable[str], sections: dict[str, Settings]) -> Iterator[str]:
    """The lines of a config: a header of comments, then the settings by section with their reasons as comments."""
    for line in header:
        yield f"# {escape_controls(line)}".rstrip()
    for name, settings in sections.items():
        yield f"{name}:"
        for key, (value, reason) in settings.items():
            comment = f"  # {escape_controls(reason)}" if reason else ""
            yield f"{f'  {key}: {dump_line(value)}':<{COMMENT_COLUMN}}{comment}".rstrip()


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


def _write_all(texts: dict[Path, Iterable[str]]) -> None:
    """Write lines to files: all of them, or none.

    Raises:
        UserError: a file can't be written (MACHINE).
    """
    with ExitStack() as files:
        for path, lines in texts.items():
            file = files.enter_context(new_file(path))
            file.writelines(f"{line}\n".encode("utf-8", "surrogateescape") for line in lines)
            file.flush()  # so that a full disk is noticed before the first file appears
