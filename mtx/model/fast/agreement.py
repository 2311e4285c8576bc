"""A check that the fast twins still compute what `mtx/model` computes. Both run on a small random model.

You can change `mtx/model` without changing a twin: if their numbers differ, the model runs as it is, only slower.
With MTX_FAST=0 in the environment it always does, so that breakpoints in `mtx/model` are reached.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from mtx.config.settings import ModelSettings
from mtx.model.attention import MultiHeadAttention
from mtx.model.fast.attention import fastest_attention
from mtx.model.fast.decoder import FastDecoder
from mtx.model.transformer import Transformer, build_transformer
from mtx.system.logs import LOGGER

SIZES = ModelSettings(d_model=8, num_heads=2, d_ff=12, encoder_layers=1, decoder_layers=1, attention_dropout=0.2)
NUM_IDS = 9  # Size of the vocabulary
NUM_TOKENS = 140  # Length of the longer test sentence: enough to reach the kernel for long input
NUM_STEPS = 5  # Tokens that are also decoded step by step, from the first


def are_twins_wanted() -> bool:
    """Whether to use the twins at all: with MTX_FAST=0 in the environment, the model runs as it reads."""
    return os.environ.get("MTX_FAST") != "0"


@contextmanager
def random_model() -> Iterator[Transformer]:
    """A small model for comparing twins. Drawing random numbers inside does not change those drawn afterwards."""
    with torch.random.fork_rng(devices=[]):
        model = build_transformer(SIZES, src_vocab_size=NUM_IDS, tgt_vocab_size=NUM_IDS, pad_id=0, is_joint=False)
        for weight in model.double().parameters():
            nn.init.normal_(weight, std=0.5)
        yield model


@cache
def twins_agree() -> bool:
    """Whether the twins give the model's numbers, up to rounding. Checked once per process; a mismatch is logged."""
    if not are_twins_wanted():
        return False
    try:
        with random_model() as model, torch.no_grad():
            forward, steps, whole = _logits(model, lambda model: model)
            if not torch.allclose(steps, whole):
                LOGGER.warning("decoding step by step differs from Transformer.forward: check DecoderLayer.step")
            use_fastest_kernel(model)
            fast_forward, fast_steps, _ = _logits(model, lambda model: FastDecoder(model, lambda linear: linear))
            do_agree = torch.allclose(fast_forward, forward) and torch.allclose(fast_steps, steps)
    except Exception:  # such as a missing attribute: the changed model may lack what a twin needs
        do_agree = False
    if not do_agree:
        LOGGER.warning(
            "mtx/model differs from its fast twins in mtx/model/fast: it runs without them, slower; "
            "models trained before the change may translate differently"
        )
    return do_agree


def use_fastest_kernel(model: Transformer) -> None:
    """Let every attention of `model` compute equation 1 by the fastest kernel."""
    for module in model.modules():
        if isinstance(module, MultiHeadAttention):
            module.kernel = fastest_attention


def _logits(model: Transformer, as_decoder: Callable[[Transformer], Any]) -> tuple[Tensor, Tensor, Tensor]:
    """Logits of two sentences in three ways: `forward` in training, `step` by step, and `forward` without dropout.

    The last covers the same positions as the steps. From the second step on, each sentence has two equal hypotheses.
    Shapes: (2, NUM_TOKENS, V), (2, NUM_STEPS, V), (2, NUM_STEPS, V).
    """
    torch.default_generator.manual_seed(1)  # not that of a GPU, which would stay changed
    src_mask = torch.arange(NUM_TOKENS) < torch.tensor([[NUM_TOKENS], [NUM_TOKENS - 7]])
    src_ids, tgt_ids = torch.randint(1, NUM_IDS, (2, 2, NUM_TOKENS))
    forward = model.train()(src_ids, src_mask, tgt_ids)
    whole = model.eval()(src_ids, src_mask, tgt_ids[:, :NUM_STEPS])
    decoder = as_decoder(model)
    state, steps = decoder.start(src_ids, src_mask), []
    for t in range(NUM_STEPS):
        logits_RV, state = decoder.step(tgt_ids[:, t].repeat_interleave(2 if t else 1), state)
        state = state.select(torch.tensor([0, 0, 3, 3] if t else [0, 0, 1, 1]), torch.arange(2))
        steps.append(logits_RV[[0, -1]])
    return forward, torch.stack(steps, dim=1), whole
