"""Validation: dev loss, and BLEU and chrF by real decoding through the one Translator."""

import math
from collections.abc import Sequence
from contextlib import closing

import torch
from torch import Tensor

from mtx.checkpoint.training import Evaluation
from mtx.data.batching import Batch, collate
from mtx.decode.translator import Translator
from mtx.evaluate import score
from mtx.system.device import is_out_of_memory
from mtx.system.logs import LOGGER
from mtx.train.dev_set import DevSet
from mtx.train.failures import pair_too_large_explained
from mtx.train.state import Session
from mtx.train.step import PairTooLargeError, loss_sums

NUM_SAMPLES = 5
"""Dev sentences whose translations are shown at every validation."""


def validate(session: Session, dev: DevSet, step: int) -> Evaluation:
    """Together: loss, BLEU and chrF of the model as it stands, which is that of `step`; shows a few translations.

    Raises:
        Stopped: a signal asked for it.
    """
    session.agree()
    session.stop_if_asked()
    config, model = session.config, session.trained.model
    was_training = model.training
    model.eval()
    translator = Translator(
        session.trained,
        session.precision,
        beam_size=config.train.eval_beam,
        length_penalty=config.decode.length_penalty,
        batch_tokens=config.train.batch_tokens,
        with_scores=False,
        tag=dev.source.tag,
    )
    try:
        with session.interruptible(), closing(translator):
            with pair_too_large_explained(dev.corpus, [dev.source]):
                own_sums = _loss_sums(session, dev)
            own = translator.translate(session.group.share(dev.sources), session.stop_midway)
    finally:
        model.train(was_training)
    sums = torch.tensor(own_sums, dtype=torch.float64, device=session.precision.device)
    nll_sum, num_tokens = session.group.all_reduce_sum(sums).tolist()
    hypotheses = session.group.interleave([translation.tgt for translation in own])
    bleu, chrf, _ = score(hypotheses, [dev.references], config.data.tgt_lang, num_samples=1)
    _show_samples(dev, hypotheses)
    return Evaluation(step, nll_sum / num_tokens, bleu.score, chrf.score)


def best_of(evaluations: Sequence[Evaluation]) -> Evaluation:
    """The evaluation with the highest BLEU, the lowest loss among equals; one without a finite loss only if all are."""
    return max(evaluations, key=lambda e: (math.isfinite(e.loss), e.bleu, -e.loss))


def describe(evaluation: Evaluation) -> str:
    """One line for people."""
    return (
        f"dev loss {evaluation.loss:.4f}, perplexity {math.exp(min(evaluation.loss, 50)):.2f}, "
        f"BLEU {evaluation.bleu:.2f}, chrF2 {evaluation.chrf:.2f}"
    )


@torch.inference_mode()
def _loss_sums(session: Session, dev: DevSet) -> tuple[float, int]:
    """Negative log-likelihood of this rank's share of the dev set, and its number of target tokens."""
    device, special = session.precision.device, session.trained.tokenizer
    nll_sum = torch.zeros((), device=device)
    num_tokens = 0
    for rows in session.group.share(dev.batches):
        batch = collate(dev.corpus, rows, pad_id=special.pad_id, bos_id=special.bos_id, eos_id=special.eos_id)
        nll_sum += _nll_sum(session, batch)
        num_tokens += batch.num_tokens
        session.stop_midway()
    return float(nll_sum), num_tokens


def _nll_sum(session: Session, batch: Batch) -> Tensor:
    """Summed over all of `batch`, or over its halves where there is no memory for it at once."""
    try:
        on_device = batch.to(session.precision.device)
        return loss_sums(session.trained.model, on_device, session.precision, label_smoothing=0.0)[1]
    except (RuntimeError, MemoryError, OSError) as error:
        if not is_out_of_memory(error):
            raise
        if len(batch.rows) == 1:
            raise PairTooLargeError(batch) from error
    first, last = batch.halves()
    return _nll_sum(session, first) + _nll_sum(session, last)


def _show_samples(dev: DevSet, hypotheses: Sequence[str]) -> None:
    """The same few sentences every time, spread over the dev set."""
    stride = max(1, len(hypotheses) // NUM_SAMPLES)
    for index in list(range(0, len(hypotheses), stride))[:NUM_SAMPLES]:
        LOGGER.info("  source     %s", dev.sources[index])
        LOGGER.info("  reference  %s", dev.references[index])
        LOGGER.info("  hypothesis %s", hypotheses[index])
