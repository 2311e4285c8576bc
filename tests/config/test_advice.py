"""Settings that do not fit together are told before a training, and only those."""

from collections.abc import Callable
from typing import Any

import pytest

from mtx.config.advice import advise

TRAIN = "data: {train: [{demo: train}], dev: {demo: dev}}\n"
ALONE = "data: {train: [{demo: train}]}\n"
TAGGED = "data: {train: [{demo: train, tag: a}], dev: {demo: dev, tag: b}}\n"


@pytest.mark.parametrize(
    ("text", "overrides", "words"),
    [
        (TRAIN, ["train.max_steps=1000"], "train.warmup_steps (1,000) is not below train.max_steps (1,000)"),
        (TRAIN, ["train.max_steps=300", "train.warmup_steps=301"], "train.warmup_steps (301) is not below"),
        (TRAIN, ["data.max_tokens=300", "train.batch_tokens=299"], "data.max_tokens (300) is above train.batch_tokens"),
        (TRAIN, ["train.save_every=5001"], "train.save_every (5,001) is above train.max_steps (5,000)"),
        (TRAIN, ["train.eval_every=5001"], "train.eval_every (5,001) is above train.max_steps (5,000)"),
        (TRAIN, ["train.average=12"], "train.average (12) is above the number of checkpoints of the run, about 11"),
        (ALONE, ["train.patience=3"], "train.patience has no effect without data.dev"),
        (ALONE, ["train.eval_beam=3"], "train.eval_beam has no effect without data.dev"),
        (TRAIN, ["tokenizer.file=/a", "tokenizer.vocab_size=9"], "tokenizer.vocab_size has no effect with"),
        (TAGGED, ["data.dev=[{demo: dev, tag: a}, {demo: dev}]"], "of data.train has a tag, but data.dev has none"),
        (TAGGED, ["data.test={demo: test}"], "each source of data.train has a tag, but data.test has none"),
        (TRAIN, ["data.temperature=5"], "data.temperature has no effect with one source"),
    ],
)
def test_advice(load: Callable[..., Any], text: str, overrides: list[str], words: str) -> None:
    [line] = advise(load(text, *overrides))
    assert words in line


@pytest.mark.parametrize(
    "overrides",
    [
        [], ["train.max_steps=1001"], ["train.batch_tokens=256"], ["train.patience=3", "train.eval_beam=3"],
        ["train.average=11"], ["tokenizer.file=/a"], ["train.save_every=5000", "train.eval_every=5000"],
        ["train.max_steps=400", "train.warmup_steps=399"],
    ],
)  # fmt: skip
def test_nothing_is_said_where_all_fits(load: Callable[..., Any], overrides: list[str]) -> None:
    assert list(advise(load(TRAIN, *overrides))) == []
    assert list(advise(load(TAGGED, *overrides))) == []
    assert list(advise(load(ALONE, "train.eval_every=5001"))) == []
    assert list(advise(load(TRAIN, "data.train=[{demo: train}, {demo: test}]", "data.temperature=5"))) == []
