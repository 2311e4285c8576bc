"""Label-smoothed cross-entropy, summed over real tokens.

The letters of the shapes are explained in `mtx.model`; N is the number of real target tokens.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def token_loss_sum(logits_NV: Tensor, tgt_N: Tensor, label_smoothing: float) -> Tensor:
    """Sum over tokens of the cross-entropy against (1 - ε) · one-hot + ε / V (Szegedy et al. 2016, section 7).

    torch's formula: the mass ε is spread over all V tokens, the right one among them. The written-out form, and the
    one that the tests hold `projected_loss_sum` against.
    """
    dtype = torch.promote_types(logits_NV.dtype, torch.float32)
    return F.cross_entropy(logits_NV.to(dtype), tgt_N, reduction="sum", label_smoothing=label_smoothing)
