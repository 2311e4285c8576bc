"""Compiled layers compute what they compute as they are, for batches of all sizes."""

from collections.abc import Callable
from copy import deepcopy

import pytest
import torch
from torch import Tensor

from mtx.model import Transformer
from mtx.model.fast import for_training
from mtx.model.fast.compile import compile_layers, has_compiler

# torch's tracing warns of what it does itself.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning", "ignore::FutureWarning")

SIZES = [(6, 7, 3), (9, 5, 4), (3, 12, 2), (20, 17, 5), (8, 8, 8)]


def loss_and_gradients(model: Transformer, batch: tuple[Tensor, ...]) -> tuple[Tensor, dict[str, Tensor]]:
    """The sum of the logits' squares, and its gradients by name."""
    loss = model(*batch).square().sum()
    names, parameters = zip(*model.named_parameters(), strict=True)
    return loss, dict(zip(names, torch.autograd.grad(loss, parameters), strict=True))


@pytest.mark.slow
def test_every_layer_is_one_graph_for_all_sizes(
    make_model: Callable[..., Transformer],
    make_batch: Callable[..., tuple[Tensor, Tensor, Tensor]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Traced as for a compiler, then run as it is; a graph that breaks, or is made anew for a new size, is an error."""
    torch._dynamo.reset()
    model = for_training(make_model(1, dtype=torch.float32))
    monkeypatch.setattr("mtx.model.fast.attention.FUSED_FROM_KEYS", 0)  # torch's kernel, as on a GPU
    compiled = deepcopy(model)
    compile_layers(compiled, backend="aot_eager")

    def assert_equal(seed: int) -> None:
        batch = make_batch(seed, sizes=SIZES[seed])
        loss, gradients = loss_and_gradients(compiled, batch)
        expected_loss, expected = loss_and_gradients(model, batch)
        torch.testing.assert_close(loss, expected_loss, rtol=1e-4, atol=1e-4)
        for name, gradient in gradients.items():
            torch.testing.assert_close(gradient, expected[name], rtol=1e-4, atol=1e-4, msg=name)

    assert_equal(0)
    with torch._dynamo.config.patch(error_on_recompile=True):
        for seed in range(1, len(SIZES)):
            assert_equal(seed)
    dropping = for_training(make_model(1, dtype=torch.float32, dropout=0.5)).train()
    compile_layers(dropping, backend="aot_eager")
    assert not torch.equal(*(dropping(*make_batch(0)) for _ in range(2)))
    assert all(layer._compiled_call_impl is None for layer in deepcopy(compiled).modules()), "for_decoding copies"
    assert compiled.state_dict().keys() == model.state_dict().keys()


@pytest.mark.process
@pytest.mark.slow
@pytest.mark.skipif(not has_compiler(torch.device("cpu")), reason="no C++ compiler")
def test_compiled_for_this_machine(
    make_model: Callable[..., Transformer], make_batch: Callable[..., tuple[Tensor, Tensor, Tensor]]
) -> None:
    torch._dynamo.reset()
    model = for_training(make_model(2, dtype=torch.float32))
    compiled = deepcopy(model)
    compile_layers(compiled)
    for seed, sizes in enumerate(SIZES[:3]):
        batch = make_batch(seed, sizes=sizes)
        torch.testing.assert_close(compiled(*batch), model(*batch), rtol=1e-4, atol=1e-4)
