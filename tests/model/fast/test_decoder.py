"""A FastDecoder takes the steps of the model that it was made from."""

from collections.abc import Callable
from typing import Literal

import pytest
import torch
from torch import Tensor

from mtx.model import Transformer
from mtx.model.fast import decoder, for_decoding

MakeModel = Callable[..., Transformer]
MakeBatch = Callable[..., tuple[Tensor, Tensor, Tensor]]
Norm = Literal["pre", "post"]


@pytest.mark.parametrize("norm", ["pre", "post"])
@pytest.mark.parametrize("width", [1, 3])
@torch.no_grad()
def test_its_steps_equal_forward(norm: Norm, width: int, make_model: MakeModel, make_batch: MakeBatch) -> None:
    """The state remembers what it should while hypotheses are reordered and sentences dropped, as in a search."""
    model = make_model(5, norm=norm)
    src_ids, src_mask, _ = make_batch(5, sizes=(5, 6, 1))
    fast = for_decoding(model, torch.float64)
    state = fast.start(src_ids, src_mask)
    prefixes = torch.zeros(5, 0, dtype=torch.long)
    keep_at = {3: [0, 4, 2, 3], 6: [1, 3], 55: [1]}  # one row moves, then all that are left
    longest_prefix = 0
    for t in range(80):  # long enough for buffers to grow and prefixes to be shared
        prev_ids = torch.randint(4, 23, (len(prefixes),))
        prefixes = torch.cat([prefixes, prev_ids[:, None]], dim=1)
        logits, state = fast.step(prev_ids, state)
        rows_per_sentence = len(prefixes) // len(src_ids)  # one at first
        every_row = (tensor.repeat_interleave(rows_per_sentence, dim=0) for tensor in (src_ids, src_mask))
        torch.testing.assert_close(logits, model(*every_row, prefixes)[:, -1], atol=1e-10, rtol=0, msg=f"step {t}")
        assert state.length == t + 1
        longest_prefix = max(longest_prefix, t + 1 - len(state.ancestors_MR))

        kept = keep_at.get(t, list(range(len(src_ids))))
        parents = torch.randint(rows_per_sentence, (len(kept), width))
        rows = (parents + torch.tensor(kept)[:, None] * rows_per_sentence).flatten()
        state, prefixes = state.select(rows, torch.tensor(kept)), prefixes[rows]
        src_ids, src_mask = src_ids[kept], src_mask[kept]
    assert longest_prefix >= 48 if width > 1 else longest_prefix == 0


@torch.no_grad()
def test_sources_are_encoded_in_parts_without_the_padding_of_the_longest(
    make_model: MakeModel, make_batch: MakeBatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoder, "TOKENS_PER_PART", 12)
    model, (src_ids, src_mask, tgt_in) = make_model(9), make_batch(9, sizes=(7, 9, 1))
    fast = for_decoding(model, torch.float64)
    shapes: list[tuple[int, ...]] = []
    encode = Transformer.encode

    def noting_encode(self: Transformer, ids: Tensor, mask: Tensor) -> Tensor:
        shapes.append(tuple(ids.shape))
        return encode(self, ids, mask)

    monkeypatch.setattr(Transformer, "encode", noting_encode)
    for order in (src_mask.sum(dim=1).argsort(descending=True), torch.arange(7)):
        shapes.clear()
        ids, mask = src_ids[order], src_mask[order]
        logits, _ = fast.step(tgt_in[:, 0], fast.start(ids, mask))
        assert sum(rows for rows, _ in shapes) == 7
        assert all(rows * length <= 12 for rows, length in shapes)
        lengths = mask.sum(dim=1).tolist()
        longest = [max(lengths[sum(r for r, _ in shapes[:i]) :][:rows]) for i, (rows, _) in enumerate(shapes)]
        assert [length for _, length in shapes] == longest
        torch.testing.assert_close(logits, model(ids, mask, tgt_in)[:, -1], atol=1e-10, rtol=0)


@torch.no_grad()
def test_the_prefix_is_shared_once_hypotheses_agree(make_model: MakeModel, make_batch: MakeBatch) -> None:
    """Hypotheses without a common past share nothing; once one of two is dropped, all of the past is shared."""
    model, (src_ids, src_mask, _) = make_model(8), make_batch(8, sizes=(2, 4, 1))
    fast = for_decoding(model, torch.float64)
    state = fast.start(src_ids, src_mask)
    rows = torch.tensor([0, 0, 1, 1])
    for t in range(50):
        _, state = fast.step(torch.randint(4, 23, (2 if t == 0 else 4,)), state)
        state = state.select(rows if t == 0 else torch.tensor([0, 1, 2, 2]), torch.arange(2))
        assert len(state.ancestors_MR) == t + 1
    state = state.select(torch.tensor([1, 1, 2, 3]), torch.arange(2))
    assert len(state.ancestors_MR) == 0
    assert state.length == 50
