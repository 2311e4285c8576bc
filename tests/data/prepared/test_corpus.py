"""Pairs are found again in the files that they came from, by line."""

from pathlib import Path

import numpy as np
import pytest

from mtx.config.settings import CleanSettings, DataSettings, TokenizerSettings
from mtx.config.sources import Jsonl, Source, Tsv, TwoFiles
from mtx.data.batching import collate
from mtx.data.prepared.corpus import Corpus, source_lines
from mtx.data.prepared.prepare import prepare
from mtx.data.sources.read import read_pairs
from mtx.text.tokenizer import Tokenizer
from mtx.text.train_tokenizer import train_tokenizer

SIDES = {"bad.tsv": ["", "", "four", "", "six"], "a.tsv": ["one", "", "three"], "b.jsonl": ["", "two"], "c": ["x", "y"]}


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    text = [word for words in SIDES.values() for word in words]
    return train_tokenizer(text, text, TokenizerSettings(vocab_size=300), print)


@pytest.fixture
def sources(tmp_path: Path) -> list[Source]:
    """Files in which the source side is empty here and there."""
    for name in ("bad.tsv", "a.tsv"):
        (tmp_path / name).write_text("".join(f"{side}\tt\n" for side in SIDES[name]))
    (tmp_path / "b.jsonl").write_text("".join(f'{{"src": "{side}", "tgt": "t"}}\n' for side in SIDES["b.jsonl"]))
    for language in ("en", "de"):
        (tmp_path / f"c.{language}").write_text("x\ny\n")
    return [
        Tsv(tsv=tmp_path / "bad.tsv"),
        Tsv(tsv=tmp_path / "a.tsv"),
        Jsonl(jsonl=tmp_path / "b.jsonl"),
        TwoFiles(src=tmp_path / "c.en", tgt=tmp_path / "c.de"),
    ]


def prepared(sources: list[Source], tokenizer: Tokenizer) -> Corpus:
    return prepare(sources, DataSettings(train=tuple(sources)), CleanSettings(level="none"), tokenizer)


def test_every_pair_is_where_it_is_said_to_be(sources: list[Source], tokenizer: Tokenizer) -> None:
    corpus = prepared(sources, tokenizer)
    for row in range(len(corpus)):
        (origin,) = source_lines(corpus, sources, np.array([row]))
        (line,) = origin.lines
        src, tgt = list(read_pairs(origin.source, "en", "de"))[line - 1]
        assert corpus.src[row].tolist() == tokenizer.encode_src([src])[0]
        assert corpus.tgt[row].tolist() == tokenizer.encode_tgt([tgt])[0]


def test_lines_are_told_source_by_source(sources: list[Source], tokenizer: Tokenizer, tmp_path: Path) -> None:
    corpus = prepared(sources, tokenizer)
    last = len(corpus) - 1
    batch = collate(corpus, np.array([last, 2, last - 2, 0, 3, 1]), pad_id=0, bos_id=2, eos_id=3)
    found = list(source_lines(corpus, sources, batch.rows))
    assert [str(origin) for origin in found] == [
        "bad.tsv lines 3, 5",
        "a.tsv lines 1, 3",
        "b.jsonl line 2",
        "c.en and c.de line 2",
    ]
    file = {"tsv": str(tmp_path / "a.tsv"), "src": 1, "tgt": 2, "header": False, "encoding": "utf-8", "weight": 1.0}
    assert found[1].to_json() == {"source": file, "lines": [1, 3]}
    files = {"src": str(tmp_path / "c.en"), "tgt": str(tmp_path / "c.de"), "encoding": "utf-8", "weight": 1.0}
    assert found[3].to_json() == {"source": files, "lines": [2]}
