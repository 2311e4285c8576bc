"""The pairs that scores are measured on are those of the file, whatever cleaning does to training pairs."""

from collections.abc import Callable
from pathlib import Path

from mtx.config.settings import Config
from mtx.data.cleaning.clean import build_cleaner
from mtx.text.tokenizer import Tokenizer
from mtx.train.setup import load_dev_set


def test_no_rule_drops_a_dev_pair(configure: Callable[..., Config], tokenizer: Tokenizer, tmp_path: Path) -> None:
    pairs = [("the dog", "a cat"), ("the dog", "a cat"), ("cat", "cat"), ("a\ufffd dog", "cat"), ("a", "big " * 60)]
    (tmp_path / "dev.tsv").write_text("".join(f"{src}\t{tgt}\n" for src, tgt in pairs), encoding="utf-8")
    config = configure(f"data.dev={{tsv: {tmp_path}/dev.tsv}}", "clean.level=strict", "train.batch_tokens=1000")
    cleaner = build_cleaner(config.clean, "en", "de")
    assert [cleaner.drop_reason(pair) is None for pair in pairs] == [True, True, False, False, False]
    dev = load_dev_set(config, tokenizer)
    assert dev is not None
    assert list(zip(dev.sources, dev.references, strict=True)) == pairs
    assert len(dev.corpus) == len(pairs)
    assert dev.corpus.dropped == {}
