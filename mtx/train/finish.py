"""End of a run: choose the final weights, score them, write the model folder and its card."""

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import torch
from torch import Tensor

from mtx import __version__
from mtx.checkpoint.model_folder import save_model
from mtx.checkpoint.tensors import load_weights
from mtx.checkpoint.training import Progress, average_weights, undamaged_steps
from mtx.data.sources.base import Pair
from mtx.data.sources.read import reader
from mtx.decode.lines import Translation
from mtx.errors import UserError
from mtx.judge.disturbances import KINDS
from mtx.judge.judgement import Parts, judge
from mtx.judge.report import Report
from mtx.judge.robustness import Robustness, measure_robustness
from mtx.judge.test_set import TestSet, Translated
from mtx.judge.training import Seen, look_up, training_pairs
from mtx.system.device import Precision
from mtx.system.logs import LOGGER
from mtx.train.checkpoints import past_steps, steps_to_average
from mtx.train.setup import DevSet, RunInputs
from mtx.train.stopping import StopSignals
from mtx.train.validation import best_of, format_evaluation, translate_dev, validate

NUM_DISTURBED = 100  # Dev sentences on which robustness is measured: each is translated once for each disturbance
PAIRS_BETWEEN_CHECKS = 1000  # Training pairs read between checks for signals


def choose_weights(progress: Progress, inputs: RunInputs, signals: StopSignals) -> tuple[dict[str, Tensor], list[int]]:
    """Choose the best checkpoint, or the mean of the last ones if dev scores it higher. All ranks call it together.

    Returns the weights, and the steps that they are the mean of. Without a dev set the last checkpoint is chosen.
    Damaged checkpoints are left out.

    Raises:
        Stopped: a signal asked for it.
        UserError: every checkpoint is damaged (MODEL).
    """
    folder, checkpoints = inputs.folder, inputs.folder.checkpoints
    undamaged = inputs.group.broadcast_from_0(lambda: undamaged_steps(checkpoints, past_steps(progress, folder)))
    averaged = steps_to_average(undamaged, inputs.settings)
    evaluations = [evaluation for evaluation in progress.evaluations if evaluation.step in undamaged]
    if not inputs.dev or not evaluations:
        return average_weights(checkpoints, undamaged[-1:]), undamaged[-1:]
    best = best_of(evaluations)
    LOGGER.info("best single checkpoint: step %d, %s", best.step, format_evaluation(best))
    if len(averaged) > 1:
        mean = average_weights(checkpoints, averaged)
        load_weights(inputs.trained.model, mean, checkpoints)
        evaluation = validate(inputs, averaged[-1], signals)
        is_better = best_of([best, evaluation]) is evaluation
        verdict = "better, kept" if is_better else "no better, dropped"
        LOGGER.info("mean of the last %d: %s: %s", len(averaged), format_evaluation(evaluation), verdict)
        if is_better:
            return mean, averaged
    return average_weights(checkpoints, [best.step]), [best.step]


def write_model(weights: dict[str, Tensor], steps: list[int], inputs: RunInputs, signals: StopSignals) -> None:
    """Write the run's model folder, with dev scores by the search of `mtx translate`. All ranks call it together.

    `steps` are those whose mean `weights` are.

    Raises:
        Stopped: a signal asked for it.
    """
    trained = inputs.trained
    load_weights(trained.model.eval(), weights, inputs.folder.checkpoints)
    scores = _score(inputs, signals) if inputs.dev else "no dev set"
    metadata = {"max_steps": inputs.settings.max_steps, "steps": steps}
    metadata |= {"tokenizer": trained.tokenizer.digest, "data": inputs.corpus.key}
    if inputs.group.is_rank0:
        card = _card(steps, scores, inputs)
        save_model(inputs.folder.model, trained, inputs.config.model, weights, metadata, card)


def _score(inputs: RunInputs, signals: StopSignals) -> str:
    """Score the final weights on the dev sets in float32, explain the scores, and log them. All ranks call it."""
    beam_size = inputs.trained.generation.decode.beam_size
    num_sentences = sum(len(dev.sources) for dev in inputs.dev)
    LOGGER.info("translating %s dev sentences, beam %d", f"{num_sentences:,}", beam_size)
    data, model = inputs.config.data, str(inputs.folder.model)
    sets, reports = [], []
    for dev in inputs.dev:
        src_lang, tgt_lang = data.languages_of(dev.source)
        tag = dev.source.tag
        sets.append(TestSet(dev.name, dev.sources, [dev.references], tag, tgt_lang, src_lang=src_lang))
    known = _look_up(sets, inputs, signals)
    for dev, test_set, seen in zip(inputs.dev, sets, known, strict=True):
        start = time.perf_counter()
        translations = _translate(dev.sources, dev, inputs, signals)
        seconds, num_tokens = time.perf_counter() - start, sum(each.num_tokens for each in translations)
        translated = Translated([translation.tgt for translation in translations], model, seconds, num_tokens)
        copies = Translated(dev.sources, "copies of the sources")
        report = judge(test_set, translated, Parts(breakdown=True), copies, seen)
        # The card shows no sentences: it goes wherever the model goes.
        breakdown = report.breakdown and replace(report.breakdown, worst=[], gained=[], lost=[])
        robustness = _robustness(dev, test_set, inputs, signals)
        reports.append(replace(report, breakdown=breakdown, robustness=robustness))
    text = Report.mean_of(reports).to_text()
    LOGGER.info("dev, beam %d:", beam_size)
    for line in text.split("\n"):
        LOGGER.info("%s", line)
    return text


def _translate(
    lines: list[str], dev: DevSet, inputs: RunInputs, signals: StopSignals, **options: Any
) -> list[Translation]:
    precision = Precision(torch.float32, inputs.precision.device)
    return translate_dev(inputs, replace(dev, sources=lines), signals, precision, **options)


def _look_up(sets: Sequence[TestSet], inputs: RunInputs, signals: StopSignals) -> Sequence[Seen | None]:
    """Look up the dev sets in the training data. Only rank 0 does, which writes the card."""

    def watched(pairs: Iterable[Pair]) -> Iterator[Pair]:
        for number, pair in enumerate(pairs):
            if number % PAIRS_BETWEEN_CHECKS == 0:
                signals.check()
            yield pair

    with signals.interruptible():
        if inputs.group.is_rank0:
            try:
                return look_up(sets, watched(training_pairs(inputs.config.data, inputs.config.clean)))
            except UserError as error:
                LOGGER.info("the model card has no scores by rare words: %s", error)
    return [None] * len(sets)


def _robustness(dev: DevSet, test_set: TestSet, inputs: RunInputs, signals: StopSignals) -> Robustness:
    """Measure robustness on a part of a dev set by greedy search, which takes little time beside the training."""

    def translate(lines: list[str]) -> list[str]:
        return [each.tgt for each in _translate(lines, dev, inputs, signals, beam_size=1, with_scores=False)]

    part = slice(max(1, NUM_DISTURBED // len(inputs.dev)))
    few = replace(test_set, sources=test_set.sources[part], references=[lines[part] for lines in test_set.references])
    return measure_robustness(few, translate(few.sources), KINDS, translate)


def _card(steps: list[int], scores: str, inputs: RunInputs) -> str:
    """Write the model card, in the form that model hubs read."""
    trained, sizes = inputs.trained, inputs.config.model
    tokenizer, (src, tgt) = trained.tokenizer, inputs.config.data.all_languages
    sources = "\n".join(f"- {reader(source).label}" for source in inputs.config.data.train)
    num_parameters = sum(weight.numel() for weight in trained.model.parameters())
    width = f"d_model {sizes.d_model}, {sizes.num_heads} heads, d_ff {sizes.d_ff}, {sizes.norm}-norm"
    vocabulary = f"{tokenizer.src_vocab_size:,} source, {tokenizer.tgt_vocab_size:,} target pieces"
    beam_size = trained.generation.decode.beam_size
    dev = "dev sets (of each the" if len(inputs.dev) > 1 else "dev set (its"
    return f"""---
language: [{", ".join(dict.fromkeys([*src, *tgt]))}]
pipeline_tag: translation
library_name: mtx
---
# {", ".join(src)} → {", ".join(tgt)}

A Transformer trained with mtx {__version__} on {datetime.now(UTC):%Y-%m-%d}.

Use it: `mtx translate --model THIS_FOLDER "a sentence"`

| | |
| --- | --- |
| parameters | {num_parameters:,} |
| layers | {sizes.encoder_layers} + {sizes.decoder_layers}, {width} |
| vocabulary | {vocabulary}, {"joint" if tokenizer.is_joint else "separate"} |
| training pairs | {inputs.corpus.summary()} |
| weights of step | {", ".join(f"{step:,}" for step in steps)} |

Scores on the {dev} first {inputs.settings.eval_sentences:,} pairs at most, beam {beam_size}):

```text
{scores}
```

Disturbed sources: the first {NUM_DISTURBED} at most, translated by greedy search.

Score it on the test set of its run, or on another one: `mtx evaluate --model THIS_FOLDER`.

Training data:

{sources}

Trained by `mtx train --config config.yaml`, with the `config.yaml` of its run folder.
"""
