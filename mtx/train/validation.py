"""Validation: dev loss, and BLEU and chrF by real decoding through the one Translator."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice

import torch

from mtx.checkpoint.model_folder import TrainedModel
from mtx.checkpoint.training import Evaluation
from mtx.config.settings import Config
from mtx.data.batching import Rows, collate, fixed_batches
from mtx.data.corpus import read_pairs
from mtx.data.prepare import Corpus, prepare
from mtx.decode.translator import Translator
from mtx.evaluate import score
from mtx.runtime import LOGGER, Precision, StopRequest
from mtx.train.update import loss_sums

NUM_SAMPLES = 5
"""Dev sentences whose translations are shown at every validation."""


class Stopped(Exception):
    """A validation was given up because the process was asked to stop."""


@dataclass(frozen=True, slots=True)
class DevSet:
    """The pairs that choose the best checkpoint."""

    corpus: Corpus
    batches: list[Rows]
    sources: list[str]
    """The first pairs as text, for decoding."""
    references: list[str]


def load_dev_set(config: Config, trained: TrainedModel) -> DevSet | None:
    """The config's dev set, if it has one.

    Raises:
        UserError: it is empty or wrong (DATA).
    """
    if config.data.dev is None:
        return None
    corpus = prepare([config.data.dev], config.data, trained.tokenizer)
    pairs = list(
        islice(read_pairs(config.data.dev, config.data.src_lang, config.data.tgt_lang), config.train.eval_sentences)
    )
    batches = fixed_batches(corpus.src.lengths, corpus.tgt.lengths, batch_tokens=config.train.batch_tokens)
    return DevSet(corpus, batches, [src for src, _ in pairs], [tgt for _, tgt in pairs])


def validate(
    trained: TrainedModel, dev: DevSet, config: Config, precision: Precision, step: int, stop: StopRequest
) -> Evaluation:
    """Loss, BLEU and chrF of the model as it stands; shows a few translations.

    Raises:
        Stopped: `stop` asked for it.
    """

    def give_up_if_asked(_done: int = 0) -> None:
        if stop.code is not None:
            raise Stopped

    was_training = trained.model.training
    trained.model.eval()
    try:
        loss = _dev_loss(trained, dev, precision, give_up_if_asked)
        translator = Translator(
            trained,
            precision,
            beam_size=config.train.eval_beam,
            length_penalty=config.decode.length_penalty,
            batch_tokens=config.train.batch_tokens,
        )
        hypotheses = [translation.tgt for translation in translator.translate(dev.sources, give_up_if_asked)]
    finally:
        trained.model.train(was_training)
    bleu, chrf, _ = score(hypotheses, dev.references, config.data.tgt_lang, num_samples=1)
    _show_samples(dev, hypotheses)
    return Evaluation(step, loss, bleu.score, chrf.score)


def best_of(evaluations: Sequence[Evaluation]) -> Evaluation:
    """The evaluation with the highest BLEU, the lowest loss among equals."""
    return max(evaluations, key=lambda evaluation: (evaluation.bleu, -evaluation.loss))


def describe(evaluation: Evaluation) -> str:
    """One line for people."""
    return (
        f"dev loss {evaluation.loss:.4f}, perplexity {math.exp(min(evaluation.loss, 50)):.2f}, "
        f"BLEU {evaluation.bleu:.2f}, chrF2 {evaluation.chrf:.2f}"
    )


@torch.inference_mode()
def _dev_loss(trained: TrainedModel, dev: DevSet, precision: Precision, after_batch: Callable[[], None]) -> float:
    """Negative log-likelihood per target token."""
    nll_sum = torch.zeros((), device=precision.device)
    num_tokens = 0
    special = trained.tokenizer
    for rows in dev.batches:
        batch = collate(dev.corpus, rows, pad_id=special.pad_id, bos_id=special.bos_id, eos_id=special.eos_id)
        nll_sum += loss_sums(trained.model, batch.to(precision.device), precision, label_smoothing=0.0)[1]
        num_tokens += batch.num_tokens
        after_batch()
    return float(nll_sum) / num_tokens


def _show_samples(dev: DevSet, hypotheses: Sequence[str]) -> None:
    """The same few sentences every time, spread over the dev set."""
    stride = max(1, len(hypotheses) // NUM_SAMPLES)
    for index in list(range(0, len(hypotheses), stride))[:NUM_SAMPLES]:
        LOGGER.info("  source     %s", dev.sources[index])
        LOGGER.info("  reference  %s", dev.references[index])
        LOGGER.info("  hypothesis %s", hypotheses[index])
