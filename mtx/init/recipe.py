"""Settings that fit a corpus: by the number of its pairs, from recipes that are known to work.

Rows for 30,000, 160,000 and 4.5 million pairs are published: Wu et al. 2021 (captions), fairseq's IWSLT'14 and
Ott et al. 2018; those between are interpolated from Araabi & Monz 2020, Sennrich & Zhang 2019 and
Provilkov et al. 2020; the last follows systems of WMT. The shape of a model and the learning rate that belongs to it
are those of the nearest row; other numbers are interpolated in the logarithm of the pairs. Below the first row
vocabulary and updates shrink with the root of the pairs, which is a guess.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class Row:
    """What suits so many pairs."""

    pairs: int
    vocab_size: int
    layers: tuple[int, int]
    d_model: int
    d_ff: int
    num_heads: int
    dropout: float
    inner_dropout: float
    """On attention weights, and inside the feed-forward sub-layer."""
    label_smoothing: float
    update_tokens: int
    """Target tokens of an update."""
    lr: float
    warmup_steps: int
    max_steps: int
    schedule: str = "inverse_sqrt"
    norm: str = "pre"
    weight_decay: float = 0.0


TABLE = (
    Row(10_000, 3_000, (4, 4), 256, 512, 4, 0.35, 0.1, 0.2, 2_000, 1e-3, 1_000, 15_000),
    Row(30_000, 8_000, (4, 4), 128, 256, 4, 0.3, 0.0, 0.1, 8_000, 5e-3, 2_000, 10_000),
    Row(160_000, 9_000, (6, 6), 512, 1024, 4, 0.3, 0.1, 0.1, 4_000, 5e-4, 4_000, 50_000, weight_decay=1e-4),
    Row(1_000_000, 16_000, (6, 6), 512, 2048, 8, 0.2, 0.1, 0.1, 32_000, 7e-4, 4_000, 75_000),
    Row(4_500_000, 32_000, (6, 6), 1024, 4096, 16, 0.3, 0.1, 0.1, 400_000, 1e-3, 4_000, 20_000, norm="post"),
    Row(100_000_000, 48_000, (12, 6), 1024, 4096, 16, 0.1, 0.0, 0.1, 600_000, 7e-4, 6_000, 200_000),
)

CPU_ROW = Row(0, 8_000, (3, 3), 256, 1024, 4, 0.1, 0.0, 0.1, 4_096, 2e-3, 1_000, 15_000, "cosine")
"""The largest shape that a CPU trains in hours, and a schedule that makes the most of few updates."""

CPU_BATCH = 4_096
"""Tokens of a batch: more at once are no faster there."""

SCARCE = 100_000
"""With fewer pairs the shape for a CPU needs more dropout than its own."""

EVALUATIONS, SAVES_BETWEEN, FEWEST_STEPS = 20, 2, 25
"""Validations in a run, checkpoints from one to the next, and updates between two of these at least."""

AVERAGED = 10
"""Checkpoints in the mean: those of the last quarter of a run."""

SPECIAL_PIECES = 4 + 256
"""Of every vocabulary: pad, unknown, begin and end; and all bytes, for characters without a piece."""

COMMON = 0.9995
"""The share of the characters of a text that get pieces where its alphabet is large."""


@dataclass(frozen=True, slots=True)
class Alphabet:
    """The different characters of a text."""

    num_all: int
    num_common: int
    """Of these, those that make up `COMMON` of the text."""


@dataclass(frozen=True, slots=True)
class CorpusFacts:
    """What a recipe looks at."""

    num_pairs: int
    """Different pairs that training can use."""
    both: Alphabet
    src: Alphabet
    tgt: Alphabet
    are_scripts_related: bool
    """Whether the two sides share most of their alphabet."""
    longest_letters: int
    """Of 99 of 100 pairs the longer side, in letters of an alphabet."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A setting, and why it is what it is."""

    section: str
    key: str
    value: Any
    reason: str


def choose(facts: CorpusFacts, device: str, batch_tokens: int) -> list[Choice]:
    """Settings for a corpus on a `device` (cpu or cuda) that can work on `batch_tokens` at once, 128 at least."""
    batch_tokens = min(batch_tokens, CPU_BATCH) if device == "cpu" else batch_tokens
    around = _Around.rows_of(facts.num_pairs)
    is_small = device == "cpu" and around.nearest.d_model > CPU_ROW.d_model
    shape = CPU_ROW if is_small else around.nearest
    about = f"for {facts.num_pairs:,} pairs"
    max_tokens = min(max(128, _rounded_up(facts.longest_letters / 2, 64)), 1024, batch_tokens)
    return [
        Choice("data", "max_tokens", max_tokens, "holds 99 of 100 pairs, at two letters a token"),
        *_vocabulary(facts, around, about),
        *_shape(shape, is_small, about),
        *_regularisation(facts, around, shape, is_small, about),
        *_schedule(around, shape, is_small, batch_tokens, about),
    ]


def _vocabulary(facts: CorpusFacts, around: "_Around", about: str) -> Iterator[Choice]:
    size = around.size(lambda row: row.vocab_size) * around.scarcity
    alphabets = [facts.both]
    if not facts.are_scripts_related:
        size, alphabets = size / 2, [facts.src, facts.tgt]
    num_all, num_common = (max(count(each) for each in alphabets) for count in (_all_of, _common_of))
    is_large = num_all + SPECIAL_PIECES > size / 4
    # A piece for every character alone would leave nothing to learn: half of them at most.
    needed = 2 * ((num_common if is_large else num_all) + SPECIAL_PIECES)
    why = f"pieces that occur often enough {about}"
    if needed > size:
        why = f"twice the alphabet of {num_common:,} common characters, and all bytes"
    yield Choice("tokenizer", "vocab_size", _rounded_up(max(size, needed), 100 if size < 3_000 else 500), why)
    if not facts.are_scripts_related:
        yield Choice("tokenizer", "joint", False, "the two languages are written in different scripts")
    if is_large:
        why = f"rare ones of {num_all:,} different characters are spelled in bytes"
        yield Choice("tokenizer", "character_coverage", COMMON, why)


def _shape(shape: Row, is_small: bool, about: str) -> Iterator[Choice]:
    why = "the largest shape that a CPU trains in hours" if is_small else f"the shape that is known to work {about}"
    yield Choice("model", "d_model", shape.d_model, why)
    yield Choice("model", "num_heads", shape.num_heads, f"of {shape.d_model // shape.num_heads} dimensions")
    yield Choice("model", "d_ff", shape.d_ff, f"{shape.d_ff // shape.d_model} times d_model")
    yield Choice("model", "encoder_layers", shape.layers[0], "belongs to the shape")
    yield Choice("model", "decoder_layers", shape.layers[1], "belongs to the shape")
    why = "trains more stably" if shape.norm == "pre" else "the better one for 6 layers and millions of pairs"
    yield Choice("model", "norm", shape.norm, why)


def _regularisation(facts: CorpusFacts, around: "_Around", shape: Row, is_small: bool, about: str) -> Iterator[Choice]:
    dropout, inner = around.part(lambda row: row.dropout), around.part(lambda row: row.inner_dropout)
    why = f"the fewer pairs, the more: {about}"
    if is_small:
        dropout, inner = 0.3 if facts.num_pairs < SCARCE else shape.dropout, shape.inner_dropout
        why = "a small model on few pairs" if facts.num_pairs < SCARCE else "a small model needs little"
    yield Choice("model", "dropout", dropout, why)
    yield Choice("model", "attention_dropout", inner, "belongs to it")
    yield Choice("model", "activation_dropout", inner, "belongs to it")
    smoothing = around.part(lambda row: row.label_smoothing)
    why = "the paper's" if smoothing == 0.1 else "more with very few pairs"
    yield Choice("train", "label_smoothing", smoothing, why)
    if shape.weight_decay:
        yield Choice("train", "weight_decay", shape.weight_decay, "belongs to the shape")


def _schedule(around: "_Around", shape: Row, is_small: bool, batch_tokens: int, about: str) -> Iterator[Choice]:
    wanted = shape.update_tokens if is_small else round(around.size(lambda row: row.update_tokens))
    batch = min(wanted, batch_tokens)
    accumulate = max(1, round(wanted / batch))
    yield Choice("train", "batch_tokens", batch, "tokens of a side that are worked on at once")
    yield Choice("train", "accumulate", accumulate, f"updates of about {accumulate * batch:,} target tokens {about}")
    steps = shape.max_steps
    if not is_small:
        steps = _rounded(around.size(lambda row: row.max_steps) * around.scarcity, 500)
    why = "what a CPU does in hours" if is_small else f"enough {about}"
    yield Choice("train", "max_steps", steps, f"{why}; patience may end it before")
    yield Choice("train", "lr", shape.lr, f"the peak for d_model {shape.d_model}")
    why = "falls to 0 with the last of few updates" if shape.schedule == "cosine" else "the paper's"
    yield Choice("train", "schedule", shape.schedule, why)
    yield Choice("train", "warmup_steps", min(shape.warmup_steps, steps // 4), "belongs to the shape")
    save_every = max(FEWEST_STEPS, _rounded(steps / (EVALUATIONS * SAVES_BETWEEN), 25))
    yield Choice("train", "eval_every", SAVES_BETWEEN * save_every, f"about {EVALUATIONS} looks at the dev set")
    yield Choice("train", "save_every", save_every, "and a checkpoint between two of them")
    yield Choice("train", "average", AVERAGED, "the mean of the last checkpoints, if dev says that it is better")
    yield Choice("train", "patience", 6, "stop when dev has not got better for so many looks")


@dataclass(frozen=True, slots=True)
class _Around:
    """The rows around a number of pairs."""

    lower: Row
    upper: Row
    share: float
    """Where between the two the pairs lie: 0 at the first, 1 at the second."""
    scarcity: float
    """Below the first row the root of the share of its pairs, else 1."""

    @classmethod
    def rows_of(cls, pairs: int) -> Self:
        """The rows around `pairs`; beyond the first and the last row these alone."""
        scarcity = min(1.0, math.sqrt(max(pairs, 1) / TABLE[0].pairs))
        pairs = min(max(pairs, TABLE[0].pairs), TABLE[-1].pairs)
        lower = max((row for row in TABLE if row.pairs <= pairs), key=lambda row: row.pairs)
        upper = min((row for row in TABLE if row.pairs >= pairs), key=lambda row: row.pairs)
        share = 0.0 if lower is upper else math.log(pairs / lower.pairs) / math.log(upper.pairs / lower.pairs)
        return cls(lower, upper, share, scarcity)

    @property
    def nearest(self) -> Row:
        """The row that is nearer, in the logarithm of the pairs."""
        return self.lower if self.share < 0.5 else self.upper

    def size(self, number: Callable[[Row], float]) -> float:
        """A number of the rows, interpolated as the pairs are: in its logarithm."""
        return number(self.lower) * math.pow(number(self.upper) / number(self.lower), self.share)

    def part(self, number: Callable[[Row], float]) -> float:
        """A probability of the rows, interpolated in proportion."""
        return round(number(self.lower) + self.share * (number(self.upper) - number(self.lower)), 2)


def _all_of(alphabet: Alphabet) -> int:
    return alphabet.num_all


def _common_of(alphabet: Alphabet) -> int:
    return alphabet.num_common


def _rounded(number: float, step: int) -> int:
    return max(step, round(number / step) * step)


def _rounded_up(number: float, step: int) -> int:
    return max(step, math.ceil(number / step - 1e-9) * step)
