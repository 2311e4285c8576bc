"""Spikes: steps whose loss or gradient is far above the last ones, after bad pairs or with too high a learning rate."""

import math
from dataclasses import dataclass, field
from typing import Any, Self

MEMORY = 128  # Steps that the running statistics cover: enough for a deviation, few enough to follow the training
SIGMAS = 6  # Standard deviations above the mean from which on a value is a spike


@dataclass(slots=True)
class RunningStats:
    """Mean and variance of a number: over all steps at first, later with a weight that fades over `MEMORY` steps."""

    count: int = 0
    mean: float = 0.0
    variance: float = 0.0

    @property
    def threshold(self) -> float:
        """Highest value that is no spike; infinite until `MEMORY` values have come."""
        if self.count < MEMORY:
            return math.inf
        # A value that hardly varies has a tiny deviation: 1 % of the mean is the least that counts.
        return self.mean + SIGMAS * max(math.sqrt(self.variance), self.mean / 100)

    def add(self, value: float) -> None:
        """Update mean and variance.

        A spike counts as the threshold, so that it can't mask the next one. A lasting change of level is still
        learned within some steps.
        """
        difference = min(value, self.threshold) - self.mean
        self.count += 1
        share = 1 / min(self.count, MEMORY)
        self.mean += share * difference
        self.variance = (1 - share) * (self.variance + share * difference**2)


@dataclass(slots=True)
class SpikeDetector:
    """Running statistics of loss and gradient."""

    loss: RunningStats = field(default_factory=RunningStats)  # Training loss per target token, in nats
    grad_norm: RunningStats = field(default_factory=RunningStats)

    @classmethod
    def restore(cls, saved: dict[str, dict[str, Any]]) -> Self:
        """Restore a detector from its `asdict`; an empty one gives a new detector."""
        return cls(**{name: RunningStats(**stats) for name, stats in saved.items()})

    def is_spike(self, loss: float, grad_norm: float) -> bool:
        """Whether one of the two is above its threshold."""
        return loss > self.loss.threshold or grad_norm > self.grad_norm.threshold

    def add(self, loss: float, grad_norm: float) -> None:
        """Update the statistics with the values of a step."""
        self.loss.add(loss)
        self.grad_norm.add(grad_norm)

    def format(self, loss: float, grad_norm: float) -> str:
        """Format the values of a step beside their means."""
        values = (("loss", loss, self.loss), ("gradient", grad_norm, self.grad_norm))
        return ", ".join(f"{name} {value:.2f} (lately {stats.mean:.2f})" for name, value, stats in values)
