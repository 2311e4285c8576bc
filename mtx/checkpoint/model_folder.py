"""The model folder: everything a translation needs, nothing a training needs; portable.

model.safetensors        weights, each once
config.json              sizes, languages, special ids
generation_config.json   how to search, and the longest source that the model has seen
spm.model                the tokenizer (source.spm and target.spm where the sides have one each)
manifest.json            sizes and sha256 of all of these
README.md                the model card, which its owner may edit
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field
from torch import Tensor

from mtx.checkpoint.tensors import load_tensors, save_tensors
from mtx.checkpoint.training import check_weights
from mtx.config.settings import DecodeSettings, Language, ModelSettings
from mtx.errors import ExitCode, UserError
from mtx.files.sealed import MANIFEST, open_sealed, sealed_folder
from mtx.files.untrusted import Schema, read_json
from mtx.model import Transformer
from mtx.model.fast.blank import blank_transformer, fill
from mtx.text.tokenizer import Tokenizer, load_tokenizer, tokenizer_files

CARD = "README.md"
WEIGHTS, CONFIG, GENERATION = "model.safetensors", "config.json", "generation_config.json"
MAX_JSON_BYTES = 1 << 20
MAX_SOURCE_TOKENS = 100_001
"""The most that `data.max_tokens` may be, and the end symbol: attention looks at every pair of tokens."""


class ModelDescription(BaseModel, extra="forbid", frozen=True, strict=True):
    """What `config.json` holds."""

    src_lang: Language
    tgt_lang: Language
    src_vocab_size: int
    tgt_vocab_size: int
    is_joint: bool
    pad_id: int
    bos_id: int
    eos_id: int
    model: ModelSettings


class GenerationDefaults(BaseModel, extra="forbid", frozen=True, strict=True):
    """What `generation_config.json` holds."""

    decode: DecodeSettings
    max_source_tokens: int = Field(ge=2, le=MAX_SOURCE_TOKENS)
    """The longest source of the training data, end symbol included; longer ones are translated in parts."""


@dataclass(frozen=True, slots=True)
class TrainedModel:
    """A model folder, loaded."""

    model: Transformer
    tokenizer: Tokenizer
    src_lang: str
    tgt_lang: str
    generation: GenerationDefaults


def save_model(
    folder: Path,
    trained: TrainedModel,
    settings: ModelSettings,
    weights: Mapping[str, Tensor],
    about: dict[str, Any],
    card: str,
) -> None:
    """Write `folder` with `weights` in place of the model's own; an older folder of that name is replaced.

    Raises:
        UserError: it can't be written (MACHINE).
    """
    tokenizer = trained.tokenizer
    config = ModelDescription(
        src_lang=trained.src_lang, tgt_lang=trained.tgt_lang, model=settings, **_shared_facts(tokenizer)
    )
    with sealed_folder(folder, about, unsealed=[CARD]) as new:
        save_tensors(new / WEIGHTS, weights)
        (new / CONFIG).write_text(config.model_dump_json(indent=1) + "\n", encoding="utf-8")
        (new / GENERATION).write_text(trained.generation.model_dump_json(indent=1) + "\n", encoding="utf-8")
        for name, data in tokenizer.files().items():
            (new / name).write_bytes(data)
        (new / CARD).write_text(card, encoding="utf-8")


def load_model(folder: Path) -> TrainedModel:
    """The model in `folder`, on the CPU, ready to translate.

    Raises:
        UserError: the folder is no model folder, or damaged, or its files do not belong together (MODEL).
    """
    open_sealed(folder, needed=(WEIGHTS, CONFIG, GENERATION, *tokenizer_files(folder)))
    config = _read_json(folder / CONFIG, ModelDescription)
    generation = _read_json(folder / GENERATION, GenerationDefaults)
    tokenizer = load_tokenizer(folder)
    for name, fact in _shared_facts(tokenizer).items():
        if getattr(config, name) != fact:
            what = f"config.json and the tokenizer differ: {name} {getattr(config, name)} and {fact}"
            raise UserError(ExitCode.MODEL, what, where=str(folder), do="Use the files of one model.")
    model = blank_transformer(
        config.model,
        src_vocab_size=config.src_vocab_size,
        tgt_vocab_size=config.tgt_vocab_size,
        pad_id=config.pad_id,
        is_joint=config.is_joint,
    )
    weights = load_tensors(folder / WEIGHTS)
    check_weights(model, weights, folder)
    fill(model, weights)
    return TrainedModel(model.eval(), tokenizer, config.src_lang, config.tgt_lang, generation)


def _shared_facts(tokenizer: Tokenizer) -> dict[str, Any]:
    """What `config.json` repeats of the tokenizer, for readers that have no SentencePiece."""
    names = ("src_vocab_size", "tgt_vocab_size", "is_joint", "pad_id", "bos_id", "eos_id")
    return {name: getattr(tokenizer, name) for name in names}


def _read_json(path: Path, schema: type[Schema]) -> Schema:
    try:
        return read_json(path, MAX_JSON_BYTES, schema)
    except (OSError, ValueError) as error:
        what = f"no model: {path.name} unusable: {error}"
        raise UserError(ExitCode.MODEL, what, where=str(path.parent), do="Copy it again.") from None


def find_model(given: Path | None, runs: Path) -> Path:
    """The model folder meant by `--model`: a model folder or a run folder; where none is given, the newest in `runs`.

    Raises:
        UserError: there is none, or it can't be looked at (MODEL).
    """
    try:
        return _newest_model(runs) if given is None else _model_folder(given)
    except OSError as error:
        what = f"cannot look for a model: {error.strerror}"
        raise UserError(ExitCode.MODEL, what, where=str(given or runs), do="Give another --model DIR.") from error


def _newest_model(runs: Path) -> Path:
    finished = sorted(runs.glob(f"*/model/{MANIFEST}"), key=lambda path: path.stat().st_mtime)
    if not finished:
        raise UserError(
            ExitCode.MODEL, "no finished model", where=str(runs), do="Train one with mtx train, or give --model DIR."
        )
    return finished[-1].parent


def _model_folder(given: Path) -> Path:
    if not os.path.isdir(given):
        what = "not a folder" if os.path.exists(given) else "no such folder"
        raise UserError(ExitCode.MODEL, what, where=str(given), do="Give a model folder or a run folder with --model.")
    if (given / "model" / MANIFEST).is_file():
        return given / "model"
    if (given / "checkpoints").is_dir():
        raise UserError(
            ExitCode.MODEL,
            "this run has no model yet",
            where=str(given),
            do="Run its mtx train command again to finish it.",
        )
    return given
