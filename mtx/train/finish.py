"""The end of a run: choose the weights, write the model folder and its card."""

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import torch
from torch import Tensor

from mtx import __version__
from mtx.checkpoint.model_folder import save_model
from mtx.checkpoint.training import Evaluation, average_weights, whole_checkpoints
from mtx.checkpoint.weights import load_weights
from mtx.data.sources.read import reader
from mtx.decode.translator import Translator
from mtx.evaluate import Report, report_on
from mtx.system.device import Precision
from mtx.system.logs import LOGGER
from mtx.train.state import Session
from mtx.train.validation import best_of, describe, validate


@dataclass(frozen=True, slots=True)
class Choice:
    """The weights that a run ends with."""

    weights: dict[str, Tensor]
    steps: list[int]
    """The checkpoints that they are the mean of."""
    evaluation: Evaluation | None


def choose_weights(session: Session) -> Choice:
    """Together: the best checkpoint, or the mean of the last if that is better on dev; without a dev set the last one.

    Damaged checkpoints are left out.

    Raises:
        Stopped: a signal asked for it.
        UserError: every checkpoint is damaged (MODEL).
    """
    checkpoints = session.run.checkpoints
    whole = session.group.broadcast_from_0(lambda: whole_checkpoints(checkpoints, session.past_steps()))
    steps = [step for step in session.group.broadcast_from_0(session.steps_to_average) if step in whole]
    evaluations = [evaluation for evaluation in session.progress.evaluations if evaluation.step in whole]
    if session.dev is None or not evaluations:
        return Choice(average_weights(checkpoints, whole[-1:]), whole[-1:], None)
    best = best_of(evaluations)
    LOGGER.info("best single checkpoint: step %d, %s", best.step, describe(best))
    if len(steps) > 1:
        mean = average_weights(checkpoints, steps)
        load_weights(session.trained.model, mean, checkpoints)
        found = validate(session, session.dev, steps[-1])
        is_better = best_of([best, found]) is found
        verdict = "better, kept" if is_better else "no better, left"
        LOGGER.info("mean of the last %d: %s: %s", len(steps), describe(found), verdict)
        if is_better:
            return Choice(mean, steps, found)
    return Choice(average_weights(checkpoints, [best.step]), [best.step], best)


def write_model(session: Session, choice: Choice) -> Path:
    """Together: write the run's model folder with the chosen weights, scored by the search of `mtx translate`.

    Raises:
        Stopped: a signal asked for it.
    """
    config, run = session.config, session.run
    load_weights(session.trained.model, choice.weights, run.checkpoints)
    report = _final_scores(session)
    about = {
        "max_steps": config.train.max_steps,
        "steps": choice.steps,
        "tokenizer": session.trained.tokenizer.digest,
        "data": session.corpus.key,
    }
    if session.group.is_rank0:
        save_model(run.model, session.trained, config.model, choice.weights, about, _card(session, choice, report))
    return run.model


def _final_scores(session: Session) -> Report | None:
    config, dev, decode = session.config, session.dev, session.config.decode
    if dev is None:
        return None
    session.agree()
    session.stop_if_asked()
    session.trained.model.eval()
    translator = Translator(
        session.trained,
        Precision(torch.float32, session.precision.device),
        beam_size=decode.beam_size,
        length_penalty=decode.length_penalty,
        batch_tokens=config.train.batch_tokens,
        tag=dev.source.tag,
    )
    LOGGER.info("translating %s dev sentences, beam %d", f"{len(dev.sources):,}", decode.beam_size)
    start = time.perf_counter()
    with session.interruptible():
        own = translator.translate(session.group.share(dev.sources), session.stop_midway)
    translations = session.group.interleave(own)
    seconds = time.perf_counter() - start
    report = report_on(translations, [dev.references], config.data.tgt_lang, str(session.run.model), seconds)
    LOGGER.info("dev, beam %d:", decode.beam_size)
    for line in report.to_text().split("\n"):
        LOGGER.info("%s", line)
    return report


def _card(session: Session, choice: Choice, report: Report | None) -> str:
    """The model card, in the form that model hubs read."""
    config, trained = session.config, session.trained
    src, tgt = config.data.src_lang, config.data.tgt_lang
    sources = "\n".join(f"- {reader(source).label}" for source in config.data.train)
    num_parameters = sum(weight.numel() for weight in choice.weights.values())
    sizes, tokenizer = config.model, trained.tokenizer
    width = f"d_model {sizes.d_model}, {sizes.num_heads} heads, d_ff {sizes.d_ff}, {sizes.norm}-norm"
    vocabulary = f"{tokenizer.src_vocab_size:,} source, {tokenizer.tgt_vocab_size:,} target pieces"
    scores = "no dev set" if report is None else report.to_text()
    steps = ", ".join(f"{step:,}" for step in choice.steps)
    return f"""---
language: [{src}, {tgt}]
pipeline_tag: translation
library_name: mtx
---
# {src} → {tgt}

A Transformer trained with mtx {__version__} on {datetime.now(UTC):%Y-%m-%d}.

Use it: `mtx translate --model THIS_FOLDER "a sentence"`

| | |
| --- | --- |
| parameters | {num_parameters:,} |
| layers | {sizes.encoder_layers} + {sizes.decoder_layers}, {width} |
| vocabulary | {vocabulary}, {"joint" if tokenizer.is_joint else "separate"} |
| training pairs | {session.corpus.summary()} |
| weights of step | {steps} |

Scores on the dev set (its first {config.train.eval_sentences:,} pairs at most, beam {config.decode.beam_size}):

```text
{scores}
```

On the test set of its run, or another one: `mtx evaluate --model THIS_FOLDER`.

Training data:

{sources}

Trained by `mtx train --config config.yaml`, with the `config.yaml` of its run folder.
"""
