"""The end of a run: choose the weights, write the model folder and its card."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from torch import Tensor

from mtx import __version__
from mtx.checkpoint.model_folder import TrainedModel, save_model
from mtx.checkpoint.sealed import load_tensors, open_sealed
from mtx.checkpoint.training import Evaluation, average_weights, checkpoint_folder, load_weights
from mtx.config.settings import Config
from mtx.data.corpus import source_name
from mtx.data.prepare import Corpus
from mtx.runtime import LOGGER, Precision, StopRequest
from mtx.train.run_folder import RunFolder
from mtx.train.validation import DevSet, best_of, describe, validate


@dataclass(frozen=True, slots=True)
class Choice:
    """The weights that a run ends with."""

    weights: dict[str, Tensor]
    steps: list[int]
    """The checkpoints that they are the mean of."""
    evaluation: Evaluation | None


def choose_weights(
    run: RunFolder,
    trained: TrainedModel,
    dev: DevSet | None,
    config: Config,
    precision: Precision,
    evaluations: list[Evaluation],
    steps_to_average: list[int],
    stop: StopRequest,
) -> Choice:
    """The best checkpoint by dev BLEU, or the mean of the last ones if dev finds that better; the last without a dev set.

    Raises:
        Stopped: `stop` asked for it.
    """
    if dev is None or not evaluations:
        last = steps_to_average[-1:]
        return Choice(_weights_at(run, last), last, None)
    best = best_of(evaluations)
    choice = Choice(_weights_at(run, [best.step]), [best.step], best)
    LOGGER.info("best single checkpoint: step %d, %s", best.step, describe(best))
    if len(steps_to_average) > 1:
        mean = _weights_at(run, steps_to_average)
        load_weights(trained.model, mean, run.checkpoints)
        found = validate(trained, dev, config, precision, steps_to_average[-1], stop)
        is_better = best_of([best, found]) is found
        verdict = "better, kept" if is_better else "no better, left"
        LOGGER.info("mean of the last %d: %s: %s", len(steps_to_average), describe(found), verdict)
        if is_better:
            choice = Choice(mean, steps_to_average, found)
    return choice


def write_model(run: RunFolder, trained: TrainedModel, config: Config, corpus: Corpus, choice: Choice) -> Path:
    """Write the run's model folder with the chosen weights."""
    about = {
        "max_steps": config.train.max_steps,
        "steps": choice.steps,
        "tokenizer": trained.tokenizer.digest,
        "data": corpus.key,
    }
    card = _card(trained, config, corpus, choice)
    save_model(run.model, trained, config.model, choice.weights, about, card)
    return run.model


def _weights_at(run: RunFolder, steps: list[int]) -> dict[str, Tensor]:
    folders = [checkpoint_folder(run.checkpoints, step) for step in steps]
    if len(folders) == 1:
        open_sealed(folders[0])
        return load_tensors(folders[0] / "weights.safetensors")
    return average_weights(folders)


def _card(trained: TrainedModel, config: Config, corpus: Corpus, choice: Choice) -> str:
    """The model card, in the form that model hubs read."""
    src, tgt = config.data.src_lang, config.data.tgt_lang
    sources = "\n".join(f"- {source_name(source)}" for source in config.data.train)
    num_parameters = sum(weight.numel() for weight in choice.weights.values())
    sizes = config.model
    scores = "no dev set" if choice.evaluation is None else describe(choice.evaluation)
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
| layers | {sizes.encoder_layers} + {sizes.decoder_layers}, d_model {sizes.d_model}, {sizes.num_heads} heads, d_ff {sizes.d_ff}, {sizes.norm}-norm |
| vocabulary | {trained.tokenizer.src_vocab_size:,} source, {trained.tokenizer.tgt_vocab_size:,} target pieces, {"joint" if trained.tokenizer.is_joint else "separate"} |
| training pairs | {corpus.summary()} |
| weights of step | {steps} |
| dev, during training | {scores} (first {config.train.eval_sentences:,} pairs at most, beam {config.train.eval_beam}) |

Training data:
{sources}

For scores with signatures on the test set, and hypotheses: `mtx evaluate --model THIS_FOLDER`.
"""
