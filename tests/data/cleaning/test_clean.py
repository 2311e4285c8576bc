"""Training drops the pairs that dev or test holds: exactly those that an independent recount finds."""

import functools
import io
import json
import logging
import random
import re
from pathlib import Path

import numpy as np
import pytest

from mtx.config.settings import CleanSettings, Config, DataSettings, TokenizerSettings
from mtx.config.sources import Tsv
from mtx.data.check.diagnose import Diagnosis, diagnose
from mtx.data.check.overlap import Overlap
from mtx.data.cleaning.export import export_cleaned
from mtx.data.prepared import prepare as module
from mtx.data.prepared import shards
from mtx.data.prepared.corpus import Corpus
from mtx.data.prepared.prepare import prepare
from mtx.data.sources import read
from mtx.system.parallel import can_fork
from mtx.text.tokenizer import Tokenizer
from mtx.text.train_tokenizer import train_tokenizer
from mtx.train.setup import make_tokenizer

WORDS = ["the", "dog", "cat", "bird", "sees", "hears", "a", "red", "old", "big"]
ENDS = ["", ".", " !", "?"]


@functools.cache
def a_tokenizer() -> Tokenizer:
    return train_tokenizer(WORDS, WORDS, TokenizerSettings(vocab_size=300), print)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MTX_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def pairs(seed: int, count: int) -> list[tuple[str, str]]:
    """Draw pairs from few sentences, so that many repeat with different case, spaces and punctuation."""
    draw = random.Random(seed)

    def text() -> str:
        words = " ".join(draw.choices(WORDS, k=2))
        return draw.choice([words, words.title(), words.replace(" ", "  ")]) + draw.choice(ENDS)

    return [(text(), text()) for _ in range(count)]


def write(path: Path, some: list[tuple[str, str]]) -> Tsv:
    path.write_text("".join(f"{src}\t{tgt}\n" for src, tgt in some))
    return Tsv(tsv=path)


def settings(folder: Path, num_train: int = 400) -> DataSettings:
    return DataSettings(
        train=(write(folder / "train.tsv", pairs(1, num_train)),),
        dev=write(folder / "dev.tsv", pairs(2, 12)),
        test=write(folder / "test.tsv", pairs(3, 12)),
    )


def plain(text: str) -> str:
    return " ".join(re.findall("[a-z]+", text.lower()))


def expected_lines(rule: str, num_train: int = 400) -> list[int]:
    """Recount the training pairs that stay; return their indices."""
    held = [(plain(src), plain(tgt)) for src, tgt in pairs(2, 12) + pairs(3, 12)]
    sides = [{pair[side] for pair in held} for side in (0, 1)]
    kept = []
    for number, pair in enumerate(pairs(1, num_train)):
        src, tgt = map(plain, pair)
        if rule == "pair" and (src, tgt) in held:
            continue
        if rule == "side" and (src in sides[0] or tgt in sides[1]):
            continue
        kept.append(number)
    return kept


def prepared(data: DataSettings, rule: str) -> Corpus:
    clean = CleanSettings.model_validate({"level": "none", "held_out": rule})
    return prepare(data.train, data, clean, a_tokenizer())


@pytest.mark.parametrize("rule", ["keep", "pair", "side"])
def test_what_is_dropped_is_what_a_recount_drops(rule: str, tmp_path: Path) -> None:
    corpus = prepared(settings(tmp_path), rule)
    expected = expected_lines(rule)
    assert corpus.lines[np.arange(len(corpus))].tolist() == expected
    assert corpus.dropped == ({"in dev or test": 400 - len(expected)} if len(expected) < 400 else {})
    assert (len(expected) < 400) == (rule != "keep")


def test_what_is_held_out_is_read_for_new_ids_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = settings(tmp_path)
    before = prepared(data, "side")
    monkeypatch.setattr(module, "read_cleaners", lambda *_: pytest.fail("the ids are in the cache"))
    assert prepared(data, "side").dropped == before.dropped


@pytest.mark.process
@pytest.mark.skipif(not can_fork(), reason="workers are forked, which mtx does on Linux only")
@pytest.mark.parametrize("num_threads", ["1", "3"])
def test_with_any_number_of_workers(num_threads: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read, "MAX_CHUNK_PAIRS", 20)
    monkeypatch.setattr(shards, "SHARD_PAIRS", 70)
    monkeypatch.setenv("OMP_NUM_THREADS", num_threads)
    corpus = prepared(settings(tmp_path), "side")
    assert corpus.lines[np.arange(len(corpus))].tolist() == expected_lines("side")


def test_other_sets_are_prepared_for_anew_and_only_if_they_count(tmp_path: Path) -> None:
    data = settings(tmp_path)
    before = {rule: prepared(data, rule).key for rule in ("keep", "pair", "side")}
    assert len(set(before.values())) == 3
    write(tmp_path / "test.tsv", pairs(4, 12))
    after = {rule: prepared(data, rule).key for rule in before}
    assert after["keep"] == before["keep"]
    assert not set(after.values()) & {before["pair"], before["side"]}
    assert prepared(data.model_copy(update={"test": ()}), "side").key != after["side"]


def test_runs_that_began_before_there_was_the_rule_keep_their_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With `held_out: keep`, the digested key is the same as before the rule existed."""
    digested = []
    monkeypatch.setattr(module, "_digest", lambda whole: digested.append(whole) or "0" * 64)
    prepared(settings(tmp_path), "keep")
    rules = digested[0][5]
    assert "held_out" not in rules
    assert len(digested[0]) == 7


def overlaps_in_train(diagnosis: Diagnosis) -> list[Overlap]:
    return [each for each in diagnosis.overlaps if (each.role, each.within) == ("dev", "train")]


def test_all_that_reads_training_pairs_leaves_them_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "mtx")
    data = settings(tmp_path)
    # A word that only stands in a held-out pair.
    write(tmp_path / "dev.tsv", [*pairs(2, 12), ("Qoph!", "Zayin")])
    write(tmp_path / "train.tsv", [*pairs(1, 400), ("qoph", "zayin"), ("the qoph", "zayin.")] * 3)
    config = Config(data=data, clean=CleanSettings(held_out="side"), tokenizer=TokenizerSettings(vocab_size=300))
    diagnosis = diagnose(config)
    assert not any("also in train" in problem for problem in diagnosis.problems)
    assert not {overlap.both + overlap.src + overlap.tgt for overlap in overlaps_in_train(diagnosis)} - {0}
    assert any(
        overlap.src for overlap in overlaps_in_train(diagnose(config.model_copy(update={"clean": CleanSettings()})))
    )
    files: dict[str, io.BytesIO] = {}
    export_cleaned(config, lambda name: files.setdefault(name, io.BytesIO()))
    dropped = [json.loads(line) for line in files["dropped.jsonl"].getvalue().decode().splitlines()]
    held_out = {record["line"] for record in dropped if record["reason"] == "in dev or test"}
    assert {number - 1 for number in held_out if number <= 400} == set(range(400)) - set(expected_lines("side"))
    assert "qoph" not in files["train.en"].getvalue().decode().lower()
    found = next(finding for finding in diagnosis.sources[0].findings if finding.rule == "in dev or test")
    assert found.count == len(held_out)
    pieces = make_tokenizer(config)
    assert "d" in pieces.src_pieces.id_to_piece(pieces.encode_src(["d"])[0])
    assert "q" not in pieces.src_pieces.id_to_piece(pieces.encode_src(["q"])[0]), (
        "a character that only held-out pairs have"
    )
