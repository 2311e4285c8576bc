"""The model folder: portable, with everything that translating needs and nothing that only training needs.

model.safetensors        the weights
config.json              sizes, languages, special ids
generation_config.json   defaults of the search; length of the longest training source, sentences per training source
spm.model                the tokenizer (source.spm and target.spm if each side has its own)
manifest.json            size and SHA-256 of each file above
README.md                the model card, which may be edited
"""

import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, Field
from torch import Tensor

from mtx.checkpoint.tensors import check_weights, load_tensors, save_tensors
from mtx.config.decoding import DecodeSettings
from mtx.config.settings import ModelSettings
from mtx.config.sources import Language
from mtx.errors import ExitCode, UserError
from mtx.files.sealed import MANIFEST, open_sealed, sealed_folder
from mtx.files.untrusted import Schema, UnknownKeyError, read_json
from mtx.model import Transformer, build_transformer
from mtx.model.fast.blank import blank_weights, fill
from mtx.text.sentences import MAX_COUNTED_SENTENCES
from mtx.text.tokenizer import Tokenizer, load_tokenizer, tokenizer_files

WEIGHTS, CONFIG, GENERATION, CARD = "model.safetensors", "config.json", "generation_config.json", "README.md"
MAX_JSON_BYTES = 1 << 20
REASON = b"Search settings: "  # Beginning of the last line of the card of a tuned model
MAX_SOURCE_TOKENS = 100_001  # Maximum of `data.max_tokens`, plus the end symbol. Attention needs the square of it
# Share of the training sources that must have N or more sentences for the model to translate N together. A model that
# saw two in 0.01 % of its sources left out every other sentence. The demo's, which saw two in 8 %, needs both to
# resolve a pronoun: translated one by one, 11 % of its pronouns were wrong instead of none
TAUGHT_SHARE = 0.05
TOKENIZER_FIELDS = ("src_vocab_size", "tgt_vocab_size", "is_joint", "pad_id", "bos_id", "eos_id")


class ModelDescription(BaseModel, extra="forbid", frozen=True, strict=True):
    """Content of `config.json`."""

    src_lang: Language
    tgt_lang: Language
    src_vocab_size: int
    tgt_vocab_size: int
    is_joint: bool
    pad_id: int
    bos_id: int
    eos_id: int
    model: ModelSettings
    tag_languages: dict[str, Language] = {}  # Target language of each tag, unless it is `tgt_lang`


class GenerationDefaults(BaseModel, extra="forbid", frozen=True, strict=True):
    """Content of `generation_config.json`."""

    decode: DecodeSettings
    # Length of the longest training source, including the end symbol; longer input is translated in parts
    max_source_tokens: int = Field(ge=2, le=MAX_SOURCE_TOKENS)
    # Numbers of training sources with 1 sentence, 2, …, 16 or more, in a sample; empty in older models
    sentences_per_source: tuple[Annotated[int, Field(ge=0)], ...] = Field(default=(), max_length=MAX_COUNTED_SENTENCES)

    @property
    def max_sentences(self) -> int:
        """The most sentences that the model has learnt to translate together, see `TAUGHT_SHARE`; 1 if unknown."""
        least = TAUGHT_SHARE * sum(self.sentences_per_source)
        num_with_as_many = accumulate(reversed(self.sentences_per_source))
        return max(1, sum(count >= least for count in num_with_as_many))


@dataclass(frozen=True, slots=True)
class TrainedModel:
    """A loaded model folder."""

    model: Transformer
    tokenizer: Tokenizer
    src_lang: str
    tgt_lang: str
    generation: GenerationDefaults
    tag_languages: Mapping[str, str] = field(default_factory=dict)
    """Target language of each tag, unless it is `tgt_lang`."""

    def language_of(self, tag: str | None) -> str:
        """The target language of a tag, or that without a tag."""
        return self.tag_languages.get(tag or "", self.tgt_lang)


def save_model(
    folder: Path,
    trained: TrainedModel,
    settings: ModelSettings,
    weights: Mapping[str, Tensor],
    metadata: dict[str, Any],
    card: str,
) -> None:
    """Write a model folder with `weights` instead of the model's own; replace an older folder.

    `metadata` goes into the manifest, and `card` into README.md.

    Raises:
        UserError: it can't be written (MACHINE).
    """
    fields = {name: getattr(trained.tokenizer, name) for name in TOKENIZER_FIELDS}
    fields |= {name: getattr(trained, name) for name in ("src_lang", "tgt_lang", "tag_languages")}
    config = ModelDescription(model=settings, **fields)
    unused = set() if trained.tag_languages else {"tag_languages"}  # so that older versions can read the folder
    with sealed_folder(folder, metadata, unsealed=[CARD]) as new:
        save_tensors(new / WEIGHTS, weights)
        (new / CONFIG).write_text(config.model_dump_json(indent=1, exclude=unused) + "\n", encoding="utf-8")
        (new / GENERATION).write_text(trained.generation.model_dump_json(indent=1) + "\n", encoding="utf-8")
        for name, data in trained.tokenizer.files.items():
            (new / name).write_bytes(data)
        (new / CARD).write_text(card, encoding="utf-8")


def set_decode(folder: Path, decode: DecodeSettings, reason: str = "") -> None:
    """Replace the defaults of the search in a model folder, and the line of the card that gives a `reason` for them.

    Everything else in the folder stays, such as files of others; if `folder` is a link, it stays one.

    Raises:
        UserError: it is damaged (MODEL), or can't be written (MACHINE).
    """
    folder = Path(os.path.realpath(folder))
    about = open_sealed(folder, needed=(GENERATION,))
    generation = _read_json(folder / GENERATION, GenerationDefaults).model_copy(update={"decode": decode})
    sealed = {WEIGHTS, CONFIG, GENERATION, *tokenizer_files(folder)}
    others = [path.name for path in folder.iterdir() if path.name not in sealed]
    with sealed_folder(folder, about, unsealed=others) as new:
        shutil.copytree(folder, new, symlinks=True, dirs_exist_ok=True)
        for name in (MANIFEST, GENERATION):
            (new / name).unlink()
        (new / GENERATION).write_text(generation.model_dump_json(indent=1) + "\n", encoding="utf-8")
        if (new / CARD).exists():
            card = re.sub(rb"\n\n%b.*" % REASON, b"", (new / CARD).read_bytes())
            (new / CARD).unlink()
            (new / CARD).write_bytes(card + b"\n%b%b\n" % (REASON, reason.encode()) if reason else card)


def load_model(folder: Path) -> TrainedModel:
    """Load the model in `folder` onto the CPU, in evaluation mode.

    Raises:
        UserError: it is not a model folder, or damaged, or mixes files of different models (MODEL).
    """
    open_sealed(folder, needed=(WEIGHTS, CONFIG, GENERATION, *tokenizer_files(folder)))
    config = _read_json(folder / CONFIG, ModelDescription)
    generation = _read_json(folder / GENERATION, GenerationDefaults)
    tokenizer = load_tokenizer(folder)
    for name in TOKENIZER_FIELDS:
        described, actual = getattr(config, name), getattr(tokenizer, name)
        if described != actual:
            what = f"config.json and the tokenizer differ: {name} {described} and {actual}"
            raise UserError(ExitCode.MODEL, what, where=str(folder), do="Use the files of one model.")
    with blank_weights():
        model = build_transformer(
            config.model,
            src_vocab_size=config.src_vocab_size,
            tgt_vocab_size=config.tgt_vocab_size,
            pad_id=config.pad_id,
            is_joint=config.is_joint,
        )
    weights = load_tensors(folder / WEIGHTS)
    check_weights(model, weights, folder)
    fill(model, weights)
    return TrainedModel(model.eval(), tokenizer, config.src_lang, config.tgt_lang, generation, config.tag_languages)


def _read_json(path: Path, schema: type[Schema]) -> Schema:
    try:
        return read_json(path, MAX_JSON_BYTES, schema)
    except (OSError, ValueError) as error:
        what = f"{path.name} is unusable: {error}"
        is_other = isinstance(error, UnknownKeyError)
        do = f"Use the version of mtx that wrote it: see {MANIFEST}." if is_other else "Copy it again."
        raise UserError(ExitCode.MODEL, what, where=str(path.parent), do=do) from None


def find_model(given: Path | None, runs: Path) -> Path:
    """Find the model folder for `--model`, which may name a run folder; without it, the newest model under `runs`.

    Raises:
        UserError: there is none, or it can't be read (MODEL).
    """
    try:
        if given is not None:
            return _model_folder(given)
        finished = sorted(runs.glob(f"*/model/{MANIFEST}"), key=lambda path: path.stat().st_mtime)
    except OSError as error:
        what = f"cannot search for a model: {error.strerror}"
        raise UserError(ExitCode.MODEL, what, where=str(given or runs), do="Give another --model DIR.") from error
    if not finished:
        do = "Train one with mtx train, or give --model DIR."
        raise UserError(ExitCode.MODEL, "no finished model", where=str(runs), do=do)
    return finished[-1].parent


def _model_folder(given: Path) -> Path:
    if not os.path.isdir(given):
        what = "not a folder" if os.path.exists(given) else "no such folder"
        raise UserError(ExitCode.MODEL, what, where=str(given), do="Give a model folder or a run folder with --model.")
    if (given / "model" / MANIFEST).is_file():
        return given / "model"
    if (given / "checkpoints").is_dir():
        do = "Run its mtx train command again to finish it."
        raise UserError(ExitCode.MODEL, "this run has no model yet", where=str(given), do=do)
    return given
