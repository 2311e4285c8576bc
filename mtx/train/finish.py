"""End of a run: choose the final weights, score them, write the model folder and its card."""

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import torch
from torch import Tensor

from mtx import __version__
from mtx.checkpoint.model_folder import save_model
from mtx.checkpoint.tensors import load_weights
from mtx.checkpoint.training import Evaluation, Progress, average_weights, undamaged_steps
from mtx.data.sources.read import reader
from mtx.decode.translator import Translator
from mtx.evaluate import Report, report_on_model
from mtx.system.device import Precision
from mtx.system.logs import LOGGER
from mtx.train.inputs import DevSet, RunInputs
from mtx.train.saving import past_steps, steps_to_average
from mtx.train.stopping import StopSignals
from mtx.train.validation import best_of, format_evaluation, validate


@dataclass(frozen=True, slots=True)
class FinalWeights:
    """Weights that a run ends with."""

    weights: dict[str, Tensor]
    steps: list[int]  # Checkpoints that they are the mean of
    evaluation: Evaluation | None


def choose_weights(progress: Progress, inputs: RunInputs, signals: StopSignals) -> FinalWeights:
    """Choose the best checkpoint, or the mean of the last ones if dev scores it higher. All ranks call it together.

    Without a dev set the last checkpoint is chosen. Damaged checkpoints are left out.

    Raises:
        Stopped: a signal asked for it.
        UserError: every checkpoint is damaged (MODEL).
    """
    folder, group = inputs.folder, inputs.group
    checkpoints = folder.checkpoints
    undamaged = group.broadcast_from_0(lambda: undamaged_steps(checkpoints, past_steps(progress, folder)))
    regular = group.broadcast_from_0(lambda: steps_to_average(progress, folder, inputs.settings))
    steps = [step for step in regular if step in undamaged]
    evaluations = [evaluation for evaluation in progress.evaluations if evaluation.step in undamaged]
    if inputs.dev is None or not evaluations:
        return FinalWeights(average_weights(checkpoints, undamaged[-1:]), undamaged[-1:], None)
    best = best_of(evaluations)
    LOGGER.info("best single checkpoint: step %d, %s", best.step, format_evaluation(best))
    if len(steps) > 1:
        mean = average_weights(checkpoints, steps)
        load_weights(inputs.trained.model, mean, checkpoints)
        evaluation = validate(inputs, inputs.dev, steps[-1], signals)
        is_better = best_of([best, evaluation]) is evaluation
        verdict = "better, kept" if is_better else "no better, dropped"
        LOGGER.info("mean of the last %d: %s: %s", len(steps), format_evaluation(evaluation), verdict)
        if is_better:
            return FinalWeights(mean, steps, evaluation)
    return FinalWeights(average_weights(checkpoints, [best.step]), [best.step], best)


def write_model(final: FinalWeights, inputs: RunInputs, signals: StopSignals) -> Path:
    """Write the run's model folder, with dev scores by the search of `mtx translate`. All ranks call it together.

    Raises:
        Stopped: a signal asked for it.
    """
    folder, trained = inputs.folder, inputs.trained
    load_weights(trained.model, final.weights, folder.checkpoints)
    report = None if inputs.dev is None else _score(inputs, inputs.dev, signals)
    metadata = {
        "max_steps": inputs.settings.max_steps,
        "steps": final.steps,
        "tokenizer": trained.tokenizer.digest,
        "data": inputs.corpus.key,
    }
    if inputs.group.is_rank0:
        card = _card(final, inputs, report)
        save_model(folder.model, trained, inputs.model_settings, final.weights, metadata, card)
    return folder.model


def _score(inputs: RunInputs, dev: DevSet, signals: StopSignals) -> Report:
    """Score the final weights on the dev set in float32, and log the scores."""
    trained, decode = inputs.trained, inputs.trained.generation.decode
    signals.share()
    signals.raise_if_stopped()
    trained.model.eval()
    options = decode.with_options(batch_tokens=inputs.settings.batch_tokens, tag=dev.source.tag)
    translator = Translator(trained, options, Precision(torch.float32, inputs.precision.device))
    LOGGER.info("translating %s dev sentences, beam %d", f"{len(dev.sources):,}", decode.beam_size)
    start = time.perf_counter()
    with signals.interruptible():
        own = translator.translate(inputs.group.share(dev.sources), signals.check)
    translations = inputs.group.interleave(own)
    seconds = time.perf_counter() - start
    report = report_on_model(translations, [dev.references], trained.tgt_lang, str(inputs.folder.model), seconds)
    LOGGER.info("dev, beam %d:", decode.beam_size)
    for line in report.to_text().split("\n"):
        LOGGER.info("%s", line)
    return report


def _card(final: FinalWeights, inputs: RunInputs, report: Report | None) -> str:
    """Write the model card, in the form that model hubs read."""
    trained, sizes = inputs.trained, inputs.model_settings
    tokenizer, src, tgt = trained.tokenizer, trained.src_lang, trained.tgt_lang
    sources = "\n".join(f"- {reader(source).label}" for source in inputs.sources)
    num_parameters = sum(weight.numel() for weight in final.weights.values())
    width = f"d_model {sizes.d_model}, {sizes.num_heads} heads, d_ff {sizes.d_ff}, {sizes.norm}-norm"
    vocabulary = f"{tokenizer.src_vocab_size:,} source, {tokenizer.tgt_vocab_size:,} target pieces"
    beam_size = trained.generation.decode.beam_size
    scores = "no dev set" if report is None else report.to_text()
    steps = ", ".join(f"{step:,}" for step in final.steps)
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
| training pairs | {inputs.corpus.summary()} |
| weights of step | {steps} |

Scores on the dev set (its first {inputs.settings.eval_sentences:,} pairs at most, beam {beam_size}):

```text
{scores}
```

Score it on the test set of its run, or on another one: `mtx evaluate --model THIS_FOLDER`.

Training data:

{sources}

Trained by `mtx train --config config.yaml`, with the `config.yaml` of its run folder.
"""
