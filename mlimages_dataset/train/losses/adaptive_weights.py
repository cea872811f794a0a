"""The weight of a class in a batch, by how long it has had positives or none (Wu et al. 2019, section 4.1.1).

Legend: C classes, u the weights of the positive terms, v those of the negative terms, eta the cost of positives.
"""

from __future__ import annotations

import torch
from torch import Tensor

FLOOR = 0.01
"""The least adaptive weight (section 4.1.1)."""
RELEASED_FLOOR = 0.001
"""The least weight of a class without positives in the published code."""


def next_streak(streak: Tensor, positive: Tensor, counted: Tensor) -> Tensor:
    """Return each class's streak after one more batch, shape (C,).

    A streak of t batches with positives is +t, one of t batches without is -t; a change of status begins at 1.

    Args:
        streak: the streaks before, 0 before the first batch, integers, shape (C,).
        positive: classes with a positive in the batch, bool, shape (C,).
        counted: classes whose batch without positives counts, bool, shape (C,).
    """
    return torch.where(positive, streak.clamp(min=0) + 1, streak.clamp(max=0) - counted.to(streak.dtype))


def positive_coefficient(batches: Tensor) -> Tensor:
    """Return r^1 = max(0.01, log10(10 / (0.01 + t))) (section 4.1.1) after t batches."""
    return torch.log10(10 / (0.01 + batches)).clamp(min=FLOOR)


def negative_coefficient(batches: Tensor, floor: float = FLOOR) -> Tensor:
    """Return r^0 = log10(10 / (8 + t)) (section 4.1.1) after t batches, or the floor if it is at most 0.01."""
    coefficient = torch.log10(10 / (8 + batches))
    return torch.where(coefficient > FLOOR, coefficient, floor)


def paper_weights(streak: Tensor, positive: Tensor, selected: Tensor, positive_weight: float) -> tuple[Tensor, Tensor]:
    """Return u and v of eq. 1, each of shape (C,): u_j = eta * r^1 / C and v_j = r^0 / C.

    The weight depends on the entry's own label. Classes without positives have both if selected, else neither.
    """
    active = (positive | selected).to(torch.float32) / len(streak)
    batches = streak.abs()
    return active * positive_weight * positive_coefficient(batches), active * negative_coefficient(batches)


def released_weights(
    streak: Tensor, positive: Tensor, selected: Tensor, positive_weight: float
) -> tuple[Tensor, Tensor]:
    """Return u and v of the published code, each of shape (C,): u_j = eta * a_j and v_j = a_j.

    One coefficient a_j per class weighs both terms: r^1 if it has positives in the batch; r^0, with the floor 0.001, if
    it has none and is selected; 0 otherwise. There is no division by the number of classes.
    """
    batches = streak.abs()
    without_positives = selected * negative_coefficient(batches, RELEASED_FLOOR)
    coefficient = torch.where(positive, positive_coefficient(batches), without_positives)
    return positive_weight * coefficient, coefficient
