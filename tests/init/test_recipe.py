"""The recipe gives the rows of its table at their sizes, and valid settings for any corpus."""

from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mtx.config.settings import Config
from mtx.init.corpus_stats import Alphabet, CorpusStats
from mtx.init.recipe import CPU_ROW, NUM_SPECIAL_PIECES, TABLE, Row, choose_settings

LATIN = Alphabet(80, 60)
STATS = CorpusStats(30_000, LATIN, LATIN, LATIN, are_scripts_related=True, long_pair=200)


def chosen(stats: CorpusStats, device: str = "cuda", batch_tokens: int = 32_768) -> Config:
    """The chosen settings as a validated config."""
    sections: dict[str, dict[str, Any]] = {"data": {"train": [{"demo": "train"}]}}
    for name, settings in choose_settings(stats, device, batch_tokens).items():
        for key, (value, reason) in settings.items():
            assert reason
            sections.setdefault(name, {})[key] = value
    return Config.model_validate(sections)


@pytest.mark.parametrize("row", TABLE, ids=lambda row: f"{row.pairs:,}")
def test_a_row_of_the_table_is_what_its_pairs_get(row: Row) -> None:
    config = chosen(replace(STATS, num_pairs=row.pairs))
    model, train = config.model, config.train
    assert config.tokenizer.vocab_size == row.vocab_size
    assert ((model.encoder_layers, model.decoder_layers), model.d_model, model.d_ff) == (
        row.layers,
        row.d_model,
        row.d_ff,
    )
    assert (model.num_heads, model.dropout, model.norm) == (row.num_heads, row.dropout, row.norm)
    assert (model.attention_dropout, model.activation_dropout) == (row.inner_dropout, row.inner_dropout)
    assert (train.label_smoothing, train.weight_decay) == (row.label_smoothing, row.weight_decay)
    assert (train.lr, train.warmup_steps, train.max_steps) == (row.lr, row.warmup_steps, row.max_steps)
    assert train.schedule == row.schedule
    assert train.batch_tokens * train.accumulate == pytest.approx(row.step_tokens, rel=0.03)


def test_the_table_is_that_of_the_published_recipes() -> None:
    """Compare the rows with the numbers in the papers, copied a second time."""
    by_pairs = {row.pairs: row for row in TABLE}
    captions, talks, news = by_pairs[30_000], by_pairs[160_000], by_pairs[4_500_000]
    assert (captions.d_model, captions.d_ff, captions.layers, captions.lr) == (128, 256, (4, 4), 5e-3)
    assert (captions.warmup_steps, captions.step_tokens, captions.dropout) == (2_000, 8_000, 0.3)
    assert (talks.d_model, talks.d_ff, talks.num_heads, talks.lr, talks.weight_decay) == (512, 1024, 4, 5e-4, 1e-4)
    assert (news.d_model, news.d_ff, news.num_heads, news.lr, news.norm) == (1024, 4096, 16, 1e-3, "post")


alphabets = st.builds(
    lambda common, more: Alphabet(common + more, common), st.integers(1, 8_000), st.integers(0, 30_000)
)
corpora = st.builds(
    CorpusStats,
    num_pairs=st.integers(1, 10**9) | st.floats(0, 9).map(lambda power: round(10**power)),
    both=alphabets,
    src=alphabets,
    tgt=alphabets,
    are_scripts_related=st.booleans(),
    long_pair=st.integers(1, 1 << 16),
)


@given(stats=corpora, device=st.sampled_from(["cpu", "cuda"]), batch_tokens=st.integers(128, 100_000))
@example(stats=replace(STATS, num_pairs=1), device="cpu", batch_tokens=128)
@example(stats=replace(STATS, num_pairs=10**9), device="cuda", batch_tokens=128)
def test_any_corpus_gets_valid_settings_that_fit_together(stats: CorpusStats, device: str, batch_tokens: int) -> None:
    config = chosen(stats, device, batch_tokens)
    assert config.data.max_tokens <= config.train.batch_tokens <= max(batch_tokens, 128)
    assert config.train.warmup_steps < config.train.max_steps
    assert config.train.eval_every % config.train.save_every == 0
    assert config.train.average * config.train.save_every <= config.train.max_steps / 2
    alphabet = [stats.both] if config.tokenizer.joint else [stats.src, stats.tgt]
    is_whole = config.tokenizer.character_coverage == 1
    largest = max(each.num_all if is_whole else each.num_common for each in alphabet)
    assert config.tokenizer.vocab_size >= 2 * (largest + NUM_SPECIAL_PIECES), (
        "each character has a piece, and as many more"
    )
    assert config.tokenizer.joint == stats.are_scripts_related


@given(st.lists(st.integers(1, 10**9), min_size=2, max_size=2).map(sorted))
def test_more_pairs_get_no_smaller_vocabulary_and_no_more_smoothing(pairs: list[int]) -> None:
    fewer, more = (chosen(replace(STATS, num_pairs=number)) for number in pairs)
    assert fewer.tokenizer.vocab_size <= more.tokenizer.vocab_size
    assert fewer.train.label_smoothing >= more.train.label_smoothing


@given(st.integers(1, 10**9))
def test_a_cpu_gets_no_shape_that_takes_days(num_pairs: int) -> None:
    config = chosen(replace(STATS, num_pairs=num_pairs), "cpu")
    assert config.model.d_model <= CPU_ROW.d_model
    assert config.train.batch_tokens <= 4_096
    assert config.model.norm == "pre"
    if num_pairs < 30_000:
        assert config.model.dropout >= 0.3


def test_between_two_rows_numbers_lie_between_theirs() -> None:
    for lower, upper in pairwise(TABLE):
        middle = chosen(replace(STATS, num_pairs=round((lower.pairs * upper.pairs) ** 0.5)))
        for value, name in ((middle.model.dropout, "dropout"), (middle.train.label_smoothing, "label_smoothing")):
            low, high = sorted((getattr(lower, name), getattr(upper, name)))
            assert low <= value <= high
        geometric = (lower.vocab_size * upper.vocab_size) ** 0.5
        assert middle.tokenizer.vocab_size == pytest.approx(geometric, abs=500)
        assert middle.model.d_model in (lower.d_model, upper.d_model)


def test_scripts_and_lengths_decide() -> None:
    chinese = Alphabet(9_000, 6_000)
    stats = replace(STATS, num_pairs=300_000, both=Alphabet(9_080, 6_060), tgt=chinese, are_scripts_related=False)
    config = chosen(stats)
    assert not config.tokenizer.joint
    assert config.tokenizer.character_coverage < 1
    assert config.tokenizer.vocab_size >= 12_000
    assert chosen(STATS).tokenizer.joint
    assert chosen(STATS).tokenizer.character_coverage == 1
    assert [chosen(replace(STATS, long_pair=n)).data.max_tokens for n in (1, 256, 300, 9_999)] == [
        128,
        128,
        192,
        1024,
    ]
