"""Rows come into their new order the same way, whether few are moved or all are copied."""

import pytest
import torch

from mtx.model.fast.cache import Selection


@pytest.mark.parametrize(("index", "is_moved"), [([0, 1, 7, 3, 4], True), ([0, 1, 2], True), ([3, 0, 5, 1], False)])
def test_selected_rows(index: list[int], is_moved: bool) -> None:
    """Moving a few rows and copying all of them select the same rows."""
    buffer_L2CRHP, wanted = torch.randn(3, 2, 6, 8, 2, 3), torch.tensor(index)
    expected, selection = buffer_L2CRHP[:, :, :, index].clone(), Selection.choose(wanted)
    assert (selection.moved is not None) == is_moved
    selected = selection.of_buffer(buffer_L2CRHP.clone(), 4)
    assert torch.equal(selected[:, :, :4], expected[:, :, :4])
    assert selected.size(2) > 4, "there is room for one more position"
    assert selected.size(3) == len(index)
    for dim in (0, 2, 3):
        rows = buffer_L2CRHP.transpose(dim, 3).contiguous()
        selected = selection.of(rows, dim)
        assert torch.equal(selected.transpose(dim, 3), expected)
        assert (selected.data_ptr() == rows.data_ptr()) == is_moved
