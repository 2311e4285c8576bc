"""A config for a corpus that nobody has seen: it is looked at and split, settings are chosen and measured."""

import os
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any

from mtx.config.settings import Config, DataSettings
from mtx.config.sources import HubDataset, Source
from mtx.data.cleaning.held_out import HeldOutTexts, held_out_sources
from mtx.data.sources.read import check_source, is_same_text, read_pairs
from mtx.errors import ExitCode, UserError
from mtx.files.atomic import write_file
from mtx.init.commented import Line, commented
from mtx.init.corpus_stats import Looked, look
from mtx.init.recipe import Choice, choose
from mtx.init.split import set_size, split
from mtx.model import build_transformer
from mtx.model.fast import for_training
from mtx.system.device import choose_device, choose_precision, use_threads
from mtx.system.formats import format_duration
from mtx.system.logs import LOGGER
from mtx.system.memory import ONEDNN_KERNELS_TRAINING, limit_onednn_cache
from mtx.train.estimate import Estimate, Sizes, estimate

LARGEST_BATCH, SMALLEST_BATCH = 32_768, 1_024
"""Tokens that a GPU is given at once: as many as it has memory for, up to where more are no faster."""

LETTERS_A_TOKEN = 4
"""About so many letters make a token, once a vocabulary is trained."""

FEW_PAIRS = 100
"""With fewer nothing can be learnt but these."""

LONG_SECONDS = 24 * 3600
"""A training that takes longer on a CPU needs a word."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What somebody wants a config for."""

    data: DataSettings
    output: Path
    """The config to write."""
    device: str
    command: Sequence[str]
    """The command line that asks for it."""


def propose(wish: Wish) -> Path:
    """Look at the data of `wish`, split off what is missing of dev and test, and write them and a config.

    Raises:
        UserError: something lies where a file is to be written (USAGE); a source can't be read, or there is nothing in
            it (DATA); a file can't be written (MACHINE).
    """
    files = {role: _set_files(wish, role) for role in ("dev", "test") if getattr(wish.data, role) is None}
    _check_places([wish.output, *(path for paths in files.values() for path in paths)])
    device = choose_device(wish.device)
    looked, given = _look(wish.data)
    LOGGER.info("found       %s", looked.summary)
    size = set_size(looked.facts.num_pairs)
    sets = dict(zip(files, split(looked.drawn, [size] * len(files), given), strict=True))
    sets = {role: pairs for role, pairs in sets.items() if pairs}
    for role in files:
        LOGGER.info("%-11s %s pairs split off", role, f"{len(sets.get(role, [])):,}")
    if looked.facts.num_pairs < FEW_PAIRS:
        what = "a model can only learn these by heart, and scores say nothing"
        LOGGER.warning("fewer than %d pairs: %s", FEW_PAIRS, what)
    choices, measured = _choose(looked, wish.device, device.type)
    text = _text(wish, looked, {role: files[role] for role in sets}, choices, measured, device.type)
    for line in measured.lines():
        LOGGER.info("estimate    %s", line)
    texts = {
        path: "".join(f"{line}\n" for line in lines)
        for role, pairs in sets.items()
        for path, lines in zip(files[role], zip(*pairs, strict=True), strict=True)
    }
    _write_all({**texts, wish.output: text})
    return wish.output


def _look(data: DataSettings) -> tuple[Looked, HeldOutTexts]:
    """What is in the training data, and what is given to be held out of it.

    Raises:
        UserError: see `look`; a set that is given is training data itself (USAGE).
    """
    languages = data.src_lang, data.tgt_lang
    given = held_out_sources(data)
    for source in (*data.train, *given):
        check_source(source, *languages)
    for source in given:
        if any(is_same_text(source, other) for other in data.train):
            what, do = "a dev or test set is a file of the training data", "Leave it out: mtx init splits one off."
            raise UserError(ExitCode.USAGE, what, do=do)
    pairs = [pair for source in given for pair in read_pairs(source, *languages)]
    looked = look(data.train, *languages, HeldOutTexts.of(pairs, "pair"))
    return looked, HeldOutTexts.of(pairs, "side")


# --- choices and their price -----------------------------------------------------------------------------------------


def _choose(looked: Looked, device_name: str, kind: str) -> tuple[list[Choice], Estimate]:
    """The recipe's choices, and what they take here; batches are made smaller until they fit into the memory."""
    batch_tokens = LARGEST_BATCH
    while True:
        choices = choose(looked.facts, kind, batch_tokens)
        measured = _measure(choices, looked, device_name)
        # The recipe may want less than it may have.
        chosen = next(choice.value for choice in choices if (choice.section, choice.key) == ("train", "batch_tokens"))
        if not measured.num_cuts or chosen <= SMALLEST_BATCH:
            return choices, measured
        batch_tokens = max(chosen // 2, SMALLEST_BATCH)


def _measure(choices: Sequence[Choice], looked: Looked, device_name: str) -> Estimate:
    """What a training by `choices` takes. The vocabulary that it would have is not trained: its size is enough."""
    sections: dict[str, dict[str, Any]] = {"data": {"train": [{"demo": "train"}]}, "train": {"device": device_name}}
    for choice in choices:
        sections.setdefault(choice.section, {})[choice.key] = choice.value
    config = Config.model_validate(sections)
    use_threads()
    limit_onednn_cache(ONEDNN_KERNELS_TRAINING)
    precision = choose_precision(config.train.precision, choose_device(device_name))
    vocab_size, is_joint = config.tokenizer.vocab_size, config.tokenizer.joint
    src_length, tgt_length = (max(round(letters / LETTERS_A_TOKEN), 1) + 1 for letters in looked.mean_letters)
    room, num_tokens = config.train.batch_tokens / max(src_length, tgt_length), looked.facts.num_pairs * tgt_length
    num_batches = ceil(looked.facts.num_pairs / max(room, 1))  # which a small corpus does not fill
    sizes = Sizes(vocab_size, vocab_size, src_length, tgt_length, num_tokens / max(num_batches, 1))
    model = build_transformer(
        config.model, src_vocab_size=vocab_size, tgt_vocab_size=vocab_size, pad_id=0, is_joint=is_joint
    )
    for_training(model).to(precision.device)
    return estimate(model, sizes, config.train, precision)


# --- what is written -------------------------------------------------------------------------------------------------


def _text(
    wish: Wish,
    looked: Looked,
    files: dict[str, tuple[Path, Path]],
    choices: Sequence[Choice],
    measured: Estimate,
    kind: str,
) -> str:
    data, folder = wish.data, wish.output.parent
    sections: dict[str, list[Line]] = {
        "data": [
            Line("src_lang", data.src_lang),
            Line("tgt_lang", data.tgt_lang),
            Line("train", [_as_written(source, folder) for source in data.train], f"{looked.num_read:,} pairs"),
        ],
        "clean": [],
        "tokenizer": [],
        "model": [],
        "train": [],
    }
    for role, what in (("dev", "chooses the best checkpoint"), ("test", "what mtx evaluate scores")):
        given: Source | None = getattr(data, role)
        if role in files:
            src, tgt = (path.name for path in files[role])
            sections["data"].append(Line(role, {"src": src, "tgt": tgt}, f"{what}; split off, evenly and at random"))
        elif given is not None:
            sections["data"].append(Line(role, _as_written(given, folder), what))
    if files:
        why = "training sees no sentence of dev or test, whatever its case and punctuation"
        sections["clean"].append(Line("held_out", "side", why))
    elif held_out_sources(data):
        sections["clean"].append(Line("held_out", "pair", "training sees no pair of dev or test"))
    for choice in choices:
        sections[choice.section].append(Line(choice.key, choice.value, choice.reason))
    if wish.device != "auto":
        sections["train"].append(Line("device", wish.device, "as given to mtx init"))
    return commented(list(_header(wish, looked, measured, kind)), sections)


def _header(wish: Wish, looked: Looked, measured: Estimate, kind: str) -> Iterator[str]:
    data = wish.data
    yield f"purpose   {data.src_lang} to {data.tgt_lang}, {looked.facts.num_pairs:,} different pairs."
    yield f"command   {shlex.join(['mtx', 'train', '--config', str(wish.output)])}"
    yield f"made by   {shlex.join(wish.command)}"
    yield f"data      {looked.summary}"
    time_text, memory_text = measured.lines()
    yield f"time      {time_text} (measured on this machine's {kind})"
    yield f"memory    {memory_text}"
    if measured.seconds > LONG_SECONDS and kind == "cpu":
        yield (
            f"          {format_duration(measured.seconds)} is long: lower train.max_steps (which may cost quality), "
            "or model.encoder_layers and model.decoder_layers, or use a GPU."
        )


def _as_written(source: Source, folder: Path) -> dict[str, Any]:
    """`source` as it stands in a config in `folder`: what was given as a relative path is relative to that."""
    written = {key: _from(value, folder) for key, value in source.model_dump(exclude_defaults=True).items()}
    if isinstance(source, HubDataset) and os.path.exists(source.dataset):
        written["dataset"] = _from(Path(source.dataset), folder)
    return written


def _from(value: Any, folder: Path) -> Any:
    if not isinstance(value, Path):
        return value
    return str(value) if value.is_absolute() else os.path.relpath(value, folder)


def _set_files(wish: Wish, role: str) -> tuple[Path, Path]:
    """Where the two sides of a set go that is split off."""
    src, tgt = wish.data.src_lang, wish.data.tgt_lang
    sides = (src, tgt) if src != tgt else ("src", "tgt")
    return wish.output.with_suffix(f".{role}.{sides[0]}"), wish.output.with_suffix(f".{role}.{sides[1]}")


def _check_places(paths: Sequence[Path]) -> None:
    """Make sure that nothing lies where something is to be written, and that the folder for it is there.

    Raises:
        UserError: (USAGE) not so.
    """
    for path in paths:
        if not path.parent.is_dir():
            raise UserError(ExitCode.USAGE, "no such folder", where=str(path.parent), do="Make it, or give another.")
        if os.path.lexists(path):
            do = "Give another --output, or move it away."
            raise UserError(ExitCode.USAGE, "mtx init overwrites nothing, and this is there", where=str(path), do=do)


def _write_all(texts: dict[Path, str]) -> None:
    """Write all files, or none.

    Raises:
        UserError: one can't be written (MACHINE).
    """
    written: list[Path] = []
    try:
        for path, text in texts.items():
            write_file(path, text.encode("utf-8", "surrogateescape"))
            written.append(path)
    except BaseException:
        for path in written:
            path.unlink(missing_ok=True)
        raise
