"""Settings that suit a corpus, by the number of its pairs and the device.

Three rows of the table are published: 30,000 pairs (Wu et al. 2021, captions), 160,000 (fairseq's IWSLT'14) and
4.5 million (Ott et al. 2018). The rows in between follow Araabi & Monz 2020, Sennrich & Zhang 2019 and Provilkov et
al. 2020; the last row follows WMT systems. Shape and learning rate come from the nearest row, all else is interpolated
in the logarithm of the number of pairs. Below the first row, vocabulary and steps shrink with the square root of the
number of pairs, which is a guess.
"""

import math
from dataclasses import dataclass, replace
from typing import Any

from mtx.init.corpus_stats import COMMON, CorpusStats


@dataclass(frozen=True, slots=True)
class Row:
    """Settings for a number of pairs."""

    pairs: int
    vocab_size: float
    layers: tuple[int, int]
    d_model: int
    d_ff: int
    num_heads: int
    dropout: float
    inner_dropout: float  # Dropout on attention weights and inside the feed-forward sub-layer
    label_smoothing: float
    step_tokens: float  # Target tokens per step
    lr: float
    warmup_steps: int
    max_steps: float
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
NUM_EVALUATIONS = 20  # Evaluations per run
SAVES_PER_EVALUATION = 2  # Checkpoints per evaluation
MIN_SAVE_STEPS = 25  # Least steps between checkpoints
NUM_AVERAGED = 10  # Checkpoints to average: the last quarter of a run
NUM_SPECIAL_PIECES = 4 + 256  # Pieces of every vocabulary: padding, unknown, begin, end, and all bytes


Settings = dict[str, tuple[Any, str]]  # Value of each key of a section, and the reason for it


def choose_settings(stats: CorpusStats, device: str, batch_tokens: int) -> dict[str, Settings]:
    """Choose settings for a corpus on a `device` (cpu or cuda) with memory for `batch_tokens` (at least 128)."""
    row, num_pairs = interpolate(stats.num_pairs), stats.num_pairs
    is_small = device == "cpu" and row.d_model > CPU_ROW.d_model
    if is_small:
        dropout = 0.3 if num_pairs < SCARCE_PAIRS else CPU_ROW.dropout
        row = replace(CPU_ROW, vocab_size=row.vocab_size, label_smoothing=row.label_smoothing, dropout=dropout)
    batch_tokens = min(batch_tokens, CPU_BATCH) if device == "cpu" else batch_tokens
    max_tokens = min(max(128, _round_up(stats.long_pair / 2, 64)), 1024, batch_tokens)
    return {
        "data": {"max_tokens": (max_tokens, "long enough for 99 % of the pairs, at two letters per token")},
        "tokenizer": _tokenizer(stats, row),
        "model": _model(num_pairs, row, is_small),
        "train": _train(num_pairs, row, is_small, batch_tokens),
    }


def interpolate(num_pairs: int) -> Row:
    """Interpolate the table at `num_pairs`; outside it, take its first or last row."""
    scarcity = min(1.0, math.sqrt(max(num_pairs, 1) / TABLE[0].pairs))
    pairs = min(max(num_pairs, TABLE[0].pairs), TABLE[-1].pairs)
    lower = next(row for row in reversed(TABLE) if row.pairs <= pairs)
    upper = next(row for row in TABLE if row.pairs >= pairs)
    position = 0.0 if lower is upper else math.log(pairs / lower.pairs) / math.log(upper.pairs / lower.pairs)

    def log(low: float, high: float) -> float:
        return low * math.pow(high / low, position)

    def linear(low: float, high: float) -> float:
        return round(low + position * (high - low), 2)

    return replace(
        lower if position < 0.5 else upper,
        vocab_size=log(lower.vocab_size, upper.vocab_size) * scarcity,
        dropout=linear(lower.dropout, upper.dropout),
        inner_dropout=linear(lower.inner_dropout, upper.inner_dropout),
        label_smoothing=linear(lower.label_smoothing, upper.label_smoothing),
        step_tokens=log(lower.step_tokens, upper.step_tokens),
        max_steps=log(lower.max_steps, upper.max_steps) * scarcity,
    )


def _tokenizer(stats: CorpusStats, row: Row) -> Settings:
    size, alphabets = row.vocab_size, [stats.both]
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
    settings: Settings = {"vocab_size": (_round_up(max(size, needed), 100 if size < 3_000 else 500), reason)}
    if not stats.are_scripts_related:
        settings["joint"] = False, "the languages are written in different scripts"
    if is_large:
        reason = f"the rare ones of {num_all:,} distinct characters are spelled in bytes"
        settings["character_coverage"] = COMMON, reason
    return settings


def _model(num_pairs: int, row: Row, is_small: bool) -> Settings:
    usual = f"usual for {num_pairs:,} pairs"
    dropout = f"{usual}; fewer need more"
    if is_small:
        dropout = "a small model on few pairs" if num_pairs < SCARCE_PAIRS else "a small model needs little"
    return {
        "d_model": (row.d_model, "the largest shape that a CPU trains in hours" if is_small else usual),
        "num_heads": (row.num_heads, f"{row.d_model // row.num_heads} dimensions each"),
        "d_ff": (row.d_ff, f"{row.d_ff // row.d_model} times d_model"),
        "encoder_layers": (row.layers[0], "part of the shape"),
        "decoder_layers": (row.layers[1], "part of the shape"),
        "norm": (row.norm, "trains more stably" if row.norm == "pre" else "better for 6 layers and millions of pairs"),
        "dropout": (row.dropout, dropout),
        "attention_dropout": (row.inner_dropout, "goes with dropout"),
        "activation_dropout": (row.inner_dropout, "goes with dropout"),
    }


def _train(num_pairs: int, row: Row, is_small: bool, batch_tokens: int) -> Settings:
    step_tokens, steps = round(row.step_tokens), _round(row.max_steps, 500)
    batch = min(step_tokens, batch_tokens)
    accumulate = max(1, round(step_tokens / batch))
    enough = "what a CPU does in hours" if is_small else f"enough for {num_pairs:,} pairs"
    save_every = max(MIN_SAVE_STEPS, _round(steps / (NUM_EVALUATIONS * SAVES_PER_EVALUATION), 25))
    smoothing, schedule = row.label_smoothing, row.schedule
    return {
        "label_smoothing": (smoothing, "as in the paper" if smoothing == 0.1 else "more for very few pairs"),
        **({"weight_decay": (row.weight_decay, "goes with the shape")} if row.weight_decay else {}),
        "batch_tokens": (batch, "tokens per side that are processed at once"),
        "accumulate": (accumulate, f"steps of about {accumulate * batch:,} target tokens"),
        "max_steps": (steps, f"{enough}; patience may end the run earlier"),
        "lr": (row.lr, f"peak for d_model {row.d_model}"),
        "schedule": (schedule, "falls to 0 at the last of few steps" if schedule == "cosine" else "as in the paper"),
        "warmup_steps": (min(row.warmup_steps, steps // 4), "goes with the shape"),
        "eval_every": (SAVES_PER_EVALUATION * save_every, f"about {NUM_EVALUATIONS} evaluations on dev"),
        "save_every": (save_every, "a checkpoint at each evaluation and one in between"),
        "average": (NUM_AVERAGED, "last checkpoints; their mean is kept if better on dev"),
        "patience": (6, "evaluations without improvement that end the run"),
    }


def _round(number: float, step: int) -> int:
    return max(step, round(number / step) * step)


def _round_up(number: float, step: int) -> int:
    return max(step, math.ceil(number / step - 1e-9) * step)
