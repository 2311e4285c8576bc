"""Advice about a config: settings that are valid one by one, but do not do together what a user may expect."""

from collections.abc import Iterator

from mtx.config.settings import Config

DEV_KEYS = ("patience", "eval_sentences", "eval_beam")  # Keys of `train` that need a dev set
# Keys of `tokenizer` for training one, which do nothing with tokenizer.file
VOCABULARY_KEYS = ("vocab_size", "model_type", "byte_fallback", "character_coverage", "normalization")


def advise(config: Config) -> Iterator[str]:
    """Yield a line for each combination of settings that a user should know about before training starts."""
    data, train, tokenizer = config.data, config.train, config.tokenizer
    steps, given = train.max_steps, train.model_fields_set
    if train.warmup_steps >= steps:
        warmup = f"train.warmup_steps ({train.warmup_steps:,}) is not below train.max_steps ({steps:,})"
        yield f"{warmup}: the learning rate never reaches train.lr; warm up for a tenth of the steps"
    if data.max_tokens > train.batch_tokens:
        longest = f"data.max_tokens ({data.max_tokens:,}) is above train.batch_tokens ({train.batch_tokens:,})"
        yield f"{longest}: a batch can't hold a pair of that length; make them equal"
    above_steps = f"is above train.max_steps ({steps:,})"
    if "save_every" in given and train.save_every > steps:
        yield f"train.save_every ({train.save_every:,}) {above_steps}: only the last step is saved"
    if data.dev and "eval_every" in given and train.eval_every > steps:
        yield f"train.eval_every ({train.eval_every:,}) {above_steps}: only the last step is validated"
    num_saves = steps // train.save_every + 1
    if "average" in given and train.average > max(num_saves, steps // train.eval_every + 1):
        yield f"train.average ({train.average}) is above the number of checkpoints of the run, about {num_saves:,}"
    untagged = [role for role in ("dev", "test") if not all(source.tag for source in getattr(data, role))]
    if untagged and all(source.tag for source in data.train):
        yield f"each source of data.train has a tag, but data.{untagged[0]} has none; give it the tag of its direction"
    without_effect = [(f"train.{key}", "without data.dev") for key in DEV_KEYS if key in given and not data.dev]
    if tokenizer.file is not None:
        keys = [key for key in VOCABULARY_KEYS if key in tokenizer.model_fields_set]
        without_effect += [(f"tokenizer.{key}", "with tokenizer.file") for key in keys]
    if len(data.train) == 1 and data.temperature != 1:
        without_effect.append(("data.temperature", "with one source"))
    yield from (f"{key} has no effect {why}" for key, why in without_effect)
