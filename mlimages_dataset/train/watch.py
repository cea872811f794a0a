"""What ranks tell each other of a step: losses that are not finite, a request to stop, the pace."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mlimages_dataset.train import distributed

if TYPE_CHECKING:
    from mlimages_dataset.train.checkpoint import RunProgress


@dataclass(frozen=True, slots=True)
class StepReport:
    """What some rank found in a step.

    Attributes:
        progress: after the step.
        loss: this rank's, on the device.
        images: this rank's.
        not_finite: some rank's loss is not finite.
        stop: some rank was asked to stop.
    """

    progress: RunProgress
    loss: Tensor
    images: tuple[str, ...]
    not_finite: bool = False
    stop: bool = False


class Watch:
    """Tells every rank alike what any of them found, a step later: so no GPU waits for its host."""

    def __init__(self, device: torch.device, progress: RunProgress) -> None:
        self._host = torch.zeros(2, pin_memory=device.type == "cuda")
        self._copied = torch.cuda.Event() if device.type == "cuda" else None
        self._noted: tuple[RunProgress, Tensor, tuple[str, ...]] = progress, torch.zeros((), device=device), ()

    def note(self, progress: RunProgress, loss: Tensor, images: tuple[str, ...], *, stop: bool) -> StepReport:
        """Begin to tell the others of a step, and return the report of the one before.

        Args:
            progress: after the step.
            loss: this rank's.
            images: this rank's.
            stop: this rank was asked to stop.
        """
        before = self.settle()
        found = torch.stack(((~torch.isfinite(loss)).float(), torch.full_like(loss, float(stop))))
        self._host.copy_(distributed.sum_over_ranks(found), non_blocking=True)
        if self._copied is not None:
            self._copied.record()
        self._noted = progress, loss, images
        return before

    def settle(self) -> StepReport:
        """Return the report of the step noted last, as soon as the device has come to it."""
        if self._copied is not None:
            self._copied.synchronize()
        not_finite, stop = self._host.tolist()
        return StepReport(*self._noted, not_finite=not_finite > 0, stop=stop > 0)


@dataclass(slots=True)
class Pace:
    """How fast it goes since the last line of the log.

    Attributes:
        loss: sum of this rank's losses, on the device.
        steps: taken.
        images: of all ranks.
        waited: seconds that this rank waited for data.
        since: when it began, in seconds of `time.perf_counter`.
    """

    loss: Tensor
    steps: int = 0
    images: int = 0
    waited: float = 0.0
    since: float = field(default_factory=time.perf_counter)

    def add(self, loss: Tensor, images: int, waited: float) -> None:
        """Count a step."""
        self.loss = self.loss + loss
        self.steps += 1
        self.images += images
        self.waited += waited

    def values(self) -> dict[str, float]:
        """Return the mean loss over steps and ranks, images per second of all ranks, and the share of time that the
        rank waited which waited longest. Every rank calls it.
        """  # noqa: D205 - three results in one sentence
        loss = distributed.sum_over_ranks(self.loss / self.steps).item() / distributed.n_ranks()
        seconds = time.perf_counter() - self.since
        waited = max(distributed.gathered(self.waited / seconds))
        return {"loss": loss, "images/s": self.images / seconds, "data wait": waited}
