"""Statistics of a corpus equal those counted by other means."""

import logging
import random
import statistics
from pathlib import Path

import pytest

from mtx.config.sources import Source, Tsv
from mtx.data.cleaning.clean import HeldOutKeys
from mtx.errors import ExitCode, UserError
from mtx.init.corpus_stats import CorpusStats, scan
from mtx.system import logs

NOTHING = HeldOutKeys()


def source(folder: Path, pairs: list[tuple[str, str]], name: str = "a.tsv") -> Tsv:
    (folder / name).write_text("".join(f"{src}\t{tgt}\n" for src, tgt in pairs), encoding="utf-8")
    return Tsv(tsv=folder / name)


def stats_of(folder: Path, pairs: list[tuple[str, str]], held_out: HeldOutKeys = NOTHING) -> CorpusStats:
    return scan([source(folder, pairs)], "en", "de", held_out)


def test_pairs_are_counted_as_training_will(tmp_path: Path) -> None:
    pairs = [("a b", "c"), ("A b.", "c!"), ("a b", "d"), ("", "x"), ("x", " "), ("bad \ufffd", "bad"), ("held", "out")]
    found = stats_of(tmp_path, pairs, HeldOutKeys.of([("held", "Out")], "pair"))
    assert (found.num_read, found.num_pairs) == (7, 2)
    assert found.dropped == {"empty": 2, "damaged by a wrong encoding": 1, "in dev or test": 1}
    assert "7 pairs, 2 distinct ones" in found.summary
    assert "2 empty" in found.summary


def test_sources_are_one_corpus(tmp_path: Path) -> None:
    sources: list[Source] = [source(tmp_path, [("a", "b")]), source(tmp_path, [("a", "b"), ("c", "d")], "b.tsv")]
    found = scan(sources, "en", "de", NOTHING)
    assert (found.num_read, found.num_pairs) == (3, 2)


def test_lengths_are_those_of_all_pairs(tmp_path: Path) -> None:
    draw = random.Random(1)
    pairs = [("x" * draw.randint(1, 300), "y" * draw.randint(1, 300)) for _ in range(1_000)]
    pairs = [pair for pair in pairs if 1 / 8 < (len(pair[0]) + 15) / (len(pair[1]) + 15) < 8]
    found = stats_of(tmp_path, pairs)
    longer = sorted(max(map(len, pair)) for pair in pairs)
    assert found.long_pair == longer[-(-99 * len(longer) // 100) - 1]
    assert found.mean_letters == pytest.approx([statistics.fmean(len(pair[side]) for pair in pairs) for side in (0, 1)])
    assert stats_of(tmp_path, [("x" * n, "y" * n) for n in range(1, 101)]).long_pair == 99
    assert stats_of(tmp_path, [("我们", "ab")]).long_pair == 6, "an ideograph counts as three letters"


def test_alphabets_of_each_side_and_of_both(tmp_path: Path) -> None:
    found = stats_of(tmp_path, [("abc", "cde"), ("ﬁ", "ｅ")])
    assert (found.src.num_all, found.tgt.num_all, found.both.num_all) == (5, 4, 8)  # fi is f and i in a source
    rare = stats_of(tmp_path, [("e" * 100, "e" * 100)] * 200 + [("q", "e")])
    assert (rare.src.num_all, rare.src.num_common) == (2, 1)


@pytest.mark.parametrize(
    ("src", "tgt", "are_related"),
    [
        ("the dog", "der Hund", True),
        ("the dog", "собака", False),
        ("the dog", "我们的狗", False),
        ("上慢下暴", "主上骄傲", True),
        ("123", "456", True),
        ("これは日本語です", "汉语", False),
    ],
)
def test_scripts_are_related_or_not(src: str, tgt: str, are_related: bool, tmp_path: Path) -> None:
    assert stats_of(tmp_path, [(src, tgt)]).are_scripts_related == are_related


@pytest.mark.parametrize(("pairs", "words"), [([], "among 0 "), ([("", "a"), ("b", "")], "among 2: dropped 2 empty ")])
def test_a_corpus_without_usable_pairs_is_an_error(pairs: list[tuple[str, str]], words: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=words) as caught:
        stats_of(tmp_path, pairs)
    assert caught.value.code == ExitCode.DATA


def test_progress_is_logged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "mtx")
    monkeypatch.setattr(logs, "PROGRESS_SECONDS", 0)
    stats_of(tmp_path, [("a", "b")] * 3)
    assert [message.split(",")[0] for message in caplog.messages] == ["read 1 pairs", "read 2 pairs", "read 3 pairs"]
