"""Updates far out of the ordinary: a sign of bad pairs, or of a learning rate that is too high."""

import math
from dataclasses import dataclass, field
from typing import Any, Self

from torch import Tensor

Number = float | Tensor

MEMORY = 128
"""Updates that the ordinary is made of."""

SIGMAS = 6
"""So many deviations above the mean is a spike."""


@dataclass(slots=True)
class Level:
    """Mean and variance of a number: over all updates at first, then fading with those before the last `MEMORY`."""

    count: int = 0
    mean: float = 0.0
    variance: float = 0.0

    @property
    def highest(self) -> float:
        """What is above it is a spike; infinite until enough was seen."""
        if self.count < MEMORY:
            return math.inf
        # At least some hundredths: where a number hardly changes at all, its deviation means nothing.
        return self.mean + SIGMAS * max(math.sqrt(self.variance), self.mean / 100)

    def add(self, value: float) -> None:
        """Count `value` in; a spike only as `highest`, so that it hides no other, and a new level is soon ordinary."""
        difference = min(value, self.highest) - self.mean
        self.count += 1
        share = 1 / min(self.count, MEMORY)
        self.mean += share * difference
        self.variance = (1 - share) * (self.variance + share * difference**2)


@dataclass(slots=True)
class Ordinary:
    """What an update is expected to be like."""

    loss: Level = field(default_factory=Level)
    """Label-smoothed, per token."""
    grad_norm: Level = field(default_factory=Level)

    @classmethod
    def of(cls, numbers: dict[str, dict[str, Any]]) -> Self:
        """What `asdict` made `numbers` of; none at all make the beginning."""
        return cls(**{name: Level(**level) for name, level in numbers.items()})

    def is_spike(self, loss: Number, grad_norm: Number) -> Any:
        """Whether one of the two is far above what it was lately; on the device, if that is where they are."""
        return (loss > self.loss.highest) | (grad_norm > self.grad_norm.highest)

    def add(self, loss: float, grad_norm: float) -> None:
        """Count an update in."""
        self.loss.add(loss)
        self.grad_norm.add(grad_norm)

    def describe(self, loss: float, grad_norm: float) -> str:
        """One line for people."""
        told = (("loss", loss, self.loss), ("gradient", grad_norm, self.grad_norm))
        return ", ".join(f"{name} {value:.2f} (lately {level.mean:.2f})" for name, value, level in told)
