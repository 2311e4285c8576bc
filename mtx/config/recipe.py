"""Settings that fit a corpus: by the number of its pairs, from recipes that are known to work.

Rows for 30,000, 160,000 and 4.5 million pairs are published: Wu et al. 2021 (captions), fairseq's IWSLT'14 and
Ott et al. 2018; those between are interpolated from Araabi & Monz 2020, Sennrich & Zhang 2019 and
Provilkov et al. 2020; the last follows systems of WMT. Between two rows numbers are
interpolated in the logarithm of the pairs.
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


TABLE = (
    Row(10_000, 3_000, (4, 4), 256, 512, 4, 0.35, 0.1, 0.2, 2_000, 1e-3, 1_000, 15_000),
    Row(30_000, 8_000, (4, 4), 128, 256, 4, 0.3, 0.0, 0.1, 8_000, 5e-3, 2_000, 10_000),
    Row(160_000, 9_000, (6, 6), 512, 1024, 4, 0.3, 0.1, 0.1, 4_000, 5e-4, 4_000, 50_000),
    Row(1_000_000, 16_000, (6, 6), 512, 2048, 8, 0.2, 0.1, 0.1, 32_000, 7e-4, 4_000, 75_000),
    Row(4_500_000, 32_000, (6, 6), 1024, 4096, 16, 0.3, 0.1, 0.1, 400_000, 1e-3, 4_000, 20_000),
    Row(100_000_000, 48_000, (12, 6), 1024, 4096, 16, 0.1, 0.0, 0.1, 600_000, 1e-3, 6_000, 200_000),
)

CPU_ROW = Row(0, 8_000, (3, 3), 256, 1024, 4, 0.1, 0.0, 0.1, 4_096, 2e-3, 500, 5_000)
"""The largest shape that a CPU trains in hours, with the learning rate that suits it."""

FREQUENT_EVALUATIONS, FEWEST_STEPS = 20, 100


@dataclass(frozen=True, slots=True)
class CorpusFacts:
    """What a recipe looks at."""

    num_pairs: int
    has_ideographs: bool
    """Whether a side is written in thousands of different characters."""
    are_scripts_related: bool
    """Whether the two sides share most of their alphabet."""
    longest_letters: int
    """Of 99 of 100 sentences the longest side, in letters."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A setting, and why it is what it is."""

    section: str
    key: str
    value: Any
    reason: str


def choose(facts: CorpusFacts, device: str, batch_tokens: int) -> list[Choice]:
    """Settings for a corpus on a `device` (cpu or cuda) that holds `batch_tokens` of a batch at once."""
    return list(_choices(facts, device, batch_tokens))


def _choices(facts: CorpusFacts, device: str, batch_tokens: int) -> Iterator[Choice]:
    pairs = facts.num_pairs
    about = f"for {pairs:,} pairs"
    nearest = min(TABLE, key=lambda row: abs(math.log(row.pairs) - math.log(max(pairs, 1))))
    is_small = device == "cpu" and nearest.d_model > CPU_ROW.d_model
    shape = CPU_ROW if is_small else nearest
    between = _Between.rows_of(pairs)

    vocabulary = _rounded(between.size(lambda row: row.vocab_size), 500)
    yield Choice("tokenizer", "vocab_size", vocabulary, f"pieces that occur often enough {about}")
    if not facts.are_scripts_related:
        yield Choice("tokenizer", "joint", False, "the scripts of the two languages have little in common")
    if facts.has_ideographs:
        yield Choice("tokenizer", "character_coverage", 0.9995, "rare ideographs are spelled in bytes")

    why = "the largest shape that a CPU trains in hours" if is_small else f"the shape that is known to work {about}"
    yield Choice("model", "d_model", shape.d_model, why)
    yield Choice("model", "num_heads", shape.num_heads, "heads of 32 to 128 dimensions")
    yield Choice("model", "d_ff", shape.d_ff, "two to four times d_model")
    yield Choice("model", "encoder_layers", shape.layers[0], "as in the shape's source")
    yield Choice("model", "decoder_layers", shape.layers[1], "as in the shape's source")
    dropout = shape.dropout if is_small else between.part(lambda row: row.dropout)
    dropout = max(dropout, 0.3) if is_small and pairs < 100_000 else dropout
    yield Choice("model", "dropout", dropout, f"the fewer pairs, the more {about}")
    inner = 0.0 if is_small else between.part(lambda row: row.inner_dropout)
    yield Choice("model", "attention_dropout", inner, "with few pairs attention is regularised, too")
    yield Choice("model", "activation_dropout", inner, "likewise")

    wanted = CPU_ROW.update_tokens if device == "cpu" else _rounded(between.size(lambda row: row.update_tokens), 1)
    batch = min(batch_tokens, wanted)
    yield Choice("train", "batch_tokens", batch, f"what the {device} holds at once, and no more than an update takes")
    accumulate = max(1, round(wanted / batch))
    yield Choice("train", "accumulate", accumulate, f"updates of about {accumulate * batch:,} target tokens {about}")
    lr = shape.lr if is_small else float(f"{between.size(lambda row: row.lr):.1e}")
    yield Choice("train", "lr", lr, "the wider the model, the lower")
    warmup = shape.warmup_steps if is_small else _rounded(between.size(lambda row: row.warmup_steps), 100)
    yield Choice("train", "warmup_steps", warmup, "as in the shape's source")
    smoothing = between.part(lambda row: row.label_smoothing)
    yield Choice("train", "label_smoothing", smoothing, "the paper's, more with very few pairs")
    steps = shape.max_steps if is_small else _rounded(between.size(lambda row: row.max_steps), 500)
    yield Choice("train", "max_steps", steps, "patience may end it before")
    every = max(FEWEST_STEPS, _rounded(steps / FREQUENT_EVALUATIONS, 50))
    yield Choice("train", "eval_every", every, f"{FREQUENT_EVALUATIONS} looks at the dev set")
    yield Choice("train", "save_every", every, "with each of them")
    yield Choice("train", "patience", 6, "stop when dev has not got better for so many looks")
    longest = max(128, _rounded(facts.longest_letters / 2, 64))
    yield Choice("data", "max_tokens", min(longest, 1024), "holds 99 of 100 sentences, at two letters a piece")


@dataclass(frozen=True, slots=True)
class _Between:
    """Two neighbouring rows, and where a number of pairs lies between them: 0 at the first, 1 at the second."""

    lower: Row
    upper: Row
    share: float

    @classmethod
    def rows_of(cls, pairs: int) -> Self:
        """The rows around `pairs`; beyond the first and last row these alone."""
        pairs = min(max(pairs, TABLE[0].pairs), TABLE[-1].pairs)
        lower = max((row for row in TABLE if row.pairs <= pairs), key=lambda row: row.pairs)
        upper = min((row for row in TABLE if row.pairs >= pairs), key=lambda row: row.pairs)
        if lower is upper:
            return cls(lower, upper, 0.0)
        return cls(lower, upper, math.log(pairs / lower.pairs) / math.log(upper.pairs / lower.pairs))

    def size(self, number: Callable[[Row], float]) -> float:
        """A number of the rows, interpolated as the pairs are: in its logarithm."""
        return number(self.lower) * math.pow(number(self.upper) / number(self.lower), self.share)

    def part(self, number: Callable[[Row], float]) -> float:
        """A probability of the rows, interpolated in proportion."""
        return round(number(self.lower) + self.share * (number(self.upper) - number(self.lower)), 2)


def _rounded(number: float, step: int) -> int:
    return max(step, round(number / step) * step)
