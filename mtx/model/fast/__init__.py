"""The numbers of `mtx.model`, sooner. Nothing here is needed to understand the model.

Two seams lead here: `for_training` replaces modules, `for_decoding` gives the search another `StepModel`. Each file
names its slow twin; `README.md` beside this file is the table of all, with gains. `agreement` compares them.

Letters of the shapes, in all files of this folder, in addition to those of `mtx.model`:

    W  hypotheses of a sentence          R  rows of a step, B * W
    U  heads of all sentences, B * H     G  heads of all rows, R * H
    I  inputs of a linear map            O  its outputs
    N  positions of the shared prefix    M  positions after it
    C  positions that a buffer has room for
    L  decoder layers                    2  keys, then values
"""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import torch
from torch import nn

from mtx.model.fast.agreement import twins_agree, use_fastest_kernel
from mtx.model.fast.attention import Convert
from mtx.model.fast.decoder import FastDecoder
from mtx.model.fast.dropout import Dropout
from mtx.model.fast.int8 import Int8Linear
from mtx.model.fast.linear import Linear, packed
from mtx.model.transformer import Transformer


def for_training(model: Transformer) -> Transformer:
    """Replace modules of `model` by faster ones with the same parameters; returns the model."""
    if twins_agree():
        use_fastest_kernel(model)
    _replace(model, {nn.Linear: Linear, nn.Dropout: lambda dropout: Dropout(dropout.p)})
    return model


def for_decoding(model: Transformer, dtype: torch.dtype) -> FastDecoder | Transformer:
    """A decoder that multiplies in `dtype`, in int8 only in linear maps. Unchanged weights are shared."""
    return FastDecoder(*_without_dropout(model, dtype)) if twins_agree() else for_scoring(model, dtype)


def for_scoring(model: Transformer, dtype: torch.dtype) -> Transformer:
    """A model for whole targets at once, without gradients, in the arithmetic of `for_decoding`."""
    copy, convert = _without_dropout(model, dtype)
    _replace(copy, {nn.Linear: convert, Linear: convert})
    return copy.eval()


def _without_dropout(model: Transformer, dtype: torch.dtype) -> tuple[Transformer, Convert]:
    """A copy of `model` in `dtype`, and the linear maps that it needs for it."""
    if dtype in (torch.bfloat16, torch.float16):
        copy = deepcopy(model).to(dtype)
    else:
        copy = deepcopy(model, {id(parameter): parameter for parameter in model.parameters()})
    _replace(copy, {nn.Dropout: nn.Identity, Dropout: nn.Identity})
    return copy, Int8Linear if dtype == torch.int8 else packed


def _replace(model: nn.Module, faster: dict[type[nn.Module], Callable[[Any], nn.Module]]) -> None:
    """Replace the parts of `model` whose class is in `faster`; subclasses may compute something else."""
    for parent in list(model.modules()):
        for name, module in list(parent.named_children()):
            if type(module) in faster:
                setattr(parent, name, faster[type(module)](module).train(module.training))
