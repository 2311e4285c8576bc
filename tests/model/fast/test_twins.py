"""Every part of a model gives the same numbers after its modules were replaced by faster ones."""

from collections.abc import Callable
from copy import deepcopy
from typing import Literal

import pytest
import torch
from torch import Tensor, nn

from mtx.model import Transformer
from mtx.model.fast import FastDecoder, for_decoding, for_training
from mtx.model.fast.dropout import Dropout
from mtx.model.fast.linear import Linear

MakeModel = Callable[..., Transformer]
MakeBatch = Callable[..., tuple[Tensor, Tensor, Tensor]]
Norm = Literal["pre", "post"]


def inputs_and_outputs(model: Transformer, batch: tuple[Tensor, ...]) -> dict[str, tuple[tuple[Tensor, ...], Tensor]]:
    """Run one pass; return inputs and output of every module that takes and returns tensors, by name."""
    seen = {}
    for name, module in model.named_modules():

        def note(module: nn.Module, given: tuple[object, ...], out: Tensor, name: str = name) -> None:
            if all(x is None or isinstance(x, Tensor) for x in given):
                seen[name] = given, out

        module.register_forward_hook(note)
    model(*batch)
    return seen  # type: ignore[return-value]


@pytest.mark.parametrize("norm", ["pre", "post"])
def test_every_module_in_training(
    norm: Norm, precision: tuple[torch.dtype, float], make_model: MakeModel, make_batch: MakeBatch
) -> None:
    """Dropout is off: masks are drawn in another way."""
    dtype, tolerance = precision
    slow = make_model(1, dtype=dtype, norm=norm, dropout=0.1, attention_dropout=0.1).eval()
    fast = dict(for_training(deepcopy(slow)).named_modules())
    seen = inputs_and_outputs(slow, make_batch(1))
    assert {"", "src_input", "encoder.1", "decoder.0.cross_attention", "decoder.1.feed_forward.inner"} <= seen.keys()
    for name, (given, expected) in seen.items():
        torch.testing.assert_close(fast[name](*given), expected, atol=tolerance, rtol=tolerance, msg=name)


def test_training_keeps_names_and_ties(make_model: MakeModel) -> None:
    slow = make_model(1, dropout=0.1)
    fast = for_training(deepcopy(slow))
    assert [name for name, _ in fast.named_parameters()] == [name for name, _ in slow.named_parameters()]
    assert fast.state_dict().keys() == slow.state_dict().keys()
    assert fast.output.weight is fast.tgt_input.embedding.weight
    assert {type(m) for m in fast.modules() if isinstance(m, nn.Linear)} == {Linear}
    assert {type(m) for m in fast.modules() if isinstance(m, nn.Dropout)} == {Dropout}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_gradients_in_training(dtype: torch.dtype, make_model: MakeModel, make_batch: MakeBatch) -> None:
    slow = make_model(2, dtype=dtype)
    fast = for_training(deepcopy(slow))
    gradients = []
    for model in (slow, fast):
        loss = model(*make_batch(2)).logsumexp(-1).sum()
        gradients.append(torch.autograd.grad(loss, list(model.parameters())))
    tolerance = 1e-10 if dtype == torch.float64 else 1e-3
    torch.testing.assert_close(*gradients, atol=tolerance, rtol=tolerance)


def steps(model: FastDecoder, src_ids: Tensor, src_mask: Tensor, tgt_in: Tensor) -> Tensor:
    """The logits of every step, all targets given. Shapes: return (B, T, V)."""
    state, logits = model.start(src_ids, src_mask), []
    for prev_ids in tgt_in.unbind(dim=1):
        now, state = model.step(prev_ids, state)
        logits.append(now.float())
    return torch.stack(logits, dim=1)


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 0.05), (torch.int8, 0.07)], ids=str
)
@pytest.mark.parametrize("is_joint", [True, False])
@pytest.mark.parametrize("is_for_training", [True, False])
def test_logits_in_decoding(
    dtype: torch.dtype,
    tolerance: float,
    is_joint: bool,
    is_for_training: bool,
    make_model: MakeModel,
    make_batch: MakeBatch,
) -> None:
    """The tolerance is a share of the logits' own deviation; the model itself stays as it was."""
    model = make_model(3, dtype=torch.float32, is_joint=is_joint, d_model=64, d_ff=128).eval()
    batch = make_batch(3)
    before = {name: weight.clone() for name, weight in model.named_parameters()}
    with torch.inference_mode():
        expected = model(*batch)
        if is_for_training:
            model = for_training(model)
        found = steps(for_decoding(model, dtype), *batch)
        error = (found - expected).square().mean().sqrt() / expected.std()
        assert error < tolerance
        if dtype != torch.float32:
            assert error > 1e-5, "it is another precision"
        torch.testing.assert_close(model(*batch), expected, atol=1e-5, rtol=1e-5)
    assert all(torch.equal(weight, before[name]) for name, weight in model.named_parameters())
