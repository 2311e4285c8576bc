"""Batching: the pairs of each batch and their padding, a pure function of the order of an epoch.

The order is divided into parts. Only the current part is sorted and cut into batches, so that starting takes no time
or memory that grows with the corpus, apart from the order itself.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mtx.data.mixing import Mixture
from mtx.data.prepared.corpus import Corpus, Ids, Rows
from mtx.errors import ExitCode, UserError

WINDOW_PAIRS = 50_000  # Pairs sorted by length together. More means less padding, fewer means a better mix of lengths.
PART_PAIRS = 20 * WINDOW_PAIRS  # Pairs in a part. Its batches are shuffled, and come before those of the next part.
FULLNESS = 0.9  # Smallest share of the rows that fit which a batch takes. Lower means less padding, but more batches.

Lengths = NDArray[np.integer[Any]]  # Number of tokens of each sentence, without EOS


@dataclass(frozen=True, slots=True)
class Batch:
    """Padded parallel sentences on one device.

    Shapes:
        src_ids, src_mask: (B, S)   ids + [eos], then pad; the mask is True at real tokens
        tgt_in, tgt_out:   (B, T)   [bos] + ids, and ids + [eos]: position t of tgt_out answers position t of tgt_in
        target_positions:  (N,)     indices of the real tokens in tgt_out.flatten()
    """

    src_ids: Tensor
    src_mask: Tensor
    tgt_in: Tensor
    tgt_out: Tensor
    target_positions: Tensor
    num_src_tokens: int  # Real source tokens, EOS included; a host integer too
    num_tokens: int  # Real target tokens, EOS included; a host integer, so that summing it never waits for the device
    rows: Rows  # Pairs of the corpus in this rank's share
    global_num_tokens: int  # Real target tokens of the whole batch, of which each rank has a share
    global_rows: Rows  # Pairs of the corpus in the whole batch

    def to(self, device: torch.device) -> Self:
        """Return the batch on `device`; copying to a GPU is asynchronous."""
        names = ("src_ids", "src_mask", "tgt_in", "tgt_out", "target_positions")
        tensors = {name: getattr(self, name) for name in names}
        if device.type == "cuda":  # copies to a GPU are asynchronous only from pinned memory
            tensors = {name: tensor.pin_memory() for name, tensor in tensors.items()}
        return replace(self, **{name: tensor.to(device, non_blocking=True) for name, tensor in tensors.items()})

    def halves(self) -> tuple[Self, Self]:
        """Split a batch on the CPU into its first and last rows, each half without needless padding."""
        middle = len(self.rows) // 2
        return self._part(slice(middle)), self._part(slice(middle, None))

    def _part(self, part: slice) -> Self:
        is_real = torch.zeros(self.tgt_out.numel(), dtype=torch.bool).index_fill(0, self.target_positions, True)
        src_mask, tgt_mask = self.src_mask[part], is_real.view_as(self.tgt_out)[part]
        src_length, tgt_length = (int(mask.sum(dim=1).max()) for mask in (src_mask, tgt_mask))
        return replace(
            self,
            src_ids=self.src_ids[part, :src_length],
            src_mask=src_mask[:, :src_length],
            tgt_in=self.tgt_in[part, :tgt_length],
            tgt_out=self.tgt_out[part, :tgt_length],
            target_positions=tgt_mask[:, :tgt_length].flatten().nonzero().flatten(),
            num_src_tokens=int(src_mask.sum()),
            num_tokens=int(tgt_mask.sum()),
            rows=self.rows[part],
        )


class Position(NamedTuple):
    """The position of the next batch in the endless stream."""

    epoch: int = 0
    part: int = 0  # Index in the epoch
    batch: int = 0  # Index in the part


# --- plan ------------------------------------------------------------------------------------------------------------


def num_parts(order: Rows) -> int:
    """Number of parts of an epoch."""
    return max(1, math.ceil(len(order) / PART_PAIRS))


def part_batches(
    order: Rows, src_lengths: Lengths, tgt_lengths: Lengths, *, batch_tokens: int, seed: int, epoch: int, part: int
) -> list[Rows]:
    """The rows of each batch of one part of an epoch. Over all parts, every row of `order` occurs once.

    Neither side of a batch has more than `batch_tokens` tokens, including padding and EOS.

    Raises:
        UserError: a pair is too long for a batch (USAGE).
    """
    rows = order[part * PART_PAIRS : (part + 1) * PART_PAIRS]
    batches = []
    for start in range(0, len(rows), WINDOW_PAIRS):
        window = _sort(rows[start : start + WINDOW_PAIRS], src_lengths, tgt_lengths)
        batches += _cut(window, src_lengths, tgt_lengths, batch_tokens)
    rng = np.random.default_rng([seed, epoch, part + 1])  # numpy treats [seed, epoch, 0] as [seed, epoch]
    return [batches[i] for i in rng.permutation(len(batches))]


def fixed_batches(src_lengths: Lengths, tgt_lengths: Lengths, *, batch_tokens: int) -> list[Rows]:
    """The rows of each batch for validation, sorted by length and always the same."""
    rows = _sort(np.arange(len(src_lengths)), src_lengths, tgt_lengths)
    return _cut(rows, src_lengths, tgt_lengths, batch_tokens)


def check_longest(src_lengths: Lengths, tgt_lengths: Lengths, batch_tokens: int) -> None:
    """Check that a batch can hold the longest pair.

    Raises:
        UserError: it can't (USAGE).
    """
    longest = 1 + max(int(lengths.max(initial=0)) for lengths in (src_lengths, tgt_lengths))  # EOS
    if longest > batch_tokens:
        what = f"train.batch_tokens {batch_tokens} is smaller than the longest pair, {longest} tokens"
        raise UserError(ExitCode.USAGE, what, do="Raise train.batch_tokens, or lower data.max_tokens.")


def _sort(rows: Rows, src_lengths: Lengths, tgt_lengths: Lengths) -> Rows:
    """Sort `rows` so that neighbours have similar lengths on both sides; equal ones keep their order."""
    src, tgt = src_lengths[rows].astype(np.int64), tgt_lengths[rows].astype(np.int64)
    longer = np.maximum(src, tgt)
    # The longer side decides how many rows fit. Pairs of equal length go from long sources to long targets and, at the
    # next length, back, so that a batch that spans two lengths pads neither side much.
    difference = np.where(longer % 2, src - tgt, tgt - src)
    return rows[np.lexsort((difference, longer))]


def _cut(rows: Rows, src_lengths: Lengths, tgt_lengths: Lengths, batch_tokens: int) -> list[Rows]:
    """Cut sorted `rows` into batches with at most `batch_tokens` tokens on either side, including padding.

    A batch takes all rows that fit, or up to a tenth fewer if that reduces padding, as when a length ends there.
    """
    src, tgt = src_lengths[rows].astype(np.int64) + 1, tgt_lengths[rows].astype(np.int64) + 1  # EOS
    check_longest(src_lengths[rows], tgt_lengths[rows], batch_tokens)
    cuts = [0]
    while cuts[-1] < len(rows):
        start = cuts[-1]
        some = slice(start, start + batch_tokens // int(max(src[start], tgt[start])))
        widths = np.maximum.accumulate(src[some]), np.maximum.accumulate(tgt[some])
        counts = np.arange(1, len(widths[0]) + 1)
        fitting = int(np.count_nonzero(np.maximum(*widths) * counts <= batch_tokens))
        if start + fitting < len(rows):
            real_share = np.cumsum(src[some] + tgt[some]) / (sum(widths) * counts)
            fewest = math.ceil(FULLNESS * fitting)
            fitting -= int(np.argmax(real_share[fewest - 1 : fitting][::-1]))
        cuts.append(start + fitting)
    return np.split(rows, cuts[1:-1]) if len(rows) else []


def padding_share(src_lengths: Lengths, tgt_lengths: Lengths, batches: Sequence[Rows]) -> float:
    """The share of padding among the tokens of `batches`, both sides together."""
    if not batches:
        return 0.0
    rows, counts = np.concatenate(batches), np.array([len(batch) for batch in batches])
    starts = np.cumsum(counts) - counts
    real = padded = 0
    for all_lengths in (src_lengths, tgt_lengths):
        lengths = all_lengths[rows].astype(np.int64) + 1
        real += int(lengths.sum())
        padded += int((np.maximum.reduceat(lengths, starts) * counts).sum())
    return 1 - real / padded


# --- batches ---------------------------------------------------------------------------------------------------------


def batches_from(
    corpus: Corpus,
    mixture: Mixture,
    position: Position,
    *,
    batch_tokens: int,
    seed: int,
    rank: int = 0,
    num_ranks: int = 1,
    **special: int,
) -> Iterator[tuple[Position, Batch]]:
    """Yield batches endlessly from `position` on, epoch after epoch, each with the position after it.

    A stream started at such a position continues exactly there, with any number of ranks: positions count batches of
    all ranks, of which each rank gets its share. The ids in `special` are those that `collate` needs.
    """
    lengths = corpus.src.lengths, corpus.tgt.lengths
    while True:
        epoch = position.epoch
        order = mixture.order(seed, epoch)
        for part in range(position.part, num_parts(order)):
            batches = part_batches(order, *lengths, batch_tokens=batch_tokens, seed=seed, epoch=epoch, part=part)
            first = position.batch if part == position.part else 0
            following = Position(epoch, part + 1) if part + 1 < num_parts(order) else Position(epoch + 1)
            for number, rows in enumerate(batches[first:], start=first + 1):
                after = Position(epoch, part, number) if number < len(batches) else following
                yield after, share(corpus, rows, rank, num_ranks, **special)
        position = Position(epoch + 1)


def share(corpus: Corpus, rows: Rows, rank: int, num_ranks: int, **special: int) -> Batch:
    """This rank's share of a batch: every `num_ranks`-th row. Rows are sorted by length, so all ranks get equal work.

    If there are fewer rows than ranks, the others get a copy of the first row without real target tokens: they take
    part in the step with a gradient of zero.
    """
    own = rows[rank::num_ranks]
    batch = collate(corpus, own if len(own) else rows[:1], **special)
    if not len(own):
        batch = replace(batch, target_positions=batch.target_positions[:0], num_src_tokens=0, num_tokens=0)
    num_tokens = int(corpus.tgt.lengths_of(rows).sum()) + len(rows)  # EOS
    return replace(batch, global_num_tokens=num_tokens, global_rows=rows)


def collate(corpus: Corpus, rows: Rows, *, pad_id: int, bos_id: int, eos_id: int) -> Batch:
    """Pad the pairs `rows` of `corpus` to one batch on the CPU."""
    src_ids, src_lengths = _pad(corpus.src, rows, pad_id)
    tgt_out, tgt_lengths = _pad(corpus.tgt, rows, pad_id)
    tgt_in = np.roll(tgt_out, 1, axis=1)  # the last column, which is padding, moves to the front
    tgt_in[:, 0] = bos_id
    every = np.arange(len(rows))
    src_ids[every, src_lengths] = eos_id
    tgt_out[every, tgt_lengths] = eos_id
    # By length, not by ids != pad_id: a real token may have the id of the padding.
    src_mask = np.arange(src_ids.shape[1]) <= src_lengths[:, None]
    tgt_mask = np.arange(tgt_out.shape[1]) <= tgt_lengths[:, None]
    num_tokens = int(tgt_mask.sum())
    return Batch(
        src_ids=torch.from_numpy(src_ids),
        src_mask=torch.from_numpy(src_mask),
        tgt_in=torch.from_numpy(tgt_in),
        tgt_out=torch.from_numpy(tgt_out),
        target_positions=torch.from_numpy(np.flatnonzero(tgt_mask)),
        num_src_tokens=int(src_mask.sum()),
        num_tokens=num_tokens,
        rows=rows,
        global_num_tokens=num_tokens,
        global_rows=rows,
    )


def _pad(ids: Ids, rows: Rows, pad_id: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The sentences `rows`, padded to one token more than the longest, and their lengths without padding."""
    lengths = ids.lengths_of(rows)
    padded = np.full((len(rows), lengths.max() + 1), pad_id, np.int64)
    padded[np.arange(padded.shape[1]) < lengths[:, None]] = np.concatenate([ids[row] for row in rows])
    return padded, lengths
