"""The loss in plain numpy in float64, written from its equations (docs/losses.md); every class is selected.

Legend: B images, C classes, x logits, y targets, k known, all of shape (B, C).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Mask = NDArray[np.bool_]

ETA, THRESHOLD = 12, 0.7


@dataclass(slots=True)
class Paper:
    """Equations 1 and 2 without down-sampling; `t` is each class's batches since its status changed."""

    t: Floats
    status: Mask

    @classmethod
    def of(cls, n_classes: int) -> Paper:
        """Return the oracle before the first batch."""
        return cls(np.zeros(n_classes), np.zeros(n_classes, bool))

    def batch(self, x: Floats, y: Floats, k: Mask) -> tuple[float, Floats]:
        """Return the loss of the next batch and its gradient, shape (B, C)."""
        now = ((y >= THRESHOLD) & k).any(0)
        self.t = np.where((now == self.status) & (self.t > 0), self.t + 1, 1)
        self.status = np.asarray(now)
        r1, r0 = np.maximum(np.log10(10 / (0.01 + self.t)), 0.01), np.maximum(np.log10(10 / (8 + self.t)), 0.01)
        positive, negative, p = np.logaddexp(0, -x), np.logaddexp(0, x), 1 / (1 + np.exp(-x))
        entries = k * (r1 * ETA * y * positive + r0 * (1 - y) * negative) / x.shape[1]
        gradient = k * (r1 * ETA * y * (p - 1) + r0 * (1 - y) * p) / x.shape[1]
        return float(entries.sum(1).mean()), gradient / len(x)


@dataclass(slots=True)
class Released:
    """The published code in words: consecutive batches with and without positives, of each class."""

    with_positives: Floats
    without: Floats

    @classmethod
    def of(cls, n_classes: int) -> Released:
        """Return the oracle before the first batch."""
        return cls(np.zeros(n_classes), np.zeros(n_classes))

    def batch(self, x: Floats, y: Floats, k: Mask) -> tuple[float, Floats]:
        """Return the loss of the next batch and its gradient, shape (B, C)."""
        now = ((y >= THRESHOLD) & k).any(0)
        self.with_positives = np.where(now, self.with_positives + 1, 0)
        self.without = np.where(now, 0, self.without + 1)
        of_positive = np.maximum(np.log10(10 / (0.01 + self.with_positives)), 0.01)
        of_negative = np.log10(10 / (8 + self.without))
        coefficient = np.where(now, of_positive, np.where(of_negative > 0.01, of_negative, 0.001))
        entries = (1 - y) * x + (1 + (ETA - 1) * y) * np.logaddexp(0, -x)
        slopes = (1 - y) - (1 + (ETA - 1) * y) * (1 - 1 / (1 + np.exp(-x)))
        return float((coefficient * (k * entries).mean(0)).sum()), coefficient * k * slopes / len(x)
