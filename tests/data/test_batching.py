"""Batches: every pair once an epoch, within the budget, the same for the same (seed, epoch), resumable anywhere."""

from itertools import islice
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mtx.data import batching
from mtx.data.batching import (
    FULLNESS,
    Batch,
    Position,
    batches_from,
    collate,
    fixed_batches,
    num_parts,
    padding_share,
    part_batches,
)
from mtx.data.mixing import Mixture
from mtx.data.prepared.corpus import Corpus, Ids, Lines, Rows
from mtx.errors import ExitCode, UserError

SPECIALS = {"pad_id": 0, "bos_id": 2, "eos_id": 3}
LENGTHS = st.lists(st.tuples(st.integers(1, 20), st.integers(1, 20)), min_size=1, max_size=80)


def make_corpus(num_pairs: int, seed: int = 0) -> Corpus:
    rng = np.random.default_rng(seed)
    sides = [
        Ids.from_lists([rng.integers(4, 99, rng.integers(1, 20)).tolist() for _ in range(num_pairs)]) for _ in "st"
    ]
    return Corpus(*sides, lines=Lines([np.arange(num_pairs)]), dropped={}, num_equal=0, key="")


def mixture_of(num_pairs: int) -> Mixture:
    return Mixture((0, num_pairs), (1.0,))


def epoch_batches(src: Any, tgt: Any, *, batch_tokens: int, seed: int, epoch: int) -> list[Rows]:
    """The batches of all parts of an epoch, in order."""
    order = mixture_of(len(src)).order(seed, epoch)
    options = {"batch_tokens": batch_tokens, "seed": seed, "epoch": epoch}
    parts = [part_batches(order, src, tgt, **options, part=part) for part in range(num_parts(order))]
    return [batch for part in parts for batch in part]


def sizes(pairs: list[tuple[int, int]]) -> tuple[Any, Any]:
    return np.array([s for s, _ in pairs]), np.array([t for _, t in pairs])


def equal(a: Batch, b: Batch) -> bool:
    names = ("src_ids", "src_mask", "tgt_in", "tgt_out", "target_positions")
    return all(torch.equal(getattr(a, name), getattr(b, name)) for name in names) and a.rows.tolist() == b.rows.tolist()


# --- plan ------------------------------------------------------------------------------------------------------------


@given(LENGTHS, st.integers(21, 200), st.integers(0, 9), st.integers(0, 9), st.integers(1, 40), st.integers(1, 90))
def test_every_pair_once_and_within_the_budget(
    pairs: list[tuple[int, int]], batch_tokens: int, seed: int, epoch: int, window: int, part: int
) -> None:
    src, tgt = sizes(pairs)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batching, "WINDOW_PAIRS", window)
        patch.setattr(batching, "PART_PAIRS", part)
        plan = epoch_batches(src, tgt, batch_tokens=batch_tokens, seed=seed, epoch=epoch)
    for batches in (plan, fixed_batches(src, tgt, batch_tokens=batch_tokens)):
        assert sorted(np.concatenate(batches).tolist()) == list(range(len(pairs)))
        for rows in batches:
            assert len(rows) * (max(src[rows].max(), tgt[rows].max()) + 1) <= batch_tokens


def test_the_order_is_a_function_of_seed_and_epoch_alone() -> None:
    corpus = make_corpus(500)
    src, tgt = corpus.src.lengths, corpus.tgt.lengths

    def order(seed: int, epoch: int) -> list[list[int]]:
        return [rows.tolist() for rows in epoch_batches(src, tgt, batch_tokens=200, seed=seed, epoch=epoch)]

    assert order(1, 0) == order(1, 0)
    assert len({str(order(seed, epoch)) for seed in range(3) for epoch in range(3)}) == 9
    assert len({str(sorted(map(sorted, order(1, epoch)))) for epoch in range(3)}) == 3, "pairs always meet the same"
    longest = [max(src[rows].max(), tgt[rows].max()) for rows in order(1, 0)]
    assert longest != sorted(longest), "short batches come first"


def test_a_batch_gives_up_a_tenth_of_its_rows_at_most_and_only_to_pad_less() -> None:
    corpus = make_corpus(3000)
    src, tgt = corpus.src.lengths, corpus.tgt.lengths
    longer = np.maximum(src, tgt).astype(np.int64) + 1
    batches = fixed_batches(src, tgt, batch_tokens=400)
    rest = np.concatenate(batches)
    num_shorter = 0
    for rows in batches[:-1]:
        fitting = len(rows)
        while longer[rest[: fitting + 1]].max() * (fitting + 1) <= 400:
            fitting += 1
        assert len(rows) >= FULLNESS * fitting
        if len(rows) < fitting:
            num_shorter += 1
            padding = [padding_share(src, tgt, [rest[:count]]) for count in range(len(rows), fitting + 1)]
            assert padding[0] < min(padding[1:])
        rest = rest[len(rows) :]
    assert num_shorter > 0


def test_a_pair_that_fits_no_batch_is_refused() -> None:
    src, tgt = sizes([(3, 3), (5, 11), (2, 2)])
    assert len(fixed_batches(src, tgt, batch_tokens=12)) == 2
    with pytest.raises(UserError, match=r"train.batch_tokens 11 is smaller than the longest pair, 12 tokens") as caught:
        epoch_batches(src, tgt, batch_tokens=11, seed=1, epoch=0)
    assert caught.value.code == ExitCode.USAGE


def test_padding_share_is_what_collate_pads() -> None:
    corpus = make_corpus(300)
    batches = epoch_batches(corpus.src.lengths, corpus.tgt.lengths, batch_tokens=400, seed=1, epoch=0)
    real = cells = 0
    for rows in batches:
        batch = collate(corpus, rows, **SPECIALS)
        real += int(batch.src_mask.sum()) + len(batch.target_positions)
        cells += batch.src_mask.numel() + batch.tgt_out.numel()
    assert padding_share(corpus.src.lengths, corpus.tgt.lengths, batches) == pytest.approx(1 - real / cells)


def test_sorting_keeps_padding_small() -> None:
    rng = np.random.default_rng(0)
    src = 1 + rng.poisson(14, 30_000)
    tgt = np.maximum(1, src + np.rint(rng.normal(0, 3, len(src))).astype(int))
    sorted_batches = epoch_batches(src, tgt, batch_tokens=4096, seed=1, epoch=0)
    assert padding_share(src, tgt, sorted_batches) < 0.03
    num_unsorted = len(src) / (4096 / (np.maximum(src, tgt).max() + 1))
    assert len(sorted_batches) < 0.6 * num_unsorted


# --- batches ---------------------------------------------------------------------------------------------------------


def test_collate_frames_and_pads_like_lists_do() -> None:
    corpus = make_corpus(50)
    rows = np.array([3, 11, 0, 42])
    batch = collate(corpus, rows, **SPECIALS)

    def padded(sentences: list[list[int]]) -> list[list[int]]:
        longest = max(map(len, sentences))
        return [sentence + [0] * (longest - len(sentence)) for sentence in sentences]

    src, tgt = ([ids[row].tolist() for row in rows] for ids in (corpus.src, corpus.tgt))
    assert batch.src_ids.tolist() == padded([[*ids, 3] for ids in src])
    assert batch.tgt_in.tolist() == padded([[2, *ids] for ids in tgt])
    assert batch.tgt_out.tolist() == padded([[*ids, 3] for ids in tgt])
    assert batch.src_mask.tolist() == [[id_ != 0 for id_ in ids] for ids in batch.src_ids.tolist()]
    assert batch.target_positions.tolist() == [
        place for place, id_ in enumerate(batch.tgt_out.flatten().tolist()) if id_ != 0
    ]
    assert batch.num_src_tokens == sum(map(len, src)) + 4
    assert batch.num_tokens == sum(map(len, tgt)) + 4
    assert batch.rows.tolist() == rows.tolist()
    assert batch.src_ids.dtype == batch.tgt_in.dtype == torch.int64
    assert equal(batch.to(torch.device("cpu")), batch)


@pytest.mark.parametrize("num_rows", [2, 3, 8])
def test_halves_are_what_their_rows_alone_would_make(num_rows: int) -> None:
    corpus, rows = make_corpus(50, seed=num_rows), np.arange(40, 40 + num_rows)
    batch = collate(corpus, rows, **SPECIALS)
    middle = num_rows // 2
    for half, its_rows in zip(batch.halves(), (rows[:middle], rows[middle:]), strict=True):
        expected = collate(corpus, its_rows, **SPECIALS)
        assert equal(half, expected)
        assert (half.num_src_tokens, half.num_tokens) == (expected.num_src_tokens, expected.num_tokens)


@settings(max_examples=30)
@given(num_pairs=st.integers(1, 50), num_ranks=st.integers(1, 4), batch_tokens=st.sampled_from([40, 90, 400]))
def test_ranks_share_each_batch(num_pairs: int, num_ranks: int, batch_tokens: int) -> None:
    """All ranks get equally many batches; together they hold each pair once, with the token counts of a single rank."""
    corpus, mixture = make_corpus(num_pairs), mixture_of(num_pairs)
    options = {"batch_tokens": batch_tokens, "seed": 5, **SPECIALS}
    alone = list(islice(batches_from(corpus, mixture, Position(), **options), 9))
    streams = [
        islice(batches_from(corpus, mixture, Position(), **options, rank=rank, num_ranks=num_ranks), 9)
        for rank in range(num_ranks)
    ]
    for (position, whole), *shares in zip(alone, *streams, strict=True):
        assert [after for after, _ in shares] == [position] * num_ranks
        batches = [batch for _, batch in shares]
        taken = [batch.rows.tolist() for batch in batches if batch.num_tokens]
        assert sorted(row for rows in taken for row in rows) == sorted(whole.rows.tolist())
        assert sum(batch.num_tokens for batch in batches) == whole.num_tokens == whole.global_num_tokens
        assert all(batch.global_num_tokens == whole.num_tokens for batch in batches)
        assert all(batch.global_rows.tolist() == whole.rows.tolist() for batch in batches)
        assert all(len(batch.target_positions) == batch.num_tokens for batch in batches)
        counts = [batch.num_tokens and len(batch.rows) for batch in batches]
        assert max(counts) - min(counts) <= 1
        for rank, batch in enumerate(batches):
            own = whole.rows[rank::num_ranks]
            assert batch.rows.tolist() == (own if len(own) else whole.rows[:1]).tolist()


@pytest.mark.parametrize("part_pairs", [1000, 25])
def test_the_stream_goes_through_the_epochs_and_resumes_anywhere(
    part_pairs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batching, "PART_PAIRS", part_pairs)
    corpus = make_corpus(60)
    options = {"batch_tokens": 150, "seed": 5, **SPECIALS}
    mixture = mixture_of(60)
    num_batches = len(epoch_batches(corpus.src.lengths, corpus.tgt.lengths, batch_tokens=150, seed=5, epoch=0))
    whole = list(islice(batches_from(corpus, mixture, Position(), **options), 3 * num_batches))
    first_epoch = [row for _, batch in whole[:num_batches] for row in batch.rows]
    assert sorted(first_epoch) == list(range(60))
    assert whole[num_batches - 1][0] == Position(epoch=1)
    assert {position.part for position, _ in whole} == set(range(-(-60 // part_pairs)))
    for done in range(1, 2 * num_batches):
        position = whole[done - 1][0]
        again = list(islice(batches_from(corpus, mixture, position, **options), 3))
        assert [after for after, _ in again] == [after for after, _ in whole[done : done + 3]]
        assert all(equal(a, b) for (_, a), (_, b) in zip(again, whole[done : done + 3], strict=True))
