"""Dropout with masks that are cheap on a CPU. Slow twin: `torch.nn.Dropout`."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Dropout(nn.Dropout):
    """Zeroes each number with probability `p` while training and scales the others by 1 / (1 - p).

    torch draws a CPU mask number by number from one serial generator, a fifth of a small model's training step. Here
    one draw of 64 bits makes eight decisions. On a CPU `p` is therefore rounded to a multiple of 1/256, but not to 0 or
    1, and the scale is that of the rounded `p`, so that expectations stay exact.
    """

    def __init__(self, p: float) -> None:
        super().__init__(p)
        self.threshold = min(max(1, round(256 * p)), 255) if p else 0

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or not self.threshold:
            return x
        if x.device.type != "cpu" or torch.compiler.is_compiling():  # a compiler fuses the draw with its neighbours
            return F.dropout(x, self.p)
        draws = torch.empty((x.numel() + 7) // 8, dtype=torch.int64).random_(-(2**63), None)
        is_kept = draws.view(torch.uint8)[: x.numel()] >= self.threshold
        return x * is_kept.view(x.shape).to(x.dtype).mul_(256 / (256 - self.threshold))
