"""A model that only translates computes what the trained one does, to the precision that it promises."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from mtx.model import Transformer, inference
from mtx.model.inference import MANY, Int8Linear, for_inference, round_rows
from mtx.model.linear import Linear


def steps(model: Transformer, src_ids: Tensor, src_mask: Tensor, tgt_in: Tensor) -> Tensor:
    """The logits of every step, all targets given. Shapes: (B, T, V)."""
    state, logits = model.start(src_ids, src_mask), []
    for prev_ids in tgt_in.unbind(dim=1):
        now, state = model.step(prev_ids, state)
        logits.append(now.float())
    return torch.stack(logits, dim=1)


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 0.05), (torch.int8, 0.05)], ids=str
)
@pytest.mark.parametrize("is_joint", [True, False])
def test_logits_are_those_of_the_trained_model(
    dtype: torch.dtype,
    tolerance: float,
    is_joint: bool,
    make_model: Callable[..., Transformer],
    make_batch: Callable[..., tuple[Tensor, Tensor, Tensor]],
) -> None:
    """The tolerance is a share of the logits' own deviation."""
    model = make_model(3, dtype=torch.float32, is_joint=is_joint, d_model=64, d_ff=128).eval()
    batch = make_batch(3)
    before = {name: weight.clone() for name, weight in model.named_parameters()}
    with torch.inference_mode():
        expected = model(*batch)
        found = steps(for_inference(model, dtype), *batch)
        error = (found - expected).square().mean().sqrt() / expected.std()
        assert error < tolerance
        if dtype != torch.float32:
            assert error > 1e-5, "it is another precision"
        torch.testing.assert_close(model(*batch), expected, atol=0, rtol=0)
    assert all(torch.equal(weight, before[name]) for name, weight in model.named_parameters())


@pytest.mark.parametrize("outputs", [40, MANY // 15 + 1])
@pytest.mark.parametrize("is_by_torch_alone", [False, True])
def test_int8_errs_by_its_rounding_alone(
    outputs: int, is_by_torch_alone: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Against exact sums of the rounded numbers, and within half a step of each factor against the true ones."""
    if is_by_torch_alone:
        monkeypatch.setattr(inference, "has_onednn_int8", lambda: False)
    torch.manual_seed(0)
    linear = Linear(300, outputs)
    torch.nn.init.normal_(linear.bias)  # type: ignore[arg-type]
    x = torch.randn(5, 3, 300) * torch.tensor([1e-3, 1.0, 1e3]).view(1, 3, 1)
    out = Int8Linear(linear)(x)

    x_hat, x_scale = round_rows(x.flatten(0, 1))
    w_hat, w_scale = round_rows(linear.weight.detach())
    exact = (x_hat.double() * x_scale.double()) @ (w_hat.double() * w_scale.double()).T + linear.bias.double()  # type: ignore[union-attr]
    torch.testing.assert_close(out.flatten(0, 1).double(), exact, atol=1e-4, rtol=1e-5)

    rows, weight = x.flatten(0, 1).double(), linear.weight.detach().double()
    bound = 0.5 * (x_scale @ weight.abs().sum(1)[None].float() + rows.abs().sum(1)[:, None] @ w_scale.T.double())
    bound = bound + 0.25 * 300 * x_scale @ w_scale.T
    assert ((out.flatten(0, 1) - rows @ weight.T - linear.bias).abs() <= bound + 1e-4).all()


def test_rounded_rows() -> None:
    rounded, scale = round_rows(torch.tensor([[0.0, 0.0], [-2.0, 1.0], [1e-30, 5e-31]]))
    assert rounded.tolist()[:2] == [[0, 0], [-127, 64]]
    assert rounded[2].tolist() == [127, 64]
    assert scale.isfinite().all()
    assert rounded.dtype == torch.int8
