"""Settings that suit a corpus, by the number of its pairs and the device.

Three rows of the table are published: 30,000 pairs (Wu et al. 2021, captions), 160,000 (fairseq's IWSLT'14) and
4.5 million (Ott et al. 2018). The rows in between follow Araabi & Monz 2020, Sennrich & Zhang 2019 and Provilkov et
al. 2020; the last row follows WMT systems. Shape and learning rate come from the nearest row, all else is interpolated
in the logarithm of the number of pairs. Below the first row, vocabulary and steps shrink with the square root of the
number of pairs, which is a guess.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Self

from mtx.init.corpus_stats import COMMON, CorpusStats


@dataclass(frozen=True, slots=True)
class Row:
    """Settings for a number of pairs."""

    pairs: int
    vocab_size: int
    layers: tuple[int, int]
    d_model: int
    d_ff: int
    num_heads: int
    dropout: float
    inner_dropout: float  # Dropout on attention weights and inside the feed-forward sub-layer
    label_smoothing: float
    step_tokens: int  # Target tokens per step
    lr: float
    warmup_steps: int
    max_steps: int
    schedule: str = "inverse_sqrt"
    norm: str = "pre"
    weight_decay: float = 0.0


# pairs, vocabulary, layers, d_model, d_ff, heads, dropout, inner, smoothing, tokens per step, lr, warm-up, steps
TABLE = (
    Row(10_000, 3_000, (4, 4), 256, 512, 4, 0.35, 0.1, 0.2, 2_000, 1e-3, 1_000, 15_000),
    Row(30_000, 8_000, (4, 4), 128, 256, 4, 0.3, 0.0, 0.1, 8_000, 5e-3, 2_000, 10_000),
    Row(160_000, 9_000, (6, 6), 512, 1024, 4, 0.3, 0.1, 0.1, 4_000, 5e-4, 4_000, 50_000, weight_decay=1e-4),
    Row(1_000_000, 16_000, (6, 6), 512, 2048, 8, 0.2, 0.1, 0.1, 32_000, 7e-4, 4_000, 75_000),
    Row(4_500_000, 32_000, (6, 6), 1024, 4096, 16, 0.3, 0.1, 0.1, 400_000, 1e-3, 4_000, 20_000, norm="post"),
    Row(100_000_000, 48_000, (12, 6), 1024, 4096, 16, 0.1, 0.0, 0.1, 600_000, 7e-4, 6_000, 200_000),
)

CPU_ROW = Row(0, 8_000, (3, 3), 256, 1024, 4, 0.1, 0.0, 0.1, 4_096, 2e-3, 1_000, 15_000, "cosine")
"""Largest shape that a CPU trains in hours, with a schedule that makes the most of few steps."""

CPU_BATCH = 4_096  # Largest batch on a CPU, in tokens: larger ones are no faster
SCARCE_PAIRS = 100_000  # Number of pairs below which the shape for a CPU needs more dropout

NUM_EVALUATIONS, SAVES_PER_EVALUATION, MIN_SAVE_STEPS = 20, 2, 25
"""Evaluations per run, checkpoints per evaluation, and the least steps between checkpoints."""

NUM_AVERAGED = 10  # Checkpoints to average: the last quarter of a run
NUM_SPECIAL_PIECES = 4 + 256  # Pieces of every vocabulary: padding, unknown, begin, end, and all bytes


@dataclass(frozen=True, slots=True)
class RecipeSetting:
    """A config key, its value, and the reason for it."""

    section: str
    key: str
    value: Any
    reason: str = ""


def choose_settings(stats: CorpusStats, device: str, batch_tokens: int) -> list[RecipeSetting]:
    """Choose settings for a corpus on a `device` (cpu or cuda) with memory for `batch_tokens` (at least 128)."""
    batch_tokens = min(batch_tokens, CPU_BATCH) if device == "cpu" else batch_tokens
    rows = _Interpolation.at(stats.num_pairs)
    shape = CPU_ROW if device == "cpu" and rows.nearest.d_model > CPU_ROW.d_model else rows.nearest
    max_tokens = min(max(128, _round_up(stats.long_pair / 2, 64)), 1024, batch_tokens)
    sections: dict[str, Iterable[tuple[str, Any, str]]] = {
        "data": [("max_tokens", max_tokens, "long enough for 99 % of the pairs, at two letters per token")],
        "tokenizer": _tokenizer(stats, rows),
        "model": _model(stats.num_pairs, rows, shape),
        "train": _train(stats.num_pairs, rows, shape, batch_tokens),
    }
    return [RecipeSetting(section, *setting) for section, settings in sections.items() for setting in settings]


def _tokenizer(stats: CorpusStats, rows: "_Interpolation") -> Iterator[tuple[str, Any, str]]:
    size = rows.log(lambda row: row.vocab_size) * rows.scarcity
    alphabets = [stats.both]
    if not stats.are_scripts_related:
        size, alphabets = size / 2, [stats.src, stats.tgt]
    num_all = max(alphabet.num_all for alphabet in alphabets)
    num_common = max(alphabet.num_common for alphabet in alphabets)
    is_large = num_all + NUM_SPECIAL_PIECES > size / 4
    # Characters take at most half of the pieces: with no others there would be nothing to learn.
    needed = 2 * ((num_common if is_large else num_all) + NUM_SPECIAL_PIECES)
    reason = f"pieces that are frequent enough for {stats.num_pairs:,} pairs"
    if needed > size:
        reason = f"twice the alphabet ({num_common:,} common characters) and all bytes"
    yield "vocab_size", _round_up(max(size, needed), 100 if size < 3_000 else 500), reason
    if not stats.are_scripts_related:
        yield "joint", False, "the languages are written in different scripts"
    if is_large:
        yield "character_coverage", COMMON, f"the rare ones of {num_all:,} distinct characters are spelled in bytes"


def _model(num_pairs: int, rows: "_Interpolation", shape: Row) -> Iterator[tuple[str, Any, str]]:
    reason = "the largest shape that a CPU trains in hours" if shape is CPU_ROW else f"usual for {num_pairs:,} pairs"
    yield "d_model", shape.d_model, reason
    yield "num_heads", shape.num_heads, f"{shape.d_model // shape.num_heads} dimensions each"
    yield "d_ff", shape.d_ff, f"{shape.d_ff // shape.d_model} times d_model"
    yield "encoder_layers", shape.layers[0], "part of the shape"
    yield "decoder_layers", shape.layers[1], "part of the shape"
    reason = "trains more stably" if shape.norm == "pre" else "better for 6 layers and millions of pairs"
    yield "norm", shape.norm, reason
    dropout, inner = rows.linear(lambda row: row.dropout), rows.linear(lambda row: row.inner_dropout)
    reason = f"usual for {num_pairs:,} pairs; fewer need more"
    if shape is CPU_ROW:
        is_scarce = num_pairs < SCARCE_PAIRS
        dropout, inner = 0.3 if is_scarce else shape.dropout, shape.inner_dropout
        reason = "a small model on few pairs" if is_scarce else "a small model needs little"
    yield "dropout", dropout, reason
    yield "attention_dropout", inner, "goes with dropout"
    yield "activation_dropout", inner, "goes with dropout"


def _train(num_pairs: int, rows: "_Interpolation", shape: Row, batch_tokens: int) -> Iterator[tuple[str, Any, str]]:
    smoothing = rows.linear(lambda row: row.label_smoothing)
    yield "label_smoothing", smoothing, "as in the paper" if smoothing == 0.1 else "more for very few pairs"
    if shape.weight_decay:
        yield "weight_decay", shape.weight_decay, "goes with the shape"
    step_tokens, steps, reason = shape.step_tokens, shape.max_steps, "what a CPU does in hours"
    if shape is not CPU_ROW:
        step_tokens, reason = round(rows.log(lambda row: row.step_tokens)), f"enough for {num_pairs:,} pairs"
        steps = _round(rows.log(lambda row: row.max_steps) * rows.scarcity, 500)
    batch = min(step_tokens, batch_tokens)
    accumulate = max(1, round(step_tokens / batch))
    yield "batch_tokens", batch, "tokens per side that are processed at once"
    yield "accumulate", accumulate, f"steps of about {accumulate * batch:,} target tokens"
    yield "max_steps", steps, f"{reason}; patience may end the run earlier"
    yield "lr", shape.lr, f"peak for d_model {shape.d_model}"
    reason = "falls to 0 at the last of few steps" if shape.schedule == "cosine" else "as in the paper"
    yield "schedule", shape.schedule, reason
    yield "warmup_steps", min(shape.warmup_steps, steps // 4), "goes with the shape"
    save_every = max(MIN_SAVE_STEPS, _round(steps / (NUM_EVALUATIONS * SAVES_PER_EVALUATION), 25))
    yield "eval_every", SAVES_PER_EVALUATION * save_every, f"about {NUM_EVALUATIONS} evaluations on dev"
    yield "save_every", save_every, "a checkpoint at each evaluation and one in between"
    yield "average", NUM_AVERAGED, "last checkpoints; their mean is kept if better on dev"
    yield "patience", 6, "evaluations without improvement that end the run"


@dataclass(frozen=True, slots=True)
class _Interpolation:
    """The two rows of the table around a number of pairs, and the position between them."""

    lower: Row
    upper: Row
    position: float  # Position on the logarithmic scale of pairs, from 0 (lower) to 1 (upper)
    scarcity: float  # Below the first row, the square root of pairs / its pairs; else 1

    @classmethod
    def at(cls, pairs: int) -> Self:
        """Find the rows around `pairs`; outside the table, both are its first or last row."""
        scarcity = min(1.0, math.sqrt(max(pairs, 1) / TABLE[0].pairs))
        pairs = min(max(pairs, TABLE[0].pairs), TABLE[-1].pairs)
        lower = max((row for row in TABLE if row.pairs <= pairs), key=lambda row: row.pairs)
        upper = min((row for row in TABLE if row.pairs >= pairs), key=lambda row: row.pairs)
        position = 0.0 if lower is upper else math.log(pairs / lower.pairs) / math.log(upper.pairs / lower.pairs)
        return cls(lower, upper, position, scarcity)

    @property
    def nearest(self) -> Row:
        """The nearest row on the logarithmic scale."""
        return self.lower if self.position < 0.5 else self.upper

    def log(self, column: Callable[[Row], float]) -> float:
        """Interpolate a positive quantity in its logarithm."""
        return column(self.lower) * math.pow(column(self.upper) / column(self.lower), self.position)

    def linear(self, column: Callable[[Row], float]) -> float:
        """Interpolate a probability linearly."""
        return round(column(self.lower) + self.position * (column(self.upper) - column(self.lower)), 2)


def _round(number: float, step: int) -> int:
    return max(step, round(number / step) * step)


def _round_up(number: float, step: int) -> int:
    return max(step, math.ceil(number / step - 1e-9) * step)
