"""Validation: loss on the dev set, and BLEU and chrF of translations by the one Translator."""

import math
from collections.abc import Sequence
from contextlib import closing

import torch
from torch import Tensor

from mtx.checkpoint.training import Evaluation
from mtx.config.settings import TrainSettings
from mtx.data.batching import Batch, collate
from mtx.decode.translator import Translator
from mtx.evaluate import score
from mtx.model import Transformer
from mtx.system.device import Precision, is_out_of_memory
from mtx.system.logs import LOGGER
from mtx.train.failures import explain_large_pair
from mtx.train.inputs import DevSet, RunInputs
from mtx.train.loss import blocked_cross_entropy
from mtx.train.step import PairTooLargeError
from mtx.train.stopping import StopSignals

NUM_SAMPLES = 5  # Dev sentences whose translations are logged at each validation


def validate(inputs: RunInputs, dev: DevSet, step: int, signals: StopSignals) -> Evaluation:
    """Score the model after `step`: loss, BLEU and chrF. Logs a few translations. All ranks call it together.

    Raises:
        Stopped: a signal asked for it.
    """
    signals.share()
    signals.raise_if_stopped()
    settings, trained, group = inputs.settings, inputs.trained, inputs.group
    was_training = trained.model.training
    trained.model.eval()
    options = trained.generation.decode.with_options(
        beam_size=settings.eval_beam, batch_tokens=settings.batch_tokens, tag=dev.source.tag, with_scores=False
    )
    translator = Translator(trained, options, inputs.precision)
    try:
        with signals.interruptible(), closing(translator):
            with explain_large_pair(dev.corpus, [dev.source]):
                own_sums = _nll_and_tokens(inputs, dev, signals)
            own = translator.translate(group.share(dev.sources), signals.check)
    finally:
        trained.model.train(was_training)
    sums = torch.tensor(own_sums, dtype=torch.float64, device=inputs.precision.device)
    nll_sum, num_tokens = group.all_reduce_sum(sums).tolist()
    hypotheses = group.interleave([translation.tgt for translation in own])
    bleu, chrf, _ = score(hypotheses, [dev.references], trained.tgt_lang, num_samples=1)
    _log_samples(dev, hypotheses)
    return Evaluation(step, nll_sum / num_tokens, bleu.score, chrf.score)


def best_of(evaluations: Sequence[Evaluation]) -> Evaluation:
    """Return the evaluation with the highest BLEU, then the lowest loss; those with a finite loss come first."""
    return max(evaluations, key=lambda e: (math.isfinite(e.loss), e.bleu, -e.loss))


def is_out_of_patience(evaluations: Sequence[Evaluation], patience: int) -> bool:
    """Whether the last `patience` validations brought no better result; a patience of 0 never ends."""
    return bool(patience and evaluations) and len(evaluations) - 1 - evaluations.index(best_of(evaluations)) >= patience


def format_evaluation(evaluation: Evaluation) -> str:
    """Format an evaluation for the log."""
    return (
        f"dev loss {evaluation.loss:.4f}, perplexity {math.exp(min(evaluation.loss, 50)):.2f}, "
        f"BLEU {evaluation.bleu:.2f}, chrF2 {evaluation.chrf:.2f}"
    )


@torch.inference_mode()
def _nll_and_tokens(inputs: RunInputs, dev: DevSet, signals: StopSignals) -> tuple[float, int]:
    """Negative log-likelihood of this rank's share of the dev set, in nats, and its number of target tokens."""
    special = inputs.trained.tokenizer
    nll_sum, num_tokens = torch.zeros((), device=inputs.precision.device), 0
    for rows in inputs.group.share(dev.batches):
        batch = collate(dev.corpus, rows, pad_id=special.pad_id, bos_id=special.bos_id, eos_id=special.eos_id)
        nll_sum += _nll(inputs.trained.model, batch, inputs.precision, inputs.settings)
        num_tokens += batch.num_tokens
        signals.check()
    return float(nll_sum), num_tokens


def _nll(model: Transformer, batch: Batch, precision: Precision, settings: TrainSettings) -> Tensor:
    """Negative log-likelihood of `batch`, or the sum over its halves if memory can't hold it. Shapes: ()."""
    try:
        with precision.autocast():
            return blocked_cross_entropy(model, batch.to(precision.device), settings).nll
    except (RuntimeError, MemoryError, OSError) as error:
        if not is_out_of_memory(error):
            raise
        if len(batch.rows) == 1:
            raise PairTooLargeError(batch) from error
    first, last = batch.halves()
    return _nll(model, first, precision, settings) + _nll(model, last, precision, settings)


def _log_samples(dev: DevSet, hypotheses: Sequence[str]) -> None:
    """Log the same few sentences every time, spread over the dev set."""
    stride = max(1, len(hypotheses) // NUM_SAMPLES)
    for index in list(range(0, len(hypotheses), stride))[:NUM_SAMPLES]:
        LOGGER.info("  source     %s", dev.sources[index])
        LOGGER.info("  reference  %s", dev.references[index])
        LOGGER.info("  hypothesis %s", hypotheses[index])
