"""The pairs that scores are measured on are those of the file, and what a tokenizer changes is told."""

from collections.abc import Callable
from pathlib import Path

import pytest

from mtx.config.settings import Config
from mtx.data.cleaning.clean import build_cleaner
from mtx.text.tokenizer import Tokenizer
from mtx.train.setup import load_dev_sets, make_tokenizer


def test_no_rule_drops_a_dev_pair(configure: Callable[..., Config], tokenizer: Tokenizer, tmp_path: Path) -> None:
    pairs = [("the dog", "a cat"), ("the dog", "a cat"), ("cat", "cat"), ("a\ufffd dog", "cat"), ("a", "big " * 60)]
    (tmp_path / "dev.tsv").write_text("".join(f"{src}\t{tgt}\n" for src, tgt in pairs), encoding="utf-8")
    config = configure(f"data.dev={{tsv: {tmp_path}/dev.tsv}}", "clean.level=strict", "train.batch_tokens=1000")
    cleaner = build_cleaner(config.clean, "en", "de")
    assert [cleaner.drop_reason(pair) is None for pair in pairs] == [True, True, False, False, False]
    [dev] = load_dev_sets(config, tokenizer)
    assert list(zip(dev.sources, dev.references, strict=True)) == pairs
    assert len(dev.corpus) == len(pairs)
    assert dev.corpus.dropped == {}


@pytest.mark.parametrize("normalization", ["source", "nmt_nfkc_cf"])
def test_a_normalization_that_changes_targets_is_told_at_the_start(
    normalization: str, configure: Callable[..., Config], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "train.tsv").write_text("½ cup\tEine ½ Tasse\nbroken\t1½ \ufffd\n", encoding="utf-8")
    overrides = f"data.train=[{{tsv: {tmp_path}/train.tsv}}]", f"tokenizer.normalization={normalization}"
    make_tokenizer(configure(*overrides, "tokenizer.byte_fallback=true", "tokenizer.vocab_size=300"))
    changes = "the tokenizer changes 3 characters of the target, such as E as e, ½ as 1⁄2, T as t"
    assert (changes in caplog.text) == (normalization != "source")
