"""Changes batch normalisation's epsilon, and the running variance with it, so that the network's output stays the same.

In evaluation a normalisation divides by sqrt(variance + epsilon), so with another epsilon the output stays the same if
the difference is added to the variance, as long as that stays positive.
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
    """Return a state that with other epsilons gives the same output as `state`.

    Args:
        state: tensors by name.
        before: epsilon of each batch normalisation by its name.
        after: the same for the result.
        where: the file of the state, for the message.

    Raises:
        UsageError: a variance is smaller than the difference to subtract.
    """
    result = dict(state)
    for norm, epsilon in after.items():
        name = f"{norm}.{VARIANCE}"
        variance = state.get(name)
        if variance is None or epsilon == before[norm]:  # without running statistics, those of the batch are used
            continue
        moved = variance.double() + (before[norm] - epsilon)
        if bool((moved <= 0).any()):
            raise UsageError(
                f"batch normalisation adds {before[norm]:g} to the variance here and {epsilon:g} there, and "
                f"{name} is as small as {variance.min().item():.3g}: the difference cannot be subtracted from it",
                where=where,
                remedy="pass --keep-epsilon, and set the epsilon of the description where the file is used",
            )
        result[name] = moved.to(torch.float32)
    return result


def common(
    state: Mapping[str, Tensor], epsilons: Mapping[str, float], *, where: object
) -> tuple[dict[str, Tensor], float | None]:
    """Return a state whose normalisations all have one epsilon, the smallest of them, and that; None without any.

    The smallest is always possible, because the variances grow.
    """
    if not epsilons:
        return dict(state), None
    least = min(epsilons.values())
    return folded(state, epsilons, dict.fromkeys(epsilons, least), where=where), least
