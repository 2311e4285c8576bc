"""The Transformer of "Attention Is All You Need" (Vaswani et al. 2017), written out part by part.

`attention`, `layers`, `cache` and `transformer` are the paper in plain torch; `README.md` beside this file walks
through them in the paper's order. `fast/` computes the same numbers sooner and is not needed to understand a model.

Names of tensors end in their axes, as `q_BHQP` does:

    B  sentences in the batch            D  width of the residual stream, d_model
    S  source positions                  H  attention heads
    T  target positions                  P  width of one head; D = H * P
    V  vocabulary                        F  inner width of the feed-forward sub-layer, d_ff
    Q  positions that attend             K  positions attended to

Masks are boolean: True marks a position that may be attended to.
"""

from mtx.model.cache import DecoderState
from mtx.model.transformer import Transformer, build_transformer

__all__ = ["DecoderState", "Transformer", "build_transformer"]
