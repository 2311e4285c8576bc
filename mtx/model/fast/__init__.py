"""The numbers of `mtx.model`, sooner. Nothing here is needed to understand the model.

Two seams lead here: `for_training` replaces modules, `for_decoding` gives the search another `StepModel`. Each file
names its slow twin, its test and its gain; `README.md` beside this file is the table of all.

Letters of shapes in addition to those of `mtx.model`:

    W  hypotheses of a sentence          R  rows of a step, B * W
    U  heads of all sentences, B * H     G  heads of all rows, R * H
    I  inputs of a linear map            O  its outputs
    N  positions of the shared prefix    M  positions after it
    C  positions that a buffer has room for
"""

from copy import deepcopy

import torch
from torch import nn

from mtx.model.attention import MultiHeadAttention
from mtx.model.fast.attention import fastest_attention
from mtx.model.fast.decoder import FastDecoder
from mtx.model.fast.dropout import Dropout
from mtx.model.fast.int8 import Int8Linear
from mtx.model.fast.linear import Linear, packed
from mtx.model.transformer import Transformer


def for_training(model: Transformer) -> Transformer:
    """Replace modules of `model` by faster ones with the same parameters; returns the model."""
    for parent in list(model.modules()):
        if isinstance(parent, MultiHeadAttention):
            parent.kernel = fastest_attention
        for name, module in list(parent.named_children()):
            if isinstance(module, nn.Linear):
                setattr(parent, name, Linear(module).train(module.training))
            elif isinstance(module, nn.Dropout):
                setattr(parent, name, Dropout(module.p).train(module.training))
    return model


def for_decoding(model: Transformer, dtype: torch.dtype) -> FastDecoder:
    """A decoder that multiplies in `dtype`: bf16 and fp16 everywhere, int8 in linear maps only.

    float32 changes no weight. Weights that keep their form are shared with `model`, not copied.
    """
    if dtype in (torch.bfloat16, torch.float16):
        copy = deepcopy(model).to(dtype)
    else:
        copy = deepcopy(model, {id(parameter): parameter for parameter in model.parameters()})
    return FastDecoder(copy, Int8Linear if dtype == torch.int8 else packed)
