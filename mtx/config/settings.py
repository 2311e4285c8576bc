"""Every setting of mtx: its name, type, range, default and description.

The models are frozen and strict: an unknown key or a value of another type is an error.
"""

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from mtx.config.decoding import DecodeSettings
from mtx.config.limits import MAX_COUNT, MAX_VOCAB_SIZE, Count
from mtx.config.sources import FilePath, HeldOutSets, Language, Source

HELD_OUT_ROLES = ("dev", "test")  # Keys under `data` of the sets that training must not see
ANY_RATIO = 1000.0  # Ratio of lengths that switches the rule off: no pair has a larger one

Share = Annotated[float, Field(ge=0, lt=1)]
Normalization = Literal["source", "nmt_nfkc", "nfkc", "nmt_nfkc_cf", "nfkc_cf", "identity", "lossless"]
LogTarget = Literal["tensorboard"]
OnBadRow = Literal["skip", "stop"]
Verdict = Literal["keep", "drop"]

# Sizes from the literature: `base` and `big` are in Table 3 of Vaswani et al. 2017, `tiny` is used for captions by
# Wu et al. 2021, `small` lies between.
PRESETS: dict[str, dict[str, int]] = {
    "tiny": {"d_model": 128, "num_heads": 4, "d_ff": 256, "encoder_layers": 4, "decoder_layers": 4},
    "small": {"d_model": 256, "num_heads": 4, "d_ff": 1024, "encoder_layers": 3, "decoder_layers": 3},
    "base": {"d_model": 512, "num_heads": 8, "d_ff": 2048, "encoder_layers": 6, "decoder_layers": 6},
    "big": {"d_model": 1024, "num_heads": 16, "d_ff": 4096, "encoder_layers": 6, "decoder_layers": 6},
}


class DataSettings(BaseModel, extra="forbid", frozen=True, strict=True):
    """The two languages and their parallel text."""

    src_lang: Language = Field(default="en", description="Code of the source language.")
    tgt_lang: Language = Field(default="de", description="Code of the target language.")
    train: Annotated[tuple[Source, ...], Field(strict=False, min_length=1)] = Field(
        description="Sources of training pairs, sampled by size and weight."
    )
    dev: HeldOutSets = Field(
        default=(),
        description="Pairs that select the best checkpoint, by the mean of the scores if there are several sets.",
    )
    test: HeldOutSets = Field(
        default=(), description="Pairs in one or more sets that `mtx evaluate` scores by default."
    )
    max_tokens: int = Field(default=256, ge=2, le=100_000, description="Drop pairs with more tokens on either side.")
    on_bad_row: OnBadRow = Field(
        default="skip",
        description="Rows that can't be read: skip and report them, up to 1 % of a source, or stop at the first.",
    )
    temperature: float = Field(
        default=1.0,
        ge=1,
        le=100,
        description="Temperature T: a source's share is weight * size ** (1/T); above 1, small ones are upsampled.",
    )

    @property
    def held_out(self) -> tuple[Source, ...]:
        """The dev and the test sets."""
        return (*self.dev, *self.test)

    def languages_of(self, source: Source) -> tuple[str, str]:
        """The source and the target language of `source`."""
        return source.languages(self.src_lang, self.tgt_lang)

    @property
    def all_languages(self) -> tuple[list[str], list[str]]:
        """The source languages and the target languages of all sources, each language once."""
        src, tgt = zip(*map(self.languages_of, (*self.train, *self.held_out)), strict=True)
        return list(dict.fromkeys(src)), list(dict.fromkeys(tgt))

    @model_serializer(mode="wrap")
    def _single_sets_without_list(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Write a single dev or test set without a list, and omit an empty one, as earlier versions did."""
        values = serialize(self)
        sets = {role: values[role] for role in HELD_OUT_ROLES if role in values}
        single = {role: given[0] for role, given in sets.items() if len(given) == 1}
        return {name: single.get(name, value) for name, value in values.items() if value or name not in sets}


# Values of the other keys at each level. Keys that are given win.
CLEANING: dict[str, dict[str, Any]] = {
    "none": {"duplicates": "keep", "max_ratio": ANY_RATIO, "damage": "keep"},
    "mild": {},
    "strict": {"max_ratio": 4.0, "copies": "drop", "script": "drop", "markup": "drop", "numbers": "drop"},
}


class CleanSettings(BaseModel, extra="forbid", frozen=True, strict=True):
    """Rules for dropping training pairs. Empty and overlong pairs are always dropped."""

    level: Literal["none", "mild", "strict"] = Field(default="mild", description="Defaults of keys that are not given.")
    duplicates: Literal["keep", "pair", "src", "tgt"] = Field(
        default="pair", description="Drop repetitions of a pair, or of the text on one side."
    )
    held_out: Literal["keep", "pair", "side"] = Field(
        default="keep", description="Drop what also occurs in dev or test: the whole pair, or either side."
    )
    max_ratio: float = Field(default=9.0, ge=1, le=ANY_RATIO, description="Drop pairs of a larger character ratio.")
    damage: Verdict = Field(default="drop", description="Pairs with traces of a wrong encoding.")
    letters: Verdict = Field(default="keep", description="Pairs with a side without any letter, such as a number.")
    copies: Verdict = Field(default="keep", description="Pairs with the same text on both sides.")
    script: Verdict = Field(default="keep", description="Pairs with a side in a script that its language does not use.")
    markup: Verdict = Field(default="keep", description="Pairs with HTML tags or entities on one side only.")
    numbers: Verdict = Field(default="keep", description="Pairs whose numbers differ.")
    language: Verdict = Field(default="keep", description="Pairs with a side in the wrong language; needs mtx[clean].")
    repair: bool = Field(default=False, description="Repair wrongly decoded text with ftfy; needs mtx[clean].")

    @model_validator(mode="before")
    @classmethod
    def _fill_level(cls, given: Any) -> Any:
        if isinstance(given, dict) and given.get("level") in CLEANING:
            return {**CLEANING[given["level"]], **given}
        return given


class TokenizerSettings(BaseModel, extra="forbid", frozen=True, strict=True):
    """The SentencePiece model, trained on the training pairs only."""

    vocab_size: int = Field(default=8000, ge=8, le=MAX_VOCAB_SIZE, description="Number of pieces with special symbols.")
    model_type: Literal["unigram", "bpe"] = Field(default="unigram", description="SentencePiece algorithm.")
    joint: bool = Field(default=True, description="Share one vocabulary; false: one for each language.")
    byte_fallback: bool = Field(default=True, description="Encode characters without a piece as bytes, not as unknown.")
    character_coverage: float = Field(default=1.0, ge=0.98, le=1.0, description="Share of characters that get a piece.")
    normalization: Normalization = Field(
        default="source",
        description="Unicode normalization. source: of source text only; identity: of spaces only; lossless: none.",
    )
    split_digits: bool = Field(default=True, description="Cut numbers into digits: unseen numbers can be copied.")
    sample_megabytes: int = Field(
        default=64, ge=1, le=100_000, description="Megabytes of text to sample; unigram needs 20 times the memory."
    )
    file: FilePath | None = Field(default=None, description="SentencePiece model to use instead of training one.")

    @model_validator(mode="after")
    def _keys_fit_together(self) -> Self:
        if self.file is not None and not self.joint:
            raise ValueError("tokenizer.joint must be true with tokenizer.file, which serves both languages")
        if self.normalization == "lossless" and not self.byte_fallback:
            raise ValueError("tokenizer.byte_fallback must be true if tokenizer.normalization is lossless")
        return self


class ModelSettings(BaseModel, extra="forbid", frozen=True, strict=True):
    """Size and regularization of the Transformer."""

    preset: Literal["tiny", "small", "base", "big"] | None = Field(
        default=None, description="Named sizes from the literature; keys that are given win."
    )
    d_model: int = Field(default=256, ge=2, le=16384, description="Width of the residual stream.")
    num_heads: int = Field(default=4, ge=1, le=1024, description="Attention heads; must divide d_model.")
    d_ff: int = Field(default=1024, ge=1, le=262_144, description="Inner width of the feed-forward sub-layer.")
    encoder_layers: int = Field(default=3, ge=1, le=200, description="Number of encoder layers.")
    decoder_layers: int = Field(default=3, ge=1, le=200, description="Number of decoder layers.")
    dropout: Share = Field(default=0.1, description="Dropout on embeddings and sub-layer outputs.")
    attention_dropout: Share = Field(default=0.0, description="Dropout on attention weights.")
    activation_dropout: Share = Field(default=0.0, description="Dropout inside the feed-forward sub-layer.")
    norm: Literal["pre", "post"] = Field(
        default="pre", description="Layer normalization before each sub-layer, or after it as in the paper."
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
            raise ValueError(f"model.d_model ({self.d_model}) must be even: each position is half sines, half cosines")
        return self


class TrainSettings(BaseModel, extra="forbid", frozen=True, strict=True, allow_inf_nan=False):
    """Optimization, validation, logging and checkpoints."""

    max_steps: Count = Field(default=5000, description="Number of optimizer steps.")
    batch_tokens: int = Field(default=4096, ge=8, le=MAX_COUNT, description="Limit of a batch: padded tokens per side.")
    accumulate: int = Field(default=1, ge=1, le=1_000_000, description="Batches per step; their gradients are added.")
    lr: float = Field(default=1e-3, gt=0, le=1e30, description="Peak learning rate.")
    warmup_steps: int = Field(default=1000, ge=0, le=MAX_COUNT, description="Steps of linear warm-up.")
    schedule: Literal["inverse_sqrt", "cosine", "constant"] = Field(
        default="inverse_sqrt", description="Decay after warm-up; the paper uses inverse_sqrt."
    )
    loss: Literal["cross_entropy"] = Field(default="cross_entropy", description="Loss named in mtx/train/loss.py.")
    label_smoothing: Share = Field(default=0.1, description="Probability mass spread over the vocabulary.")
    weight_decay: float = Field(default=0.0, ge=0, le=1000, description="Decoupled decay of weight matrices only.")
    adam_beta1: Share = Field(default=0.9, description="Decay of Adam's first moment.")
    adam_beta2: Share = Field(default=0.98, description="Decay of Adam's second moment.")
    adam_eps: float = Field(default=1e-9, ge=1e-20, le=1, description="Term added to Adam's denominator.")
    clip_norm: float = Field(default=1.0, gt=0, le=1e9, description="Larger gradients are scaled down to this norm.")
    skip_spikes: bool = Field(
        default=False, description="Skip steps with a loss or gradient norm 6 standard deviations above the last 128."
    )
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        default="auto", description="Number format of the forward pass; auto: bf16 where the device is fast with it."
    )
    compile: Literal["auto", "always", "never"] = Field(default="auto", description="Use torch.compile; auto: on GPUs.")
    device: str = Field(default="auto", description="auto, cpu, cuda or cuda:N.")
    parallel: Literal["ddp", "fsdp"] = Field(
        default="ddp", description="On several devices, ddp copies the weights; fsdp shards them (for large models)."
    )
    seed: int = Field(default=1, ge=0, lt=2**32, description="Seed of weights, dropout and the order of the data.")
    eval_every: Count = Field(default=500, description="Steps between validations; each saves a checkpoint first.")
    eval_sentences: Count = Field(default=500, description="Number of dev pairs to translate in a validation, at most.")
    eval_beam: int = Field(default=1, ge=1, le=100, description="Beam size in validations; 1 is greedy search.")
    save_every: Count = Field(default=500, description="Steps between checkpoints.")
    log_every: Count = Field(default=50, description="Steps between log lines.")
    log_to: Annotated[tuple[LogTarget, ...], Field(strict=False)] = Field(
        default=(),
        description="Where the numbers of metrics.jsonl go, too: [tensorboard] into RUN/tensorboard, if installed.",
    )
    keep: int = Field(default=2, ge=2, le=MAX_COUNT, description="Newest checkpoints to keep, in addition to the best.")
    patience: int = Field(default=0, ge=0, le=MAX_COUNT, description="Stop after N validations without gain; 0: never.")
    average: int = Field(default=5, ge=1, le=1000, description="Average the last N checkpoints, if better; 1: never.")


class Config(BaseModel, extra="forbid", frozen=True, strict=True):
    """All settings of a run."""

    data: DataSettings
    clean: CleanSettings = CleanSettings()
    tokenizer: TokenizerSettings = TokenizerSettings()
    model: ModelSettings = ModelSettings()
    train: TrainSettings = TrainSettings()
    decode: DecodeSettings = DecodeSettings()
