"""Translations of the same sentences in different batches: none may depend on the other sentences of its batch."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from mtx.checkpoint.model_folder import TrainedModel, load_model
from mtx.config.load import load_config
from mtx.decode.translator import Translation, Translator
from mtx.demo import read_demo
from mtx.train.trainer import train

CONFIG = """
data: {train: [{tsv: train.tsv}]}
tokenizer: {vocab_size: 600}
model: {d_model: 64, num_heads: 4, d_ff: 128, encoder_layers: 1, decoder_layers: 1, dropout: 0.0}
train: {max_steps: 350, batch_tokens: 800, lr: 4e-3, warmup_steps: 50, schedule: cosine, label_smoothing: 0.0,
        precision: fp32, device: cpu, eval_every: 350, save_every: 350, log_every: 100}
"""
LONG_SENTENCE = " ".join(["The dog that sees the cat knows the child of the old man, who never slept."] * 5)

NEAR_TIE = 1e-5
"""Difference of scores below which rounding may change the order; such changes are still counted."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Differences between translations batched in one way and those of all sentences in one batch."""

    way: str
    num_sentences: int
    near_ties: tuple[str, ...]
    """Sentences with a different translation whose score is almost the same."""
    differing: tuple[str, ...]
    """Sentences with a different translation for any other reason."""


def learned_model(folder: Path) -> TrainedModel:
    """Train a model on short sentences of the demo in `folder`; it accepts 300 source tokens without splitting."""
    folder.mkdir(parents=True, exist_ok=True)
    pairs = islice((pair for pair in read_demo("train") if len(pair[0].split()) < 9), 6000)
    (folder / "train.tsv").write_text("".join(f"{src}\t{tgt}\n" for src, tgt in pairs), encoding="utf-8")
    (folder / "short.yaml").write_text(CONFIG)
    learned = load_model(train(load_config(folder / "short.yaml", []), folder / "run"))
    return replace(learned, generation=learned.generation.model_copy(update={"max_source_tokens": 300}))


def compare_batchings(
    translator: Translator, sentences: Sequence[str], long_sentence: str, *, most_batches: int, seed: int = 1
) -> list[Comparison]:
    """Compare several ways of batching with translating all sentences in one batch.

    Sentences are translated alone, in batches of 2, 7 and 64, shuffled, and beside a long sentence. Only the first
    `most_batches` batches of each way are translated, because 1,000 sentences make 1,000 batches alone. `translator`
    should put all sentences of a call into one batch if they fit: a large `batch_tokens`, one worker.
    """
    everything = list(range(len(sentences)))
    shuffled = random.Random(seed).sample(everything, len(everything))
    ways = {
        "alone": in_groups(everything, 1),
        "2 in a batch": in_groups(everything, 2),
        "7 in a batch": in_groups(everything, 7),
        "64 in a batch": in_groups(everything, 64),
        "shuffled, 64 in a batch": in_groups(shuffled, 64),
    }
    wanted = translator.translate(sentences)
    comparisons = [
        _comparison(way, translator, sentences, wanted, batches[:most_batches], beside=[])
        for way, batches in ways.items()
    ]
    beside_long = in_groups(everything, 64)[:most_batches]
    comparisons.append(
        _comparison("beside a long one", translator, sentences, wanted, beside_long, beside=[long_sentence])
    )
    return comparisons


def in_groups(indices: Sequence[int], size: int) -> list[Sequence[int]]:
    """Split `indices` into groups of `size`; the last may be smaller."""
    return [indices[start : start + size] for start in range(0, len(indices), size)]


def _comparison(
    way: str,
    translator: Translator,
    sentences: Sequence[str],
    wanted: Sequence[Translation],
    batches: Sequence[Sequence[int]],
    beside: list[str],
) -> Comparison:
    near_ties: list[str] = []
    differing: list[str] = []
    for batch in batches:
        found = translator.translate([*beside, *(sentences[index] for index in batch)])[len(beside) :]
        for index, translation in zip(batch, found, strict=True):
            if translation.tgt != wanted[index].tgt:
                is_near = abs(translation.nbest[0].score - wanted[index].nbest[0].score) < NEAR_TIE
                (near_ties if is_near else differing).append(translation.src)
    return Comparison(way, sum(map(len, batches)), tuple(near_ties), tuple(differing))
