"""A Transformer without memory for its weights, for comparing with a weights file and then filling from it.

Slow twin: `build_transformer`, then `load_state_dict`. Test: tests/model/fast/test_blank.py.
Gain: loading draws no weights and holds them in memory once; and a hostile file is refused before memory is taken.
"""

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
    """A Transformer with names and shapes but no numbers: it takes no memory and draws nothing, whatever its size."""
    with torch.device("meta"), _NoNormalDraws():
        return build_transformer(
            settings, src_vocab_size=src_vocab_size, tgt_vocab_size=tgt_vocab_size, pad_id=pad_id, is_joint=is_joint
        )


def fill(model: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Copy `weights` into the parameters of a blank model; tied parameters stay tied."""
    filled = {
        parameter: nn.Parameter(weights[name].to(parameter.dtype, copy=True))
        for name, parameter in model.named_parameters()
    }
    for module in list(model.modules()):
        for name, parameter in list(module.named_parameters(recurse=False)):
            setattr(module, name, filled[parameter])


class _NoNormalDraws(TorchFunctionMode):
    """Skips normal draws, for which torch would spend a second on imports if there is no memory to fill."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        given = kwargs or {}
        return given["tensor"] if func is nn.init.normal_ else func(*args, **given)
