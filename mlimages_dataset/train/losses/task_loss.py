"""The interface of losses for the training loop, for any task."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeAlias, TypeVar

from torch import Tensor, nn

PassLoss: TypeAlias = Callable[[Tensor, int], Tensor]
"""Returns the loss of a pass, a float32 scalar, from the network's outputs and the number of the pass, from 0."""
_Targets = TypeVar("_Targets", bound=tuple[object, ...])
"""The targets of a pass, which the loss takes besides the network's outputs."""


class TaskLoss(nn.Module, Generic[_Targets]):
    """A loss, called as loss(outputs, *targets)."""

    def of_passes(self, n_passes: int, targets: Callable[[int], _Targets]) -> PassLoss:
        """Return what computes the losses of a step's passes; called once a step, before the first forward pass.

        Args:
            n_passes: of this rank.
            targets: returns those of a pass, from its number.
        """
        del n_passes
        return lambda outputs, number: self(outputs, *targets(number))
