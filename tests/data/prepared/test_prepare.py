"""Prepared ids: what is dropped and counted, and a cache that never answers with something stale or damaged."""

import functools
import logging
import os
import shutil
import signal
import tempfile
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import datasets
import numpy as np
import pytest

from mtx.config.settings import CleanSettings, DataSettings, TokenizerSettings
from mtx.config.sources import Demo, HubDataset, Source, Tsv, TwoFiles
from mtx.data.prepared import prepare as module
from mtx.data.prepared import shards
from mtx.data.prepared.corpus import Corpus, StoredArray
from mtx.data.prepared.fingerprint import code_digest, content_key
from mtx.data.prepared.prepare import prepare
from mtx.data.sources import read
from mtx.data.sources.demo import DemoReader
from mtx.errors import ExitCode, UserError
from mtx.system.parallel import can_fork
from mtx.text.tokenizer import Tokenizer
from mtx.text.train_tokenizer import train_tokenizer

TEXT = [
    f"the {colour} {animal} sleeps" for colour in ("red", "blue", "old") for animal in ("dog", "cat", "bird", "horse")
]
SETTINGS = TokenizerSettings(vocab_size=300)
AS_IT_IS = CleanSettings(level="none")


@functools.cache
def a_tokenizer(model_type: str = "unigram") -> Tokenizer:
    return train_tokenizer(TEXT, TEXT, SETTINGS.model_copy(update={"model_type": model_type}), print)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MTX_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def entry(cache: Path, corpus: Corpus) -> Path:
    """The folder of `corpus` in the cache."""
    return cache / f"{corpus.key}-{code_digest()[:16]}"


def tsv(folder: Path, pairs: list[tuple[str, str]], name: str = "a.tsv") -> Tsv:
    (folder / name).write_bytes("".join(f"{src}\t{tgt}\n" for src, tgt in pairs).encode())
    return Tsv(tsv=folder / name)


def prepared(
    *sources: Source, tokenizer: Tokenizer | None = None, max_tokens: int = 256, clean: CleanSettings = AS_IT_IS
) -> Corpus:
    return prepare(sources, DataSettings(train=sources, max_tokens=max_tokens), clean, tokenizer or a_tokenizer())


def ids_of(corpus: Corpus) -> list[tuple[list[int], list[int]]]:
    return [(corpus.src[row].tolist(), corpus.tgt[row].tolist()) for row in range(len(corpus))]


def encoded(pairs: list[tuple[str, str]], tokenizer: Tokenizer | None = None) -> list[tuple[list[int], list[int]]]:
    tokenizer = tokenizer or a_tokenizer()
    return [(tokenizer.encode_src([src])[0], tokenizer.encode_tgt([tgt])[0]) for src, tgt in pairs]


def lines_of(corpus: Corpus) -> list[int]:
    return corpus.lines[np.arange(len(corpus))].tolist()


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def forbid_encoding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module._Encoder, "__call__", lambda *_: pytest.fail("not taken from the cache"))


def note_encoding(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """Return a list that records the pairs encoded from now on; encoding stays in this process."""
    encode, pairs = module._Encoder.__call__, []

    def noting(encoder: Any, group: Any) -> Any:
        pairs.extend(group.pairs)
        return encode(encoder, group)

    monkeypatch.setattr(module._Encoder, "__call__", noting)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return pairs


# --- clean -----------------------------------------------------------------------------------------------------------


def test_both_sides_of_a_bad_pair_are_dropped_and_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read, "MAX_CHUNK_PAIRS", 3)
    longest = "cat " * 9 + "dog"
    limit = len(a_tokenizer().encode_src([longest])[0]) + 1  # EOS
    assert len(a_tokenizer().encode_src([f"{longest}z"])[0]) == limit
    assert a_tokenizer().encode_src(["\u200b"]) == [[]]
    first = [
        ("the dog", "cat"),
        ("", "dog"),
        ("dog", "   "),
        ("cat", longest),
        (f"{longest}z", "dog"),
        ("\u200b", "dog"),
    ]
    second = [("é" * 500_001, "dog"), ("dog", "dog" * 400_000), ("bird", "the bird"), ("dog", "\u3000"), ("old", "cat")]
    corpus = prepared(tsv(tmp_path, first), tsv(tmp_path, second, "b.tsv"), max_tokens=limit)
    assert ids_of(corpus) == encoded([first[0], first[3], second[2], second[4]])
    assert lines_of(corpus) == [0, 3, 8, 10]
    assert corpus.source_sizes == (6, 5)
    assert corpus.dropped == {"empty": 4, f"longer than {limit} tokens": 1, "over 1 MB": 2}
    assert corpus.num_read == 11
    assert corpus.summary() == f"kept 4 of 11 pairs: dropped 4 empty, 1 longer than {limit} tokens, 2 over 1 MB"
    assert corpus.src.lengths.tolist() == [len(src) for src, _ in ids_of(corpus)]
    assert corpus.tgt.lengths_of(np.array([3, 1])).tolist() == [len(ids_of(corpus)[row][1]) for row in (3, 1)]


def test_a_clean_corpus_says_so(tmp_path: Path) -> None:
    assert prepared(tsv(tmp_path, [("dog", "cat")] * 1200)).summary() == "kept 1,200 of 1,200 pairs"


def test_sentences_of_kept_sources_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read, "MAX_CHUNK_PAIRS", 2)
    monkeypatch.setattr(shards, "SHARD_PAIRS", 2)
    pairs = [
        ("The dog. A cat.", "dog"),
        ("The dog. A cat.", "dog"),
        ("cat", "Dog. Cat."),
        ("", "cat"),
        ("A. Old." * 30, "x"),
    ]
    with monkeypatch.context() as patch:
        patch.setattr(module, "SAMPLED_PAIRS", 1)
        sampled = prepared(tsv(tmp_path, pairs), clean=CleanSettings(max_ratio=999.0))
        assert sum(sampled.sentences_per_source) == 3, "one of each chunk"
    corpus = prepared(tsv(tmp_path, pairs), clean=CleanSettings(max_ratio=1000.0))
    assert corpus.sentences_per_source == (1, 1, *[0] * 13, 1)
    forbid_encoding(monkeypatch)
    cached = prepared(tsv(tmp_path, pairs), clean=CleanSettings(max_ratio=1000.0))
    assert cached.sentences_per_source == corpus.sentences_per_source


@pytest.mark.parametrize("pairs", [[], [("", "dog"), ("cat", "")]])
def test_nothing_left_is_an_error(pairs: list[tuple[str, str]], tmp_path: Path) -> None:
    source = tsv(tmp_path, pairs)
    for _ in range(2):
        with pytest.raises(UserError, match=rf"no pair of sentences to use among {len(pairs)}.* \(a.tsv\)") as caught:
            prepared(source)
        assert caught.value.code == ExitCode.DATA


def test_equal_sides_are_warned_of_each_time(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    copied = [("dog", "dog"), ("cat", "cat"), ("bird", "horse")]
    for pairs, num_warnings in ((copied, 2), ([*copied, ("red", "blue")], 0)):
        caplog.clear()
        source = tsv(tmp_path, pairs)
        prepared(source)
        prepared(source)
        assert caplog.messages == ["a.tsv: in 2 of 3 pairs source and target are the same text"] * num_warnings


# --- cache -----------------------------------------------------------------------------------------------------------


def test_the_same_again_comes_from_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = [("dog", "cat"), ("", "x"), ("the bird", "old horse")]
    fresh = prepared(tsv(tmp_path, pairs))
    forbid_encoding(monkeypatch)
    again = prepared(tsv(tmp_path, pairs, "another name.tsv"))
    assert ids_of(again) == ids_of(fresh)
    for name in ("dropped", "num_equal", "key", "source_sizes"):
        assert getattr(again, name) == getattr(fresh, name)
    assert lines_of(again) == lines_of(fresh)


def test_what_decides_the_ids_is_in_the_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tsv(tmp_path, [("dog", "cat"), ("red bird", "blue bird")])
    files = TwoFiles(src=tmp_path / "src", tgt=tmp_path / "tgt")
    files.src.write_text("dog\nred\n")
    files.tgt.write_text("cat\nold\n")
    swapped = TwoFiles(src=files.tgt, tgt=files.src)

    demo = Demo(demo="pronouns")

    def keys() -> Iterator[str]:
        yield prepared(source).key
        yield prepared(source, tokenizer=a_tokenizer("bpe")).key
        yield prepared(source, max_tokens=255).key
        yield prepared(source, clean=CleanSettings()).key
        yield prepared(source.model_copy(update={"src": 2, "tgt": 1})).key
        yield prepared(source, source).key
        yield prepared(files).key
        yield prepared(files.model_copy(update={"encoding": "latin-1"})).key
        yield prepared(swapped).key
        yield prepared(demo, max_tokens=2000).key
        with monkeypatch.context() as patch:
            patch.setattr(DemoReader, "content_files", lambda _: [files.src])
            yield prepared(demo, max_tokens=2000).key
        monkeypatch.setattr(module, "CODE_VERSION", module.CODE_VERSION + 1)
        yield prepared(source).key

    assert len(set(keys())) == 12
    # As it was before there were encodings: a run that began then still knows its data.
    assert content_key(files, DataSettings(train=[files]))[:2] == ["TwoFiles", "{}"]
    assert ids_of(prepared(swapped)) == encoded([("cat", "dog"), ("old", "red")])
    assert ids_of(prepared(source, tokenizer=a_tokenizer("bpe"))) == encoded(
        [("dog", "cat"), ("red bird", "blue bird")], a_tokenizer("bpe")
    )


def test_rules_added_since_a_run_began_do_not_change_its_key(tmp_path: Path) -> None:
    class LaterSettings(CleanSettings, extra="forbid", frozen=True, strict=True):
        quotes: Literal["keep", "drop"] = "keep"

    assert module._key_rules(CleanSettings(level="strict")) == {
        "duplicates": "pair", "max_ratio": 4.0, "damage": "drop", "copies": "drop", "script": "drop",
        "markup": "drop", "numbers": "drop", "language": "keep", "repair": False,
    }  # fmt: skip
    source = tsv(tmp_path, [("dog", "cat")])
    before = prepared(source, clean=CleanSettings()).key
    assert prepared(source, clean=LaterSettings()).key == before
    assert prepared(source, clean=LaterSettings(quotes="drop")).key != before


def test_changed_code_prepares_anew_under_the_same_key(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tsv(tmp_path, [("dog", "cat")])
    before = prepared(source)
    monkeypatch.setattr(module, "code_digest", lambda: "f" * 64)
    encoded_pairs = note_encoding(monkeypatch)
    assert prepared(source).key == before.key
    assert len(encoded_pairs) == 1
    assert set(os.listdir(cache)) == {entry(cache, before).name, f"{before.key}-{'f' * 16}"}


@pytest.mark.parametrize("kind", ["tsv", "parquet", "saved"])
def test_changed_text_of_the_same_size_and_time_is_prepared_anew(kind: str, tmp_path: Path) -> None:
    folder = tmp_path / "source"
    folder.mkdir()
    rows = datasets.Dataset.from_dict({"en": ["the horse"], "de": ["a cat"]})
    source: Source = HubDataset(dataset=str(folder))
    if kind == "tsv":
        source = tsv(folder, [("the horse", "a cat")])
    elif kind == "parquet":
        rows.to_parquet(folder / "train.parquet")
    else:
        rows.save_to_disk(folder)
    assert ids_of(prepared(source)) == encoded([("the horse", "a cat")])
    for path in folder.iterdir():
        stat = path.stat()
        path.write_bytes(path.read_bytes().replace(b"the horse", b"the mouse"))
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert ids_of(prepared(source)) == encoded([("the mouse", "a cat")])


def test_a_damaged_cache_is_rebuilt(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tsv(tmp_path, [("dog", "cat"), ("", "x"), ("the bird", "old horse")])
    fresh = prepared(source)
    names = sorted(path.name for path in entry(cache, fresh).iterdir())
    assert names == ["shard-00000.arrays", "shard-00000.json"]
    for name in names:
        path = entry(cache, fresh) / name
        whole = path.read_bytes()
        flipped = whole[:-2] + bytes([whole[-2] ^ 1]) + whole[-1:]
        for damaged in (None, b"", whole[:-1], flipped, whole.replace(b'"empty": 1', b'"empty": 7')):
            path.unlink()
            if damaged is not None:
                path.write_bytes(damaged)
            again = prepared(source)
            assert ids_of(again) == ids_of(fresh)
            assert again.dropped == fresh.dropped
            assert path.read_bytes() == whole
    assert os.listdir(cache) == [entry(cache, fresh).name]
    forbid_encoding(monkeypatch)
    prepared(source)


def test_without_a_writable_cache_all_works_and_it_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    source = tsv(tmp_path, [("dog", "cat")])
    (tmp_path / "file").write_bytes(b"")
    caplog.set_level(logging.INFO, "mtx")
    monkeypatch.setenv("MTX_CACHE", str(tmp_path / "file" / "cache"))
    assert len(prepared(source)) == 1
    monkeypatch.setenv("MTX_CACHE", "/proc")
    assert len(prepared(source)) == 1
    assert ["prepared data is not cached" in message for message in caplog.messages] == [True, True]


class FullDisk:
    """Stand-in for `save_arrays` on a disk that is full after `num_saves` saves (into `folder`, if given)."""

    def __init__(self, num_saves: int, folder: Path | None = None) -> None:
        self.num_saves, self.folder, self.save = num_saves, folder, shards.save_arrays

    def __call__(self, path: Path, *arguments: Any) -> None:
        if self.folder is None or path.is_relative_to(self.folder):
            self.num_saves -= 1
            if self.num_saves < 0:
                raise OSError(28, "No space left on device")
        self.save(path, *arguments)


MANY = [(f"the red dog {number}", f"a cat {number}") for number in range(95)]


@pytest.fixture
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten pairs are encoded at once, thirty make a shard, and these stay on the disk."""
    monkeypatch.setattr(read, "MAX_CHUNK_PAIRS", 10)
    monkeypatch.setattr(shards, "SHARD_PAIRS", 30)
    monkeypatch.setattr(module, "TOKENS_IN_MEMORY", 0)


@pytest.mark.usefixtures("small_shards")
@pytest.mark.parametrize("num_saves", [0, 1, 3])
def test_a_full_cache_leaves_nothing_and_is_done_without(
    num_saves: int, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tsv(tmp_path, MANY)
    expected = prepared(source)
    shutil.rmtree(cache)
    monkeypatch.setattr(shards, "save_arrays", FullDisk(num_saves, cache))
    assert ids_of(prepared(source)) == ids_of(expected)
    assert os.listdir(cache) == []


def test_no_room_at_all_is_an_error_of_the_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(shards, "save_arrays", FullDisk(0))
    before = sorted(tmp_path.rglob("*"))
    source = tsv(tmp_path, [("dog", "cat")])
    with pytest.raises(UserError, match=r"cannot write prepared data: No space left on device .* Free some") as caught:
        prepared(source)
    assert caught.value.code == ExitCode.MACHINE
    assert sorted(tmp_path.rglob("*")) == sorted([*before, source.tsv, tmp_path / "cache"])


@pytest.mark.parametrize("duplicates", ["pair", "src", "tgt"])
def test_the_same_pair_of_another_tag_is_no_duplicate(duplicates: str, tmp_path: Path) -> None:
    """Names are the same in many languages, and the model must learn this for each language."""
    tokenizer = train_tokenizer(TEXT, TEXT, SETTINGS, print, tags=["2de", "2fr"])
    source = tsv(tmp_path, [("dog", "cat")] * 2)
    tagged = [source.model_copy(update={"tag": tag}) for tag in ("2de", "2fr", "2fr", None)]
    corpus = prepared(*tagged, tokenizer=tokenizer, clean=CleanSettings(duplicates=duplicates))
    assert lines_of(corpus) == [0, 2, 6]
    assert corpus.dropped == {"duplicate": 5}


# --- shards ----------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("small_shards")
def test_shards_are_one_corpus(tmp_path: Path, cache: Path) -> None:
    first, second = tsv(tmp_path, MANY[:47]), tsv(tmp_path, [("", "x"), *MANY[47:]], "b.tsv")
    corpus = prepared(first, second)
    assert len(list(entry(cache, corpus).glob("*.arrays"))) == 3
    assert ids_of(corpus) == encoded(MANY)
    assert lines_of(corpus) == [*range(47), *range(48, 96)]
    assert corpus.source_sizes == (47, 49)
    assert corpus.dropped == {"empty": 1}
    assert [corpus.lines.num_before(line) for line in (0, 1, 47, 48, 49, 96)] == [0, 1, 47, 47, 48, 95]
    rows = np.array([94, 0, 29, 30, 31, 60])
    assert corpus.lines[rows].tolist() == [95, 0, 29, 30, 31, 61]
    assert corpus.src.lengths_of(rows).tolist() == [len(encoded(MANY)[row][0]) for row in rows]


@pytest.mark.usefixtures("small_shards")
def test_a_shard_is_full_of_tokens_too(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "SHARD_TOKENS", 1)
    corpus = prepared(tsv(tmp_path, MANY))
    assert len(list(entry(cache, corpus).glob("*.arrays"))) == 10
    assert ids_of(corpus) == encoded(MANY)


def test_ids_take_as_little_room_as_they_can(tmp_path: Path) -> None:
    corpus = prepared(tsv(tmp_path, MANY))
    assert {shard.flat.dtype for ids in (corpus.src, corpus.tgt) for shard in ids._shards} == {np.dtype(np.uint16)}


def test_ids_in_memory_are_those_on_the_disk(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    num_tokens = sum(len(src) + len(tgt) for src, tgt in encoded(MANY))
    for limit, expected in ((num_tokens, np.ndarray), (num_tokens - 1, StoredArray)):
        monkeypatch.setattr(module, "TOKENS_IN_MEMORY", limit)
        corpus = prepared(tsv(tmp_path, MANY))
        arrays = [
            each for ids in (corpus.src, corpus.tgt) for shard in ids._shards for each in (shard.flat, shard.offsets)
        ]
        assert {type(array) for array in arrays} == {expected}
        assert ids_of(corpus) == encoded(MANY)


@pytest.mark.process
@pytest.mark.skipif(not can_fork(), reason="workers are forked, which mtx does on Linux only")
@pytest.mark.usefixtures("small_shards")
def test_many_processes_prepare_what_one_does(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = [pair for number, pair in enumerate(MANY * 3) for pair in ([pair, ("", "x")] if number % 4 else [pair])]
    source, clean = tsv(tmp_path, pairs), CleanSettings()
    contents = []
    for num_threads in ("1", "3"):
        monkeypatch.setenv("OMP_NUM_THREADS", num_threads)
        corpus = prepared(source, clean=clean)
        contents.append(files_of(entry(cache, corpus)))
        shutil.rmtree(cache)
    assert contents[0] == contents[1]
    assert corpus.dropped["duplicate"] == 190


@pytest.mark.process
@pytest.mark.usefixtures("small_shards")
@pytest.mark.parametrize("number", range(1, 6))
def test_killed_while_it_is_prepared(number: int, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Shards saved before the kill are kept, and duplicates of their pairs are still recognized."""
    source = tsv(tmp_path, [*MANY, *MANY[:10]])
    clean = CleanSettings()
    expected = prepared(source, clean=clean)
    assert (len(expected), expected.dropped) == (95, {"duplicate": 10})
    files = files_of(entry(cache, expected))
    shutil.rmtree(cache)
    process = os.fork()
    if process == 0:
        real, calls = shards.save_arrays, iter(range(1, 100))

        def save(*arguments: Any) -> None:
            real(*arguments)
            if next(calls) == number:
                os._exit(9)

        monkeypatch.setattr(shards, "save_arrays", save)
        prepared(source, clean=clean)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == (9 if number < 5 else 0)
    encoded_pairs = note_encoding(monkeypatch)
    again = prepared(source, clean=clean)
    assert ids_of(again) == ids_of(expected)
    assert again.dropped == expected.dropped
    assert len(encoded_pairs) == max(105 - 30 * number, 0)
    assert os.listdir(cache) == [entry(cache, again).name]
    assert files_of(entry(cache, again)) == files


def interrupt() -> None:
    raise KeyboardInterrupt


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.process
@pytest.mark.skipif(not can_fork(), reason="workers are forked, which mtx does on Linux only")
@pytest.mark.usefixtures("small_shards")
@pytest.mark.parametrize("end", [interrupt, kill])
def test_stopped_with_workers_at_work_and_going_on_without(
    end: Callable[[], None], tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C and kill -9 end the workers too, and the prepared files show no trace of the interruption."""
    source, clean = tsv(tmp_path, MANY * 3), CleanSettings()
    expected = prepared(source, clean=clean)
    files = files_of(entry(cache, expected))
    shutil.rmtree(cache)
    reading, writing = os.pipe()
    process = os.fork()
    if process == 0:
        os.close(reading)
        real, calls = shards.save_arrays, iter(range(1, 100))

        def save(*arguments: Any) -> None:
            real(*arguments)
            if next(calls) == 3:
                end()

        monkeypatch.setattr(shards, "save_arrays", save)
        monkeypatch.setenv("OMP_NUM_THREADS", "3")
        with suppress(KeyboardInterrupt):
            prepared(source, clean=clean)
        os._exit(0)
    os.close(writing)
    assert os.read(reading, 1) == b"", "the last of them has ended, by which the pipe is closed"
    os.close(reading)
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == (-signal.SIGKILL if end is kill else 0)
    encoded_pairs = note_encoding(monkeypatch)
    again = prepared(source, clean=clean)
    assert len(encoded_pairs) == 3 * 95 - 90
    assert files_of(entry(cache, again)) == files
    assert os.listdir(cache) == [entry(cache, again).name]


def test_what_a_killed_process_left_goes_once_it_is_old(tmp_path: Path, cache: Path) -> None:
    prepared(tsv(tmp_path, [("dog", "cat")]))
    (cache / "tmp-1").mkdir()
    (cache / "tmp-1" / "shard-00000.json").write_bytes(b"")
    (cache / "tmp-2.lock").write_bytes(b"")
    prepared(tsv(tmp_path, [("cat", "dog")]))
    assert len(list(cache.glob("tmp-*"))) == 2, "it may belong to a process that is at work"
    for path in (cache / "tmp-1" / "shard-00000.json", cache / "tmp-1", cache / "tmp-2.lock"):
        os.utime(path, (0, 0))
    prepared(tsv(tmp_path, [("horse", "dog")], "b.tsv"))
    assert list(cache.glob("tmp-*")) == []


def test_what_a_process_is_at_work_on_is_never_old(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Age doesn't make a folder in use stale: its lock file is written once, and preparing may take days."""
    other, save = tsv(tmp_path, [("cat", "dog")], "b.tsv"), shards.save_arrays
    places = []

    def interrupted(path: Path, *arguments: Any) -> None:
        monkeypatch.setattr(shards, "save_arrays", save)
        places.extend(cache.glob("tmp-*"))
        for place in places:
            os.utime(place, (0, 0))
        prepared(other)
        assert all(place.exists() for place in places)
        save(path, *arguments)

    monkeypatch.setattr(shards, "save_arrays", interrupted)
    prepared(tsv(tmp_path, [("dog", "cat")]))
    assert len(places) == 2, "the folder and its lock"
    assert list(cache.glob("tmp-*")) == []


@pytest.mark.process
@pytest.mark.skipif(not can_fork(), reason="workers are forked, which mtx does on Linux only")
@pytest.mark.usefixtures("small_shards")
def test_a_worker_that_is_killed_takes_no_shard_with_it(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Workers are mostly killed for lack of memory; the next try continues with the shards already saved."""
    source, encode = tsv(tmp_path, MANY), module._Encoder.__call__

    def deadly(encoder: Any, group: Any) -> Any:
        if MANY[80] in group.pairs:
            while not list(cache.glob("tmp-*/*.json")):
                os.sched_yield()
            os.kill(os.getpid(), signal.SIGKILL)
        return encode(encoder, group)

    monkeypatch.setattr(module._Encoder, "__call__", deadly)
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    with pytest.raises(UserError, match="a worker process was killed"):
        prepared(source)
    done = 30 * len(list(cache.glob("tmp-*/*.json")))
    assert done

    def counting(encoder: Any, group: Any) -> Any:
        encoded_pairs.extend(group.pairs)
        return encode(encoder, group)

    encoded_pairs: list[Any] = []
    monkeypatch.setattr(module._Encoder, "__call__", counting)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert ids_of(prepared(source)) == encoded(MANY)
    assert encoded_pairs == MANY[done:]


def test_bad_input_leaves_nothing_half_prepared(tmp_path: Path, cache: Path) -> None:
    (tmp_path / "bad.tsv").write_bytes(b"dog\tcat\ndog\n")
    with pytest.raises(UserError, match="found 1 columns"):
        prepared(Tsv(tsv=tmp_path / "bad.tsv"))
    assert os.listdir(cache) == []


@pytest.mark.process
def test_two_processes_prepare_the_same_once(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tsv(tmp_path, MANY)
    reading, writing = os.pipe()
    process = os.fork()
    if process == 0:
        encode = module._Encoder.__call__

        def announced(encoder: Any, group: Any) -> Any:
            os.write(writing, b"begun")
            while not any("waiting" in path.name for path in tmp_path.iterdir()):
                os.sched_yield()
            return encode(encoder, group)

        monkeypatch.setattr(module._Encoder, "__call__", announced)
        prepared(source)
        os._exit(0)
    assert os.read(reading, 5) == b"begun"
    forbid_encoding(monkeypatch)
    handler = logging.Handler()
    handler.emit = lambda record: (tmp_path / "waiting").touch() if "waiting" in record.getMessage() else None  # type: ignore[method-assign]
    logger = logging.getLogger("mtx")
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    try:
        assert ids_of(prepared(source)) == encoded(MANY)
    finally:
        logger.removeHandler(handler)
    assert os.waitpid(process, 0)[1] == 0
    assert len(os.listdir(cache)) == 1


@pytest.mark.slow
def test_memory_does_not_grow_with_the_corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ids are written to the disk at once and stay there, so a corpus may be larger than memory."""
    monkeypatch.setattr(module, "TOKENS_IN_MEMORY", 0)
    monkeypatch.setattr(read, "MAX_CHUNK_PAIRS", 500)
    monkeypatch.setattr(shards, "SHARD_PAIRS", 2000)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    peaks = []
    for num_pairs in (5_000, 30_000):
        pairs = [(f"the red dog {number}", f"a cat {number}") for number in range(num_pairs)]
        source = tsv(tmp_path, pairs, f"{num_pairs}.tsv")
        del pairs
        tracemalloc.start()
        corpus = prepared(source)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert len(corpus) == num_pairs
    assert peaks[1] < 1.2 * peaks[0]
