"""Layers that torch compiles before they are trained. Slow twin: the layers as they are."""

import os
import shutil

import torch

from mtx.model.transformer import Transformer


def compile_layers(model: Transformer, backend: str = "inductor") -> None:
    """Let torch compile each layer of `model` at first use, within seconds, for batches of any size.

    Names of weights stay the same, and copies of the model are not compiled.
    """
    for layer in [*model.encoder, *model.decoder]:
        layer.compile(backend=backend, dynamic=True, fullgraph=True)


def is_compiled(model: Transformer) -> bool:
    """Whether `compile_layers` was called on `model`."""
    return model.encoder[0]._compiled_call_impl is not None


def has_compiler(device: torch.device) -> bool:
    """Whether the compiler that torch needs is installed: Triton for a GPU, a C++ compiler for a CPU."""
    if device.type == "cuda":
        from torch.utils._triton import has_triton

        return bool(has_triton())
    return any(shutil.which(name) for name in (os.environ.get("CXX"), "g++", "clang++") if name)
