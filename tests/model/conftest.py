"""Ours and torch's: which of our parameters is which of torch's, for every module that both have."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

from mtx.model import Transformer
from mtx.model.attention import MultiHeadAttention
from mtx.model.layers import DecoderLayer, EncoderLayer


@dataclass(frozen=True, slots=True)
class Twins:
    """One of our modules and torch's with the same weights."""

    ours: nn.Module
    theirs: nn.Module

    def assert_same_gradients(self, tolerance: float) -> None:
        """Every parameter has a gradient, the same in both."""
        for name, parameters in _torch_names(self.ours).items():
            gradient = torch.cat([parameter.grad for parameter in parameters if parameter.grad is not None])
            torch.testing.assert_close(
                gradient,
                self.theirs.get_parameter(name).grad,
                atol=tolerance,
                rtol=tolerance,
                msg=lambda text, name=name: f"{name}: {text}",
            )


@pytest.fixture(scope="session")
def twins() -> Callable[[nn.Module, nn.Module], Twins]:
    """Gives `theirs` random weights and the same to `ours`, after a check that none is left over on either side."""

    def twins(ours: nn.Module, theirs: nn.Module) -> Twins:
        names = _torch_names(ours)
        taken = [parameter for parameters in names.values() for parameter in parameters]
        embeddings = {module.weight for module in ours.modules() if isinstance(module, nn.Embedding)}
        assert {id(parameter) for parameter in ours.parameters()} - {id(weight) for weight in embeddings} == {
            id(parameter) for parameter in taken
        }
        assert len(taken) == len({id(parameter) for parameter in taken})
        with torch.no_grad():
            for parameter in taken:
                parameter.normal_(std=0.5)
        values = {name: torch.cat([parameter.detach() for parameter in names[name]]) for name in names}
        theirs.load_state_dict(values, strict=True)
        return Twins(ours, theirs)

    return twins


def _torch_names(ours: nn.Module) -> dict[str, list[nn.Parameter]]:
    """Torch's name of each parameter, and the parameters of `ours` that it stacks."""
    if isinstance(ours, MultiHeadAttention):
        stacked = (ours.q_proj, ours.k_proj, ours.v_proj)
        packed = {f"in_proj_{kind}": [getattr(linear, kind) for linear in stacked] for kind in ("weight", "bias")}
        return packed | _under("out_proj", ours.out_proj)
    if isinstance(ours, EncoderLayer):
        names: dict[str, nn.Module] = {
            "self_attn": ours.self_attention,
            "norm1": ours.self_residual.norm,
            "linear1": ours.feed_forward.inner,
            "linear2": ours.feed_forward.outer,
            "norm2": ours.ff_residual.norm,
        }
    elif isinstance(ours, DecoderLayer):
        names = {
            "self_attn": ours.self_attention,
            "norm1": ours.self_residual.norm,
            "multihead_attn": ours.cross_attention,
            "norm2": ours.cross_residual.norm,
            "linear1": ours.feed_forward.inner,
            "linear2": ours.feed_forward.outer,
            "norm3": ours.ff_residual.norm,
        }
    elif isinstance(ours, Transformer):
        names = {f"encoder.layers.{i}": layer for i, layer in enumerate(ours.encoder)}
        names |= {f"decoder.layers.{i}": layer for i, layer in enumerate(ours.decoder)}
        names |= {"encoder.norm": ours.encoder_norm, "decoder.norm": ours.decoder_norm}
    else:
        return {name: [parameter] for name, parameter in ours.named_parameters()}
    return {name: parameters for prefix, part in names.items() for name, parameters in _under(prefix, part).items()}


def _under(prefix: str, module: nn.Module) -> dict[str, list[nn.Parameter]]:
    return {f"{prefix}.{name}": parameters for name, parameters in _torch_names(module).items()}


@pytest.fixture(params=[(torch.float64, 1e-10), (torch.float32, 1e-5)], ids=["float64", "float32"])
def precision(request: pytest.FixtureRequest) -> tuple[torch.dtype, float]:
    """A type, and how close two ways to the same number must come in it."""
    return request.param  # type: ignore[no-any-return]


@pytest.fixture(scope="session")
def random_mask() -> Callable[..., Tensor]:
    """Draws a boolean mask of a shape, about half True, no row of it all False."""

    def random_mask(*shape: int) -> Tensor:
        mask = torch.rand(shape) < 0.5
        return mask.scatter(-1, torch.randint(shape[-1], (*shape[:-1], 1)), True)

    return random_mask
