"""A check that the fast twins still compute what `mtx/model` computes: both are tried on a small random model.

So whoever changes `mtx/model` need not change a twin: where one gives other numbers, the model runs as it is, slower.
"""

from collections.abc import Callable
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
NUM_TOKENS, NUM_STEPS = 60, 5  # Tokens of a sentence that is tried, and the first of them, which are also decoded


@cache
def twins_agree() -> bool:
    """Whether the twins give the numbers of the model, up to rounding. Tried once in a process; logs if they do not."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        try:
            model = build_transformer(SIZES, src_vocab_size=9, tgt_vocab_size=9, pad_id=0, is_joint=False).double()
            for weight in model.parameters():
                nn.init.normal_(weight, std=0.5)
            expected = _logits(model, lambda model: model)
            use_fastest_kernel(model)
            do_agree = torch.allclose(_logits(model, lambda model: FastDecoder(model, lambda linear: linear)), expected)
        except Exception:  # such as an attribute that a twin needs and that the changed model has no more
            do_agree = False
    if not do_agree:
        LOGGER.warning("mtx/model differs from its fast twins in mtx/model/fast: it runs without them, slower")
    return do_agree


def use_fastest_kernel(model: Transformer) -> None:
    """Let every attention of `model` compute equation 1 by the fastest kernel."""
    for module in model.modules():
        if isinstance(module, MultiHeadAttention):
            module.kernel = fastest_attention


def _logits(model: Transformer, as_decoder: Callable[[Transformer], Any]) -> Tensor:
    """The logits of two sentences in training, then step by step, with two hypotheses for each from the second on."""
    torch.default_generator.manual_seed(1)  # not that of a GPU, which would stay changed
    src_mask = torch.arange(NUM_TOKENS) < torch.tensor([[NUM_TOKENS], [NUM_TOKENS - 7]])
    src_ids, tgt_ids = torch.randint(1, 9, (2, 2, NUM_TOKENS))
    logits = [model.train()(src_ids, src_mask, tgt_ids).flatten(0, 1)]
    decoder = as_decoder(model.eval())
    state = decoder.start(src_ids, src_mask)
    for t in range(NUM_STEPS):
        logits_RV, state = decoder.step(tgt_ids[:, t].repeat_interleave(2 if t else 1), state)
        state = state.select(torch.tensor([0, 0, 3, 3] if t else [0, 0, 1, 1]), torch.arange(2))
        logits.append(logits_RV)
    return torch.cat(logits)
