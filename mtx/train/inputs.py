"""Inputs of a run: everything that it is given and that stays the same while it trains."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mtx.checkpoint.model_folder import TrainedModel
from mtx.config.settings import ModelSettings, TrainSettings
from mtx.config.sources import Source
from mtx.data.batching import part_batches
from mtx.data.mixing import Mixture
from mtx.data.prepared.corpus import Corpus, Rows
from mtx.distributed.process_group import ProcessGroup
from mtx.system.device import Precision
from mtx.train.run_folder import RunFolder


@dataclass(frozen=True, slots=True)
class DevSet:
    """A dev set: all pairs as ids for the loss, and the first pairs as text for decoding."""

    source: Source
    corpus: Corpus
    batches: list[Rows]
    sources: list[str]
    references: list[str]


@dataclass(frozen=True, slots=True)
class RunInputs:
    """Settings, data, model, device and ranks of a run."""

    folder: RunFolder
    settings: TrainSettings
    model_settings: ModelSettings
    sources: Sequence[Source]  # Sources of the training data, with folders expanded
    trained: TrainedModel
    """Model in training with its tokenizer. With FSDP, a copy with whole weights, as of the last save."""
    corpus: Corpus
    mixture: Mixture
    dev: DevSet | None
    precision: Precision
    matrix_rate: float  # Speed of matrix products measured on this machine in this precision, in FLOP/s
    metadata: dict[str, Any]
    """Part of each checkpoint's manifest: data, tokenizer and everything else that a resumed run is compared with."""
    group: ProcessGroup

    def first_batches(self) -> list[Rows]:
        """Rows of each batch in the first part of the first epoch."""
        order, lengths = (
            self.mixture.order(self.settings.seed, epoch=0),
            (self.corpus.src.lengths, self.corpus.tgt.lengths),
        )
        batch_tokens, seed = self.settings.batch_tokens, self.settings.seed
        return part_batches(order, *lengths, batch_tokens=batch_tokens, seed=seed, epoch=0, part=0)

    def mean_target_tokens(self, batches: Sequence[Rows]) -> float:
        """Target tokens of a batch on average, EOS included."""
        lengths = self.corpus.tgt.lengths
        return sum(int(lengths[rows].sum()) + len(rows) for rows in batches) / len(batches)
