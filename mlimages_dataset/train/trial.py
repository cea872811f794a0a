"""A trial of a run's first steps, to see whether it learns; nothing is kept."""

from __future__ import annotations

import itertools
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from mlimages_dataset.core.errors import DataError
from mlimages_dataset.train import distributed
from mlimages_dataset.train.learner import set_training, take_step
from mlimages_dataset.train.learning import LEAST_JUDGED, LOOKS
from mlimages_dataset.train.loop import early_looks
from mlimages_dataset.train.schedule import learning_rate

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch import Tensor

    from mlimages_dataset.loaders.batch import ImageBatch
    from mlimages_dataset.train.config import Run
    from mlimages_dataset.train.learner import Learner
    from mlimages_dataset.train.learning import Figures, LearningFault
    from mlimages_dataset.train.loop import Feed

TRIAL_STEPS, TRIAL_SECONDS = 50, 120
"""Default number of steps, unless they take more than `TRIAL_SECONDS` at the speed of the first."""
TRIAL_BYTES = 4 << 30
"""A pass that needs more memory than this is tried only on request."""


@dataclass(frozen=True, slots=True)
class Trial:
    """What some steps showed.

    Attributes:
        wanted: steps to take, of those that the run has.
        steps: that were taken.
        seconds: of the first of them.
        looks: figures after some of them, ascending.
        found: that the run does not learn; None where nothing says so.
    """

    wanted: int
    steps: int
    seconds: float
    looks: tuple[Figures, ...]
    found: LearningFault | None

    def lines(self) -> list[str]:
        """Return the trial for people."""
        if self.steps == 0:
            return [f"no dry run: the run's {self.wanted} steps are too few to tell whether it learns"]
        if self.found is not None:
            return [f"warning: {self.found.sentence()}"]
        if not self.looks and self.steps == self.wanted:
            return [
                f"dry run: {self.steps} steps have finite losses; whether a run learns is judged for classifiers only"
            ]
        if not self.looks or self.looks[-1].step < LEAST_JUDGED:
            took = f"dry run: stopped after {self.steps} steps, the first of {self.seconds:.0f} s"
            return [f"{took}: give --dry-run-steps {TRIAL_STEPS} to see whether it learns"]
        first, last = self.looks[0], self.looks[-1]
        moved = f"logits moved by {last.moved:.2g} on average"
        ranked = f"labels outrank {last.rank:.0%} of the classes, at first {first.rank:.0%}"
        return [f"dry run: {self.steps} steps give no warning: {moved}, and {ranked}"]


def try_steps(run: Run, learner: Learner, feed: Feed, steps: int | None) -> Trial:
    """Return what the first steps of a run show; the learner is changed.

    Args:
        run: whose steps.
        learner: at the run's start.
        feed: of the run.
        steps: to take; None for `TRIAL_STEPS`, unless the first shows that they would take too long.

    Raises:
        DataError: a loss is not finite.
    """
    wanted = min(steps or TRIAL_STEPS, sum(map(feed.n_steps, range(run.epochs))))
    if wanted < LEAST_JUDGED:
        return Trial(wanted, 0, 0.0, (), None)
    early = early_looks(run, learner, feed, (*(step for step in LOOKS if step < wanted), wanted))
    began = time.perf_counter()
    seconds, found, losses = 0.0, None, []
    for taken, (batches, rate) in enumerate(itertools.islice(_first_steps(run, learner, feed), wanted), 1):
        early.before(batches)
        losses.append(take_step(learner, batches, rate, feed.finish))
        found = early.after(batches, losses[-1], rate)
        if taken == 1:
            seconds = max(distributed.gathered(time.perf_counter() - began))
        if found is not None or (steps is None and seconds * wanted > TRIAL_SECONDS):
            break
    _refuse_not_finite(losses)
    return Trial(wanted, taken, seconds, tuple(early.looks), found)


def _refuse_not_finite(losses: Sequence[Tensor]) -> None:
    """Raise `DataError`, on every rank alike, where a loss is not finite."""
    infinite = (~torch.isfinite(torch.stack(tuple(losses)))).double()
    steps = distributed.sum_over_ranks(infinite).nonzero().flatten().tolist()
    if steps:
        raise DataError(
            f"the loss of step {steps[0] + 1} of the dry run is not finite",
            remedy="look at its images or lower schedule.learning_rate",
        )


def _first_steps(run: Run, learner: Learner, feed: Feed) -> Iterator[tuple[Sequence[ImageBatch], float]]:
    """Yield each step's batches and its learning rate, from the first to the run's last."""
    learner.loss.train()
    for epoch in range(run.epochs):
        set_training(learner.network, frozen_statistics=run.model.frozen_statistics)
        n_steps = feed.n_steps(epoch)
        for step, batches in enumerate(feed.steps(epoch, 0)):
            yield batches, learning_rate(run, epoch, step, n_steps)
