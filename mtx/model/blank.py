"""A Transformer of names and shapes alone, to be compared with a file of weights and then filled from it."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from mtx.config.settings import ModelSettings
from mtx.model.transformer import Transformer, build_transformer


def blank_transformer(
    settings: ModelSettings, *, src_vocab_size: int, tgt_vocab_size: int, pad_id: int, is_joint: bool
) -> Transformer:
    """What `build_transformer` makes, but for the numbers: however large, it takes no memory and draws nothing."""
    with torch.device("meta"), _NothingDrawn():
        return build_transformer(
            settings, src_vocab_size=src_vocab_size, tgt_vocab_size=tgt_vocab_size, pad_id=pad_id, is_joint=is_joint
        )


def fill(model: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Give each parameter of a blank `model` its numbers, in memory of its own; what is tied stays tied."""
    filled = {
        parameter: nn.Parameter(weights[name].to(parameter.dtype, copy=True))
        for name, parameter in model.named_parameters()
    }
    for module in list(model.modules()):
        for name, parameter in list(module.named_parameters(recurse=False)):
            setattr(module, name, filled[parameter])


class _NothingDrawn(TorchFunctionMode):
    """Leaves out what a blank model has no use for, and torch would import half of itself for: a second."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        given = kwargs or {}
        return given["tensor"] if func is nn.init.normal_ else func(*args, **given)
