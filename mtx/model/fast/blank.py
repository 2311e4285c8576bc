"""A Transformer without memory for its weights, for comparing with a weights file and then filling from it.

Slow twin: `build_transformer`, then `load_state_dict`. A hostile file is refused before memory is taken.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode


@contextmanager
def blank_weights() -> Iterator[None]:
    """Inside, models are built without numbers: they take no memory and draw nothing, whatever their size."""
    with torch.device("meta"), _NoNormalDraws():
        yield


def fill(model: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Copy `weights` into the parameters of a blank model; tied parameters stay tied."""
    filled = {blank: nn.Parameter(weights[name].to(blank.dtype, copy=True)) for name, blank in model.named_parameters()}
    for module in list(model.modules()):
        for name, parameter in list(module.named_parameters(recurse=False)):
            setattr(module, name, filled[parameter])


class _NoNormalDraws(TorchFunctionMode):
    """Skips normal draws, for which torch would spend a second on imports if there is no memory to fill."""

    def __torch_function__(self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        return kwargs["tensor"] if func is nn.init.normal_ else func(*args, **kwargs)
