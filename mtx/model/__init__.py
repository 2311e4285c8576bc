"""The Transformer of "Attention Is All You Need" (Vaswani et al. 2017), written out part by part.

Pure torch: nothing in here knows a token's spelling, a loss or a search. `README.md` beside this file walks
through the parts in the paper's order. Every tensor's axes are named by these letters, in `Shapes:` blocks and
as suffixes of names (`q_BHQP`):

    B  sentences in the batch            D  width of the residual stream, d_model
    S  source positions                  H  attention heads
    T  target positions                  P  width of a head, D = H * P
    V  vocabulary                        F  inner width of the feed-forward sub-layer, d_ff
    W  hypotheses of a sentence          Q, K  positions that look, positions looked at (attention only)
    R  rows fed to the decoder, B * W    X  any length, in a helper that does not care
    U  heads of all sentences, B * H     G  heads of all rows, R * H

Layout is batch first, heads before positions. Masks are boolean, True = real token = may be attended to.
"""

from mtx.model.state import DecoderState
from mtx.model.transformer import Transformer, build_transformer

__all__ = ["DecoderState", "Transformer", "build_transformer"]
