"""Every setting of mtx: its name, type, meaning, range and default, defined here and nowhere else.

The tree is frozen and strict: an unknown key or a value of another type is an error. No torch.
"""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, Discriminator, Field, Tag, model_validator

FilePath = Annotated[Path, Field(strict=False)]
"""A path given as text; `reading` makes it absolute."""

LANGUAGE_PATTERN = r"^[A-Za-z][A-Za-z0-9_-]{0,31}$"
Language = Annotated[str, Field(pattern=LANGUAGE_PATTERN)]

MAX_COUNT = 1_000_000_000
"""The largest number of steps, tokens or sentences: what is counted in 64 bits cannot overflow."""

MAX_VOCAB_SIZE = 500_000

# The sizes of the literature. `base` and `big` are Table 3 of Vaswani et al. 2017; `tiny` is the one of
# Wu et al. 2021 for captions; `small` lies between.
PRESETS: dict[str, dict[str, int]] = {
    "tiny": {"d_model": 128, "num_heads": 4, "d_ff": 256, "encoder_layers": 4, "decoder_layers": 4},
    "small": {"d_model": 256, "num_heads": 4, "d_ff": 1024, "encoder_layers": 3, "decoder_layers": 3},
    "base": {"d_model": 512, "num_heads": 8, "d_ff": 2048, "encoder_layers": 6, "decoder_layers": 6},
    "big": {"d_model": 1024, "num_heads": 16, "d_ff": 4096, "encoder_layers": 6, "decoder_layers": 6},
}


Encoding = Literal[
    "utf-8", "latin-1", "iso-8859-2", "iso-8859-5", "iso-8859-7", "iso-8859-9", "iso-8859-15",
    "cp1250", "cp1251", "cp1252", "koi8-r",
]  # fmt: skip
"""How text may be encoded: those in which the byte LF is a line end and nothing else."""

Weight = Annotated[float, Field(gt=0, le=1000, description="How often its pairs come in an epoch.")]
TagName = Annotated[
    str | None,
    Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,31}$", description="Symbol before its sources: 2de gives <2de>."),
]


class TwoFiles(BaseModel, extra="forbid", frozen=True, strict=True):
    """Two files of text, plain or packed (gz, xz, zst); line n of one translates line n of the other."""

    src: FilePath = Field(description="File with the source sentences, one a line.")
    tgt: FilePath = Field(description="File with the target sentences, one a line.")
    encoding: Encoding = Field(default="utf-8", description="Encoding of both files.")
    weight: Weight = 1.0
    tag: TagName = None


class Tsv(BaseModel, extra="forbid", frozen=True, strict=True):
    """One file with tab-separated columns; quotes mean nothing."""

    tsv: FilePath = Field(description="File with one pair a line, columns separated by tabs.")
    src: int = Field(default=1, ge=1, le=10_000, description="Column of the source sentence, counted from 1.")
    tgt: int = Field(default=2, ge=1, le=10_000, description="Column of the target sentence, counted from 1.")
    encoding: Encoding = Field(default="utf-8", description="Encoding of the file.")
    weight: Weight = 1.0
    tag: TagName = None


class Jsonl(BaseModel, extra="forbid", frozen=True, strict=True):
    """One file with a JSON object a line."""

    jsonl: FilePath = Field(description="File with one JSON object a line.")
    src: str | None = Field(default=None, description="Field of the source; default: src, or the language code.")
    tgt: str | None = Field(default=None, description="Field of the target; default: tgt, or the language code.")
    weight: Weight = 1.0
    tag: TagName = None


class Tmx(BaseModel, extra="forbid", frozen=True, strict=True):
    """A translation memory in TMX; units that lack one of the two languages count as empty."""

    tmx: FilePath = Field(description="TMX file, plain or packed.")
    src: str | None = Field(default=None, description="xml:lang of the source; default: the language code.")
    tgt: str | None = Field(default=None, description="xml:lang of the target; default: the language code.")
    weight: Weight = 1.0
    tag: TagName = None


class Zip(BaseModel, extra="forbid", frozen=True, strict=True):
    """A zip archive of OPUS in Moses format, or of one TMX file; it is read where it is, not unpacked."""

    zip: FilePath = Field(description="Zip archive with a file for each language, or a TMX file.")
    src: str | None = Field(default=None, description="Source file in it; default: the one that ends in the code.")
    tgt: str | None = Field(default=None, description="Target file in it; default: the one that ends in the code.")
    weight: Weight = 1.0
    tag: TagName = None


class Folder(BaseModel, extra="forbid", frozen=True, strict=True):
    """All parallel files in a folder, by their names: FILE.en and FILE.de, .tsv, .jsonl, .tmx, .zip, .parquet."""

    folder: FilePath = Field(description="Folder with files of any of these kinds, plain or packed.")
    match: str = Field(
        default="*", min_length=1, description="Names to take, such as *.tmx; **/* for those below, too."
    )
    weight: Weight = 1.0
    tag: TagName = None


class HubDataset(BaseModel, extra="forbid", frozen=True, strict=True):
    """What Hugging Face `datasets` loads: a hub id or a local folder. The only source that may use a network."""

    dataset: str = Field(
        min_length=1, description="Hub id (owner/name), or a local folder or file of Arrow or Parquet."
    )
    name: str | None = Field(default=None, description="Configuration of the data set, where it has several.")
    split: str = Field(default="train", description="Split of the data set.")
    src: str | None = Field(default=None, description="Column of the source; default: the language code.")
    tgt: str | None = Field(default=None, description="Column of the target; default: the language code.")
    streaming: bool = Field(default=False, description="Read it from the hub as it goes, without keeping it.")
    weight: Weight = 1.0
    tag: TagName = None


class Demo(BaseModel, extra="forbid", frozen=True, strict=True):
    """A split of the embedded synthetic English-German corpus."""

    demo: Literal["train", "dev", "test", "pronouns"] = Field(description="Split of the embedded corpus.")
    weight: Weight = 1.0
    tag: TagName = None


def _kind_of_source(value: Any) -> str:
    """Which kind of source `value` is, by the key that only this kind has."""
    for kind in ("tsv", "jsonl", "tmx", "zip", "folder", "dataset", "demo"):
        if (isinstance(value, dict) and kind in value) or hasattr(value, kind):
            return kind
    return "files"


Source = Annotated[
    Annotated[TwoFiles, Tag("files")]
    | Annotated[Tsv, Tag("tsv")]
    | Annotated[Jsonl, Tag("jsonl")]
    | Annotated[Tmx, Tag("tmx")]
    | Annotated[Zip, Tag("zip")]
    | Annotated[Folder, Tag("folder")]
    | Annotated[HubDataset, Tag("dataset")]
    | Annotated[Demo, Tag("demo")],
    Discriminator(_kind_of_source),
]


class DataSettings(BaseModel, extra="forbid", frozen=True, strict=True):
    """The languages and where their parallel text lies."""

    src_lang: Language = Field(default="en", description="Code of the source language.")
    tgt_lang: Language = Field(default="de", description="Code of the target language.")
    train: Annotated[tuple[Source, ...], Field(strict=False, min_length=1)] = Field(
        description="Sources of training pairs, mixed by their size and weight."
    )
    dev: Source | None = Field(default=None, description="Pairs that choose the best checkpoint.")
    test: Source | None = Field(default=None, description="Pairs that `mtx evaluate` scores by default.")
    max_tokens: int = Field(
        default=256, ge=2, le=100_000, description="Pairs with a side longer than this many tokens are dropped."
    )
    temperature: float = Field(
        default=1.0, ge=1, le=100, description="Draw from each source as often as its size ** (1 / this); 1: evenly."
    )


ANY_RATIO = 1000.0
"""Of lengths: none is larger, so no pair is dropped for it."""

# What is dropped at each level; a key given beside the level wins.
CLEANING: dict[str, dict[str, Any]] = {
    "none": {"duplicates": "keep", "max_ratio": ANY_RATIO, "damage": "keep"},
    "mild": {},
    "strict": {"max_ratio": 4.0, "copies": "drop", "script": "drop", "markup": "drop", "numbers": "drop"},
}

Verdict = Literal["keep", "drop"]


class CleanSettings(BaseModel, extra="forbid", frozen=True, strict=True):
    """Which training pairs are dropped, beside empty and long ones: see `mtx data check`."""

    level: Literal["none", "mild", "strict"] = Field(
        default="mild", description="Values of the other keys by name; keys given beside it win."
    )
    duplicates: Literal["keep", "pair", "src", "tgt"] = Field(
        default="pair", description="Drop what came before: the same pair, or the same text on one side."
    )
    held_out: Literal["keep", "pair", "side"] = Field(
        default="keep", description="Drop what dev or test holds: the same pair, or a pair with the same side."
    )
    max_ratio: float = Field(
        default=9.0,
        ge=1,
        le=ANY_RATIO,
        description="Drop pairs of which one side is so many times as long, in letters.",
    )
    damage: Verdict = Field(default="drop", description="Pairs with characters that a wrong encoding has left.")
    copies: Verdict = Field(default="keep", description="Pairs whose two sides are the same text.")
    script: Verdict = Field(default="keep", description="Pairs with a side in another script than its language's.")
    markup: Verdict = Field(default="keep", description="Pairs with tags or entities of HTML on one side only.")
    numbers: Verdict = Field(default="keep", description="Pairs whose numbers do not agree.")
    language: Verdict = Field(
        default="keep", description="Pairs with a side in another language; needs the extra mtx[clean]."
    )
    repair: bool = Field(
        default=False, description="Mend text that was decoded wrongly, by ftfy; needs the extra mtx[clean]."
    )

    @model_validator(mode="before")
    @classmethod
    def _fill_level(cls, given: Any) -> Any:
        if isinstance(given, dict) and given.get("level") in CLEANING:
            return {**CLEANING[given["level"]], **given}
        return given


class TokenizerSettings(BaseModel, extra="forbid", frozen=True, strict=True):
    """The SentencePiece model, trained on the training pairs alone."""

    vocab_size: int = Field(default=8000, ge=8, le=MAX_VOCAB_SIZE, description="Pieces, special symbols included.")
    model_type: Literal["unigram", "bpe"] = Field(default="unigram", description="SentencePiece algorithm.")
    joint: bool = Field(default=True, description="One vocabulary for both languages; false: one for each.")
    byte_fallback: bool = Field(
        default=True, description="Spell characters without a piece as bytes: nothing is unknown."
    )
    character_coverage: float = Field(default=1.0, ge=0.98, le=1.0, description="Share of characters that get a piece.")
    normalization: Literal["nmt_nfkc", "nfkc", "nmt_nfkc_cf", "nfkc_cf", "identity", "lossless"] = Field(
        default="nmt_nfkc",
        description="Unicode normalisation before the text is cut; identity changes spaces only, lossless nothing.",
    )
    sample_megabytes: int = Field(
        default=64,
        ge=1,
        le=100_000,
        description="Text to train it on at most, drawn evenly from all; unigram takes 20 times as much memory.",
    )
    file: FilePath | None = Field(default=None, description="A SentencePiece model to use instead of training one.")

    @model_validator(mode="after")
    def _file_is_joint(self) -> Self:
        if self.file is not None and not self.joint:
            raise ValueError("tokenizer.joint must be true beside tokenizer.file, one vocabulary for both languages")
        return self

    @model_validator(mode="after")
    def _lossless_spells_in_bytes(self) -> Self:
        if self.normalization == "lossless" and not self.byte_fallback:
            raise ValueError("tokenizer.byte_fallback must be true where tokenizer.normalization is lossless")
        return self


class ModelSettings(BaseModel, extra="forbid", frozen=True, strict=True):
    """Size and regularisation of the Transformer."""

    preset: Literal["tiny", "small", "base", "big"] | None = Field(
        default=None, description="Sizes by their name in the literature; keys given beside it win."
    )
    d_model: int = Field(default=256, ge=2, le=16384, description="Width of the residual stream.")
    num_heads: int = Field(default=4, ge=1, le=1024, description="Attention heads; must divide d_model.")
    d_ff: int = Field(default=1024, ge=1, le=262_144, description="Inner width of the feed-forward sub-layer.")
    encoder_layers: int = Field(default=3, ge=1, le=200, description="Layers of the encoder.")
    decoder_layers: int = Field(default=3, ge=1, le=200, description="Layers of the decoder.")
    dropout: float = Field(default=0.1, ge=0, lt=1, description="Dropout on embeddings and on each sub-layer's output.")
    attention_dropout: float = Field(default=0.0, ge=0, lt=1, description="Dropout on attention weights.")
    activation_dropout: float = Field(default=0.0, ge=0, lt=1, description="Dropout inside the feed-forward sub-layer.")
    norm: Literal["pre", "post"] = Field(
        default="pre", description="Layer normalisation before each sub-layer, or after it as in the paper."
    )

    @model_validator(mode="before")
    @classmethod
    def _fill_preset(cls, given: Any) -> Any:
        if isinstance(given, dict) and given.get("preset") in PRESETS:
            return {**PRESETS[given["preset"]], **given}
        return given

    @model_validator(mode="after")
    def _heads_divide_width(self) -> Self:
        if self.d_model % self.num_heads:
            raise ValueError(f"model.d_model ({self.d_model}) must be a multiple of model.num_heads ({self.num_heads})")
        if self.d_model % 2:
            raise ValueError(
                f"model.d_model ({self.d_model}) must be even: half of each position is sines, half cosines"
            )
        return self


class TrainSettings(BaseModel, extra="forbid", frozen=True, strict=True, allow_inf_nan=False):
    """How the model is trained, logged and saved."""

    max_steps: int = Field(default=5000, ge=1, le=MAX_COUNT, description="Optimizer updates.")
    batch_tokens: int = Field(
        default=4096, ge=8, le=MAX_COUNT, description="Padded tokens of either side in a batch, at most."
    )
    accumulate: int = Field(default=1, ge=1, le=1_000_000, description="Batches whose gradients make one update.")
    lr: float = Field(default=1e-3, gt=0, le=1e30, description="Peak learning rate.")
    warmup_steps: int = Field(default=1000, ge=0, le=MAX_COUNT, description="Updates of linear warm-up to the peak.")
    schedule: Literal["inverse_sqrt", "cosine", "constant"] = Field(
        default="inverse_sqrt", description="Learning rate after warm-up; the paper's is inverse_sqrt."
    )
    label_smoothing: float = Field(default=0.1, ge=0, lt=1, description="Probability mass spread over the vocabulary.")
    weight_decay: float = Field(
        default=0.0, ge=0, le=1000, description="Decoupled decay of weight matrices (not biases or norms)."
    )
    adam_beta1: float = Field(default=0.9, ge=0, lt=1, description="Decay of Adam's first moment.")
    adam_beta2: float = Field(default=0.98, ge=0, lt=1, description="Decay of Adam's second moment.")
    adam_eps: float = Field(default=1e-9, ge=1e-20, le=1, description="Term added to Adam's denominator.")
    clip_norm: float = Field(default=1.0, gt=0, le=1e9, description="Largest norm of an update's gradient.")
    skip_spikes: bool = Field(
        default=False, description="Skip updates whose loss or gradient is 6 deviations above those of the last 128."
    )
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        default="auto", description="Arithmetic of the forward pass; auto: bf16 where the device is fast at it."
    )
    compile: Literal["auto", "always", "never"] = Field(
        default="auto", description="Let torch compile the layers before training; auto: on a GPU, where that pays."
    )
    device: str = Field(default="auto", description="auto, cpu, cuda or cuda:N.")
    parallel: Literal["ddp", "fsdp"] = Field(
        default="ddp",
        description="With several devices: ddp, each has all weights; fsdp, a part of them, for what does not fit.",
    )
    seed: int = Field(default=1, ge=0, lt=2**32, description="Seeds weights, dropout and the order of the data.")
    eval_every: int = Field(
        default=500, ge=1, le=MAX_COUNT, description="Updates between validations; each saves first."
    )
    eval_sentences: int = Field(
        default=500, ge=1, le=MAX_COUNT, description="Dev pairs that are decoded at a validation, at most."
    )
    eval_beam: int = Field(default=1, ge=1, le=100, description="Beam of the decoding at a validation; 1 is greedy.")
    save_every: int = Field(default=500, ge=1, le=MAX_COUNT, description="Updates between checkpoints.")
    log_every: int = Field(default=50, ge=1, le=MAX_COUNT, description="Updates between log lines.")
    keep: int = Field(default=2, ge=2, le=MAX_COUNT, description="Newest checkpoints that are kept, beside the best.")
    patience: int = Field(
        default=0, ge=0, le=MAX_COUNT, description="Stop after this many validations without a better one; 0: never."
    )
    average: int = Field(
        default=5,
        ge=1,
        le=1000,
        description="Average the last N checkpoints at the end, if dev says that it is better; 1: no.",
    )


class DecodeSettings(BaseModel, extra="forbid", frozen=True, strict=True):
    """How translations are searched."""

    beam_size: int = Field(default=5, ge=1, le=1000, description="Hypotheses alive at each step; 1 is greedy search.")
    length_penalty: float = Field(
        default=1.0, ge=0, le=10, description="A hypothesis is ranked by log-probability / length ** length_penalty."
    )
    max_length_factor: float = Field(
        default=2.0, gt=0, le=20, description="Longest output: factor x source tokens + extra."
    )
    max_length_extra: int = Field(
        default=16, ge=1, le=1000, description="Longest output: factor x source tokens + extra."
    )


class Config(BaseModel, extra="forbid", frozen=True, strict=True):
    """All settings of a run."""

    data: DataSettings
    clean: CleanSettings = CleanSettings()
    tokenizer: TokenizerSettings = TokenizerSettings()
    model: ModelSettings = ModelSettings()
    train: TrainSettings = TrainSettings()
    decode: DecodeSettings = DecodeSettings()
