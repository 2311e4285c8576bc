"""Settings of decoding: those stored with a model, and the options of one command."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from mtx.config.limits import MAX_VOCAB_SIZE, Count


class DecodeSettings(BaseModel, extra="forbid", frozen=True, strict=True):
    """Beam search."""

    # Stored with a model. Options for one command alone belong in `DecodeOptions`.
    # A text beside a type is the option's flag on the command line.
    beam_size: Annotated[int, "--beam"] = Field(default=5, ge=1, le=1000, description="Hypotheses per step; 1: greedy.")
    length_penalty: Annotated[float, "--length-penalty"] = Field(
        default=1.0, ge=0, le=10, description="Hypotheses are ranked by log-probability / length ** length_penalty."
    )
    max_length_factor: float = Field(default=2.0, gt=0, le=20, description="Most tokens: factor * source + extra.")
    max_length_extra: int = Field(default=16, ge=1, le=1000, description="Most tokens: factor * source + extra.")

    def with_options(self, **given: Any) -> "DecodeOptions":
        """Return these settings, overridden and completed by what one command is given."""
        return DecodeOptions(**{**self.model_dump(), **given})


class DecodeOptions(DecodeSettings, extra="forbid", frozen=True, strict=True):
    """All that decides how sentences are translated: a model's settings, and options of a command or a caller."""

    n_best: Annotated[int, "--n-best"] = Field(
        default=1, ge=1, le=1000, description="Translations per sentence; above 1 needs --format jsonl."
    )
    batch_tokens: Annotated[Count, "--batch-tokens"] = Field(
        default=8192,
        description="Size limit of a batch: beam size or samples * padded source tokens, at least 16 per sentence.",
    )
    tag: Annotated[str | None, "--tag"] = Field(
        default=None, description="Tag to put before each source, such as 2de, for a model trained with several tags."
    )
    split: Annotated[Literal["auto", "always", "never"], "--split"] = Field(
        default="auto", description="Cut lines into sentences; auto: lines with more sentences than training lines."
    )
    copy_unlettered: Annotated[bool, "--copy-unlettered/--no-copy-unlettered"] = Field(
        default=True, description="Copy text without letters, such as numbers, instead of translating it."
    )
    mbr: Annotated[int, "--mbr"] = Field(
        default=0, ge=0, le=1000, description="Minimum Bayes risk: choose by chrF among N best or N samples; 0: off."
    )
    ensemble: Annotated[Literal["logprobs", "probs"], "--ensemble"] = Field(
        default="logprobs", description="Average several models by their log-probabilities or their probabilities."
    )
    sample: Annotated[bool, "--sample"] = Field(
        default=False, description="Sample translations by their probability instead of searching for the best."
    )
    temperature: Annotated[float, "--temperature"] = Field(
        default=1.0, ge=0.01, le=100, description="Sample by probability ** (1 / temperature): lower is safer."
    )
    top_k: Annotated[int, "--top-k"] = Field(
        default=0, ge=0, le=MAX_VOCAB_SIZE, description="Sample only from the K most probable tokens; 0: from all."
    )
    top_p: Annotated[float, "--top-p"] = Field(
        default=1.0, ge=0.01, le=1, description="Nucleus sampling: only from the best tokens up to this probability."
    )
    seed: Annotated[int, "--seed"] = Field(
        default=1, ge=0, le=2**32 - 1, description="Seed of sampling: the same seed gives the same translations."
    )
    samples: Annotated[int, "--samples"] = Field(
        default=1, ge=1, le=1000, description="Translations to sample per sentence; above 1 needs --format jsonl."
    )
    no_repeat_ngram: Annotated[int, "--no-repeat-ngram"] = Field(
        default=0, ge=0, le=1000, description="Never repeat an n-gram of N tokens within a sentence; 0: allow it."
    )
    repetition_penalty: Annotated[float, "--repetition-penalty"] = Field(
        default=1.0, ge=1, le=100, description="Multiply log-probabilities of tokens used before; scores include it."
    )
    min_length: Annotated[int, "--min-length"] = Field(
        default=0, ge=0, le=10_000, description="Fewest tokens of a sentence's translation, without the end symbol."
    )
    prefix: Annotated[str, "--prefix"] = Field(
        default="", description="Text that each translation begins with, such as that of a user who is typing."
    )
    beam_groups: Annotated[int, "--beam-groups"] = Field(
        default=1, ge=1, le=1000, description="Diverse beam search: N groups that look for different translations."
    )
    diversity_penalty: Annotated[float, "--diversity-penalty"] = Field(
        default=0.5, ge=0, le=100, description="Log-probability that a token loses for each use by an earlier group."
    )
    coverage_penalty: Annotated[float, "--coverage-penalty"] = Field(
        default=0.0, ge=0, le=100, description="Weight in the ranking of source tokens that get little attention."
    )
    with_scores: bool = True  # Whether greedy search computes log-probabilities, which takes 3 to 5 % of its time
    avoids_loops: bool = True  # Whether a sentence is searched again if its translation has a loop
    splits_long: bool = True  # Whether text longer than any training source is translated in parts, not cut off
    lookahead: int = 3
    """Free tokens that an unfinished hypothesis gets when it is decided whether it can still win.

    With beam 5, 3 tokens changed 1 translation of 1,000 and lowered its score by 0.003; 2 changed 10, and 5 none."""

    @property
    def width(self) -> int:
        """Rows of a sentence: samples, or hypotheses of the beam."""
        return self.samples if self.sample else self.beam_size
