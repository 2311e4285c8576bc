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

from pydantic import BaseModel, ValidationError
from torch import Tensor

from mtx.checkpoint.sealed import load_tensors, open_sealed, save_tensors, sealed_folder
from mtx.checkpoint.training import load_weights
from mtx.config.settings import DecodeSettings, ModelSettings
from mtx.errors import ExitCode, UserError
from mtx.model import Transformer, build_transformer
from mtx.tokenizer import Tokenizer, load_tokenizer

CARD = "README.md"


class ModelDescription(BaseModel, extra="forbid", frozen=True):
    """What `config.json` holds."""

    src_lang: str
    tgt_lang: str
    src_vocab_size: int
    tgt_vocab_size: int
    is_joint: bool
    pad_id: int
    bos_id: int
    eos_id: int
    model: ModelSettings


class GenerationDefaults(BaseModel, extra="forbid", frozen=True):
    """What `generation_config.json` holds."""

    decode: DecodeSettings
    max_source_tokens: int
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
        src_lang=trained.src_lang,
        tgt_lang=trained.tgt_lang,
        src_vocab_size=tokenizer.src_vocab_size,
        tgt_vocab_size=tokenizer.tgt_vocab_size,
        is_joint=tokenizer.is_joint,
        pad_id=tokenizer.pad_id,
        bos_id=tokenizer.bos_id,
        eos_id=tokenizer.eos_id,
        model=settings,
    )
    with sealed_folder(folder, about, unsealed=[CARD]) as new:
        save_tensors(new / "model.safetensors", weights)
        (new / "config.json").write_text(config.model_dump_json(indent=1) + "\n", encoding="utf-8")
        (new / "generation_config.json").write_text(
            trained.generation.model_dump_json(indent=1) + "\n", encoding="utf-8"
        )
        for name, data in tokenizer.files().items():
            (new / name).write_bytes(data)
        (new / CARD).write_text(card, encoding="utf-8")


def load_model(folder: Path) -> TrainedModel:
    """The model in `folder`, on the CPU, ready to translate.

    Raises:
        UserError: the folder is no model folder, or damaged (MODEL).
    """
    open_sealed(folder)
    try:
        config = ModelDescription.model_validate_json((folder / "config.json").read_bytes())
        generation = GenerationDefaults.model_validate_json((folder / "generation_config.json").read_bytes())
    except (OSError, ValidationError) as error:
        raise UserError(
            ExitCode.MODEL,
            "no model: config.json or generation_config.json unusable",
            where=str(folder),
            do="Copy it again.",
        ) from error
    tokenizer = load_tokenizer(folder)
    if (tokenizer.src_vocab_size, tokenizer.tgt_vocab_size) != (config.src_vocab_size, config.tgt_vocab_size):
        raise UserError(
            ExitCode.MODEL,
            "tokenizer and weights differ in vocabulary",
            where=str(folder),
            do="Use the files of one model.",
        )
    model = build_transformer(
        config.model,
        src_vocab_size=config.src_vocab_size,
        tgt_vocab_size=config.tgt_vocab_size,
        pad_id=config.pad_id,
        is_joint=config.is_joint,
    )
    load_weights(model, load_tensors(folder / "model.safetensors"), folder)
    return TrainedModel(model.eval(), tokenizer, config.src_lang, config.tgt_lang, generation)


def find_model(given: Path | None, runs: Path) -> Path:
    """The model folder meant by `--model`: a model folder or a run folder; where none is given, the newest in `runs`.

    Raises:
        UserError: there is none (MODEL).
    """
    if given is None:
        finished = sorted(runs.glob("*/model/manifest.json"), key=lambda path: path.stat().st_mtime)
        if not finished:
            raise UserError(
                ExitCode.MODEL,
                "no finished model",
                where=str(runs),
                do="Train one with mtx train, or give --model DIR.",
            )
        return finished[-1].parent
    if not os.path.isdir(given):
        what = "not a folder" if os.path.exists(given) else "no such folder"
        raise UserError(ExitCode.MODEL, what, where=str(given), do="Give a model folder or a run folder with --model.")
    if (given / "model" / "manifest.json").is_file():
        return given / "model"
    if (given / "checkpoints").is_dir():
        raise UserError(
            ExitCode.MODEL,
            "this run has no model yet",
            where=str(given),
            do="Run its mtx train command again to finish it.",
        )
    return given
