"""Ensembles: several models with one vocabulary that predict each token together."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any, Literal, Self

import torch
from torch import Tensor

from mtx.checkpoint.model_folder import TrainedModel
from mtx.decode.search import StepModel

Mean = Literal["logprobs", "probs"]


def average(logits: Sequence[Tensor], mean: Mean) -> Tensor:
    """Logits of the mean prediction, up to a constant for each row; the logits of equal models stay bit for bit.

    `probs` is the mean of probabilities, `logprobs` that of log-probabilities, which the softmax normalizes.
    Shapes: as many times (R, V) -> (R, V).
    """
    first, *others = (each.float() for each in logits)
    if mean == "logprobs":
        for count, other in enumerate(others, start=2):
            first = torch.lerp(first, other, 1 / count)  # The mean of logits is that of log-probabilities + a constant
        return first
    logps = [each.log_softmax(dim=-1) for each in (first, *others)]
    largest = reduce(torch.maximum, logps)
    share = torch.stack([(logp - largest).exp() for logp in logps]).mean(dim=0)
    return first + (largest - logps[0]) + share.log()


@dataclass(frozen=True, slots=True)
class EnsembleState:
    """The states of all models."""

    states: tuple[Any, ...]

    @property
    def coverage_RS(self) -> Tensor:
        """The mean of the models' coverage, where they have one."""
        return torch.stack([state.coverage_RS for state in self.states]).mean(dim=0)

    def select(self, rows_R: Tensor, sentences_B: Tensor) -> Self:
        return replace(self, states=tuple(state.select(rows_R, sentences_B) for state in self.states))


@dataclass(frozen=True, slots=True)
class Ensemble:
    """Several models as one, for a search."""

    models: Sequence[StepModel[Any]]
    mean: Mean

    def start(self, src_ids: Tensor, src_mask: Tensor) -> EnsembleState:
        return EnsembleState(tuple(model.start(src_ids, src_mask) for model in self.models))

    def step(self, prev_ids: Tensor, state: EnsembleState) -> tuple[Tensor, EnsembleState]:
        steps = [model.step(prev_ids, own) for model, own in zip(self.models, state.states, strict=True)]
        return average([logits for logits, _ in steps], self.mean), EnsembleState(tuple(own for _, own in steps))


def with_common_limits(trained: Sequence[TrainedModel]) -> TrainedModel:
    """The first of `trained`, with lines cut so that they suit all."""
    generations = [each.generation for each in trained]
    limits = {
        "max_source_tokens": min(each.max_source_tokens for each in generations),
        "sentences_per_source": min(generations, key=lambda each: each.max_sentences).sentences_per_source,
    }
    return replace(trained[0], generation=generations[0].model_copy(update=limits))
