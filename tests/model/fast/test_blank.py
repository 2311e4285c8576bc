"""A blank model has the names and shapes of a built one, no numbers, and becomes it when it is filled."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from mtx.config.settings import ModelSettings
from mtx.model import Transformer, build_transformer
from mtx.model.fast.blank import blank_weights, fill

SIZES = ModelSettings(d_model=16, num_heads=4, d_ff=24, encoder_layers=2, decoder_layers=1)


def build(*, is_joint: bool, norm: str = "pre") -> Transformer:
    sizes = SIZES.model_copy(update={"norm": norm})
    return build_transformer(sizes, src_vocab_size=23, tgt_vocab_size=23, pad_id=0, is_joint=is_joint).eval()


@pytest.mark.parametrize("is_joint", [True, False])
@pytest.mark.parametrize("norm", ["pre", "post"])
def test_filled_it_is_the_model_that_was_built(is_joint: bool, norm: str, make_batch: Callable[..., Any]) -> None:
    built = build(is_joint=is_joint, norm=norm)
    with blank_weights():
        blank = build(is_joint=is_joint, norm=norm)
    shapes = [(name, parameter.shape) for name, parameter in built.named_parameters()]
    assert [(name, parameter.shape) for name, parameter in blank.named_parameters()] == shapes
    weights = {name: parameter.detach() for name, parameter in built.named_parameters()}
    fill(blank, weights)
    assert blank(*make_batch()).equal(built(*make_batch()))
    assert blank.output.weight is blank.tgt_input.embedding.weight
    assert (blank.src_input.embedding.weight is blank.output.weight) == is_joint
    with torch.no_grad():
        weights["tgt_input.embedding.weight" if not is_joint else "src_input.embedding.weight"].zero_()
    assert bool(blank.output.weight.any())  # in memory of its own, not in that of a file


def test_it_takes_no_memory_and_draws_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    before = torch.get_rng_state()
    # Torch answers a normal draw without numbers by importing a compiler, which takes a second.
    monkeypatch.setattr("torch.nn.init._no_grad_normal_", lambda *_: pytest.fail("drew"))
    large = ModelSettings(d_model=16384, num_heads=4, d_ff=262_144, encoder_layers=200, decoder_layers=1)
    with blank_weights():
        blank = build_transformer(large, src_vocab_size=10**6, tgt_vocab_size=10**6, pad_id=0, is_joint=True)
    assert sum(parameter.numel() for parameter in blank.parameters()) > 10**12
    assert {parameter.device.type for parameter in blank.parameters()} == {"meta"}
    assert torch.get_rng_state().equal(before)
