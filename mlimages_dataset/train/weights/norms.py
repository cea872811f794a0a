"""Batch normalisation's epsilon moved into the running variance, without a change of what the network computes.

In evaluation a normalisation divides by sqrt(variance + epsilon), so a network with another epsilon computes the same
with the variance changed by the difference, as long as that stays positive.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from mlimages_dataset.core.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

VARIANCE = "running_var"


def folded(
    state: Mapping[str, Tensor], before: Mapping[str, float], after: Mapping[str, float], *, where: object
) -> dict[str, Tensor]:
    """Return a state that computes with other epsilons what `state` did.

    Args:
        state: tensors by name.
        before: epsilon of each batch normalisation by its name.
        after: the same for the result.
        where: of whom the state is, for the message.

    Raises:
        UsageError: a variance is smaller than what is to be taken off.
    """
    result = dict(state)
    for norm, epsilon in after.items():
        name = f"{norm}.{VARIANCE}"
        variance = state.get(name)
        if variance is None or epsilon == before[norm]:  # without running statistics the batch's are used
            continue
        moved = variance.double() + (before[norm] - epsilon)
        if bool((moved <= 0).any()):
            raise UsageError(
                f"batch normalisation adds {before[norm]:g} to the variance here and {epsilon:g} there, and "
                f"{name} is as small as {variance.min().item():.3g}: the difference cannot be moved into it",
                where=where,
                remedy="pass --keep-epsilon, and let the receiver set the epsilon that the description names",
            )
        result[name] = moved.to(torch.float32)
    return result


def common(
    state: Mapping[str, Tensor], epsilons: Mapping[str, float], *, where: object
) -> tuple[dict[str, Tensor], float | None]:
    """Return a state whose normalisations all have one epsilon, the smallest of them, and that; None without any.

    The smallest can always be reached: variances grow.
    """
    if not epsilons:
        return dict(state), None
    least = min(epsilons.values())
    return folded(state, epsilons, dict.fromkeys(epsilons, least), where=where), least
