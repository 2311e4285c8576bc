"""Advice about a config: settings that are valid alone, but together do not what a user may expect."""

from collections.abc import Iterator

from mtx.config.settings import Config

# Keys without an effect unless there is a dev set, or if the tokenizer is given as a file
DEV_KEYS = ("patience", "eval_sentences", "eval_beam")
VOCABULARY_KEYS = ("vocab_size", "model_type", "byte_fallback", "character_coverage", "normalization")


def advise(config: Config) -> Iterator[str]:
    """Yield a line for each combination of settings that a user should know of before a training."""
    data, train, tokenizer = config.data, config.train, config.tokenizer
    steps, given = train.max_steps, train.model_fields_set
    if train.warmup_steps >= steps:
        warmup = f"train.warmup_steps ({train.warmup_steps:,}) is not below train.max_steps ({steps:,})"
        yield f"{warmup}, so that the learning rate never gets to train.lr; lower it to a tenth"
    if data.max_tokens > train.batch_tokens:
        longest = f"data.max_tokens ({data.max_tokens:,}) is above train.batch_tokens ({train.batch_tokens:,})"
        yield f"{longest}: a batch can't hold a pair of that length; lower it, or raise the other"
    if "save_every" in given and train.save_every > steps:
        yield f"train.save_every ({train.save_every:,}) is above train.max_steps ({steps:,}): only the end is saved"
    if data.dev and "eval_every" in given and train.eval_every > steps:
        yield f"train.eval_every ({train.eval_every:,}) is above train.max_steps ({steps:,}): only the end is validated"
    num_saves = steps // train.save_every + 1
    if "average" in given and train.average > max(num_saves, steps // train.eval_every + 1):
        yield f"train.average ({train.average}) is more than the checkpoints of the run, about {num_saves:,}"
    without_effect = [(f"train.{key}", "without data.dev") for key in DEV_KEYS if key in given and not data.dev]
    if tokenizer.file is not None:
        keys = [key for key in VOCABULARY_KEYS if key in tokenizer.model_fields_set]
        without_effect += [(f"tokenizer.{key}", "with tokenizer.file") for key in keys]
    if len(data.train) == 1 and data.temperature != 1:
        without_effect.append(("data.temperature", "with one source"))
    yield from (f"{key} has no effect {why}" for key, why in without_effect)
