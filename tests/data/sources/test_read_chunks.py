"""Groups of pairs: all pairs in their order, bounded in number and in characters, the same ones for the same pairs."""

import tracemalloc
from collections import defaultdict
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtx.config.settings import CleanSettings, Config, DataSettings
from mtx.config.sources import Tsv
from mtx.data.check.overlap import OverlapIndex
from mtx.data.check.scan import scan_source
from mtx.data.cleaning.export import export_cleaned
from mtx.data.cleaning.hashes import HashSet64
from mtx.data.sources import read
from mtx.data.sources.base import Pair
from mtx.data.sources.read import in_chunks

texts = st.text("a", max_size=20)


@given(st.lists(st.tuples(texts, texts)), st.integers(1, 9), st.integers(1, 60))
def test_groups_are_bounded_and_go_on_anywhere(pairs: list[Pair], most_pairs: int, most_chars: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(read, "MAX_CHUNK_PAIRS", most_pairs)
        patch.setattr(read, "MAX_CHUNK_CHARS", most_chars)
        found = list(in_chunks(pairs, 3))
        assert [group.source for group in found] == [3] * len(found)
        assert list(chain.from_iterable(group.pairs for group in found)) == pairs
        for group in found:
            assert 0 < len(group.pairs) <= most_pairs
            assert sum(len(src) + len(tgt) for src, tgt in group.pairs[:-1]) < most_chars
        for group in found[:-1]:
            assert len(group.pairs) == most_pairs or sum(len(src) + len(tgt) for src, tgt in group.pairs) >= most_chars
        num_before = 0
        for number, group in enumerate(found):
            assert list(in_chunks(pairs[num_before:], 3)) == found[number:]
            num_before += len(group.pairs)


@pytest.mark.slow
def test_long_lines_take_no_more_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever reads in groups: a few of them at a time, not ten thousand lines."""
    monkeypatch.setattr(read, "MAX_CHUNK_CHARS", 1 << 17)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setattr("mtx.data.check.scan.find_spec", lambda _: None)
    source = Tsv(tsv=tmp_path / "a.tsv")
    with source.tsv.open("w") as file:
        file.writelines(f"{'a' * 40_000}{number}\t{'b' * 40_000}{number}\n" for number in range(100))
    config = Config(data=DataSettings(train=(source,)), clean=CleanSettings(level="none"))

    def pairs() -> Iterator[Pair]:
        return ((f"{'a' * 40_000}{number}", f"{'b' * 40_000}{number}") for number in range(100))

    seen = defaultdict[str, HashSet64](HashSet64)

    def clean() -> None:
        with (tmp_path / "out").open("wb") as file:
            export_cleaned(config, lambda _: file)

    for work in (clean, lambda: scan_source(source, "train", config, seen, []), lambda: OverlapIndex(pairs())):
        tracemalloc.start()
        work()
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 4 << 20, work  # all pairs take 8 MB
