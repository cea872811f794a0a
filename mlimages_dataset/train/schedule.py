"""The learning rate as a pure function of the run, the epoch and the step.

Wu et al. 2019, section 4.1.3: the rate scales with the batch (0.01 at 512 images, 0.08 at 4,096), grows by 1.297 per
epoch from 0.01 in 8 warm-up epochs, and falls by 0.1 every 25 epochs, counted from the first.
"""

from __future__ import annotations

import bisect
import math
from typing import TYPE_CHECKING

from mlimages_dataset.train.config import Decay

if TYPE_CHECKING:
    from mlimages_dataset.train.config import Run, Schedule


def learning_rate(run: Run, epoch: int, step: int = 0, steps: int = 1) -> float:
    """Return the learning rate of a step.

    Args:
        run: the run.
        epoch: from 0.
        step: step within the epoch, from 0.
        steps: number of steps of the epoch.
    """
    schedule = run.schedule
    time = float(epoch) if schedule.staircase else epoch + step / steps
    peak = scaled_rate(schedule, run.phase(epoch).batch_size)
    if epoch < schedule.warmup_epochs:
        return min(peak, schedule.warmup_start * math.pow(schedule.warmup_factor, time))
    if schedule.decay is not Decay.STEP:
        share = (time - schedule.warmup_epochs) / max(taken_epochs(run, steps) - schedule.warmup_epochs, 1)
        return peak * _left(schedule, min(share, 1.0))
    return peak * math.pow(schedule.decay_factor, _falls(schedule, epoch, epoch * steps + step))


def _falls(schedule: Schedule, epoch: int, taken: int) -> int:
    """Return how often the rate has fallen in an epoch, after so many steps of the run."""
    if schedule.decay_steps:
        return bisect.bisect_right(schedule.decay_steps, taken)
    return bisect.bisect_right(schedule.decay_after, epoch) if schedule.decay_after else epoch // schedule.decay_epochs


def taken_epochs(run: Run, steps: int) -> float:
    """Return the epochs that a run of so many steps an epoch takes; the last may not be whole."""
    return min(run.epochs, run.steps / steps) if run.steps else run.epochs


def _left(schedule: Schedule, share: float) -> float:
    """Return the factor of the rate after a share of the run."""
    if schedule.decay is Decay.COSINE:
        return (1 + math.cos(math.pi * share)) / 2
    return math.pow(1 - share, schedule.power)


def scaled_rate(schedule: Schedule, batch_size: int) -> float:
    """Return the rate for a batch by the linear scaling rule: k times the batch, k times the rate."""
    return schedule.learning_rate * batch_size / schedule.batch_size


def steps_of_epoch(images: int, batch_size: int) -> int:
    """Return the number of steps of an epoch; the last may have fewer images."""
    return -(-images // batch_size)
