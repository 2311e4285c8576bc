"""Validation: loss on the dev set, and BLEU and chrF of translations by the one Translator."""

import math
from collections.abc import Sequence
from contextlib import closing
from typing import Any

import torch

from mtx.checkpoint.training import Evaluation, SetScores
from mtx.config.settings import TrainSettings
from mtx.data.batching import collate
from mtx.decode.lines import Translation
from mtx.decode.translator import Translator
from mtx.judge.report import score
from mtx.system.device import Precision
from mtx.system.logs import LOGGER
from mtx.train.failures import explain_large_pair
from mtx.train.loss import loss_function
from mtx.train.setup import DevSet, RunInputs
from mtx.train.step import Parts
from mtx.train.stopping import StopSignals

NUM_SAMPLES = 5  # Dev sentences whose translations are logged at each validation


def is_validation_due(step: int, settings: TrainSettings) -> bool:
    """Whether the model is validated after `step`."""
    return step % settings.eval_every == 0 or step >= settings.max_steps


def validate(inputs: RunInputs, step: int, signals: StopSignals) -> Evaluation:
    """Score the model after `step` on each dev set: loss, BLEU and chrF. Log a few translations.

    All ranks call it together.

    Raises:
        Stopped: a signal asked for it.
    """
    return Evaluation.of(step, [_score_on(inputs, dev, signals) for dev in inputs.dev])


def _score_on(inputs: RunInputs, dev: DevSet, signals: StopSignals) -> SetScores:
    model, options = inputs.trained.model, {"beam_size": inputs.settings.eval_beam, "with_scores": False}
    model.eval()
    loss = _dev_loss(inputs, dev, signals)
    translations = translate_dev(inputs, dev, signals, inputs.precision, **options)
    model.train()
    hypotheses = [translation.tgt for translation in translations]
    bleu, chrf, _ = score(hypotheses, [dev.references], dev.bleu_tokenizer, with_ci=False)
    # The same few sentences every time, spread over the dev set.
    num_samples = max(1, NUM_SAMPLES // len(inputs.dev))
    for index in list(range(0, len(hypotheses), max(1, len(hypotheses) // num_samples)))[:num_samples]:
        LOGGER.info("  source     %s", dev.sources[index])
        LOGGER.info("  reference  %s", dev.references[index])
        LOGGER.info("  hypothesis %s", hypotheses[index])
    return SetScores(dev.name, loss, bleu.score, chrf.score, dev.bleu_tokenizer)


def translate_dev(
    inputs: RunInputs, dev: DevSet, signals: StopSignals, precision: Precision, **options: Any
) -> list[Translation]:
    """Translate the dev set, with the run's decoding settings except for `options`. Each rank does its share."""
    tag, batch_tokens = dev.source.tag, inputs.settings.batch_tokens
    decode = inputs.trained.generation.decode.with_options(tag=tag, batch_tokens=batch_tokens, **options)
    translator = Translator(inputs.trained, decode, precision)
    with signals.interruptible(), closing(translator):
        own = translator.translate(inputs.group.share(dev.sources), signals.check)
    return inputs.group.interleave(own)


@torch.inference_mode()
def _dev_loss(inputs: RunInputs, dev: DevSet, signals: StopSignals) -> float:
    """Negative log-likelihood of the dev set in nats per target token. Each rank computes its share."""
    special, precision = inputs.trained.tokenizer, inputs.precision
    nll_sum, num_tokens = torch.zeros((), dtype=torch.float64, device=precision.device), 0
    loss_fn = loss_function("cross_entropy")  # whatever the loss of the training, so that runs can be compared
    with signals.interruptible(), explain_large_pair(dev.corpus, [dev.source]):
        for rows in inputs.group.share(dev.batches):
            batch = collate(dev.corpus, rows, pad_id=special.pad_id, bos_id=special.bos_id, eos_id=special.eos_id)
            parts = Parts([batch])
            for part in parts:
                with parts.split_if_too_large(), precision.autocast():
                    parts.done(loss_fn(inputs.trained.model, part.to(precision.device), inputs.settings))
            nll_sum += parts.loss_sums()[1]
            num_tokens += batch.num_tokens
            signals.check()
    sums = torch.stack([nll_sum, nll_sum.new_tensor(num_tokens)])
    nll, count = inputs.group.all_reduce_sum(sums).tolist()
    return float(nll / count)


def best_of(evaluations: Sequence[Evaluation]) -> Evaluation:
    """Return the evaluation with the highest BLEU, then the lowest loss; those with a finite loss come first.

    Evaluations with another BLEU tokenizer than the last one can't be compared and are left out. Earlier versions
    recorded no tokenizer; their evaluations count.
    """
    comparable = [e for e in evaluations if e.tokenizers in ([], evaluations[-1].tokenizers)]
    return max(comparable, key=lambda e: (math.isfinite(e.loss), e.bleu, -e.loss))


def is_out_of_patience(evaluations: Sequence[Evaluation], patience: int) -> bool:
    """Whether the last `patience` validations brought no better result; a patience of 0 never ends."""
    return bool(patience and evaluations) and len(evaluations) - 1 - evaluations.index(best_of(evaluations)) >= patience


def format_evaluation(evaluation: Evaluation) -> str:
    """Format the scores; if they are means over several dev sets, the scores on each set follow."""
    each = "; ".join(f"{one.name}: {_format_scores(one)}" for one in evaluation.sets)
    several = f" (means of: {each})" if len(evaluation.sets) > 1 else ""
    return (
        f"dev loss {evaluation.loss:.4f}, perplexity {math.exp(min(evaluation.loss, 50)):.2f}, "
        f"BLEU {evaluation.bleu:.2f}, chrF2 {evaluation.chrf:.2f}{several}"
    )


def _format_scores(scores: SetScores) -> str:
    return f"loss {scores.loss:.4f}, BLEU {scores.bleu:.2f}, chrF2 {scores.chrf:.2f}"
