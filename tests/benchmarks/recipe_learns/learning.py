"""A network trained on views of photographs with one loss at one rate, and what it has learnt.

Legend: B images, C classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from mlimages_dataset.train.calibration import Calibration, fit_calibration
from mlimages_dataset.train.losses.prior_bias import prior_bias
from mlimages_dataset.train.metrics import ScoreHistogram, average_precision, instance_sums
from tests.benchmarks.recipe_learns.readings import odds_factor

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.benchmarks.recipe_learns.readings import MakeLoss

PRESENT = 0.7
MOMENTUM, WEIGHT_DECAY = 0.9, 1e-4


@dataclass(frozen=True, slots=True)
class Job:
    """One training.

    Attributes:
        loss: its name.
        rate: the learning rate.
        bias: whether the head begins at the classes' log-odds.
        marks: numbers of steps to measure after, ascending.
    """

    loss: str
    rate: float
    bias: bool
    marks: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Part:
    """Inputs of a network, shape (B, ...), and targets, shape (B, C)."""

    inputs: Tensor
    targets: Tensor


@dataclass(frozen=True, slots=True)
class Parts:
    """What is learnt from, what probabilities are fitted on, and what is only measured on: other photographs each."""

    learnt: Part
    fitted: Part
    tested: Part

    @classmethod
    def of(cls, inputs: Tensor, targets: Tensor, n_views: int) -> Parts:
        """Return 70, 15 and 15 % of the photographs with all their views.

        Args:
            inputs: shape (N V, ...).
            targets: shape (N, C).
            n_views: V.
        """
        n_photographs = len(targets)
        order = torch.randperm(n_photographs, generator=torch.Generator().manual_seed(0))
        of_photographs = order.tensor_split((int(0.7 * n_photographs), int(0.85 * n_photographs)))

        def part(photographs: Tensor) -> Part:
            rows = (photographs[:, None] * n_views + torch.arange(n_views)).flatten()
            return Part(inputs[rows], targets[photographs].repeat_interleave(n_views, 0))

        return cls(*map(part, of_photographs))


@dataclass(frozen=True, slots=True)
class Result:
    """What a network says after some steps.

    Attributes:
        loss: its name.
        bias: whether the head began at the classes' log-odds.
        rate: the learning rate.
        steps: taken.
        f1_at_5: on the views that were learnt from.
        f1_at_10: likewise.
        mean_average_precision: likewise, over the classes with positives.
        logit: mean absolute logit there.
        tested_f1_at_5: on photographs that were not.
        tested_mean_average_precision: likewise.
        said: mean sum of an image's probabilities there, sigmoid of the logits.
        said_undone: the same after the loss's weights are undone.
        said_calibrated: the same after the fit.
        true: mean number of labels there.
        reliability: pairs of the mean probability said and the share present, raw and calibrated, over bins.
    """

    loss: str
    bias: bool
    rate: float
    steps: int
    f1_at_5: float
    f1_at_10: float
    mean_average_precision: float
    logit: float
    tested_f1_at_5: float
    tested_mean_average_precision: float
    said: float
    said_undone: float
    said_calibrated: float
    true: float
    reliability: tuple[tuple[tuple[float, float], ...], ...] = ()


def learn(
    network: nn.Module, head: nn.Linear, parts: Parts, make: MakeLoss, job: Job, *, batch_size: int
) -> Iterator[Result]:
    """Train a network by SGD and yield results after some numbers of steps; a loss that is not finite ends it.

    Args:
        network: inputs to logits.
        head: its last layer.
        parts: the data.
        make: makes the loss for C classes.
        job: the rate, the bias and the steps to measure after.
        batch_size: B.
    """
    inputs, targets = parts.learnt.inputs, parts.learnt.targets
    n_classes = targets.shape[1]
    if job.bias:
        with torch.no_grad():
            head.bias.copy_(prior_bias((targets >= PRESENT).sum(0), len(targets)))
    loss = make(n_classes)
    optimizer = torch.optim.SGD(
        network.parameters(), lr=job.rate, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY, fused=True
    )
    for step, rows in enumerate(_batches(len(inputs), batch_size, job.marks[-1]), 1):
        network.train()
        value = loss(network(inputs[rows]), targets[rows])
        if not bool(torch.isfinite(value)):
            return
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        if step in job.marks:
            yield _result(network, parts, job, step, odds_factor(loss, n_classes))


def _batches(n_images: int, batch_size: int, steps: int) -> Iterator[Tensor]:
    """Yield the rows of each step: every image once before any comes again."""
    generator = torch.Generator().manual_seed(1)
    n_epochs = -(-steps * batch_size // n_images)
    order = torch.cat([torch.randperm(n_images, generator=generator) for _ in range(n_epochs)])
    yield from order[: steps * batch_size].split(batch_size)


@torch.inference_mode()
def _logits(network: nn.Module, part: Part) -> Tensor:
    network.eval()
    return torch.cat([network(batch).float() for batch in part.inputs.split(128)])


def _result(network: nn.Module, parts: Parts, job: Job, steps: int, factor: Tensor) -> Result:
    learnt, fitted, tested = (_logits(network, part) for part in (parts.learnt, parts.fitted, parts.tested))
    undone = Calibration.of_weights(factor)
    histogram = ScoreHistogram.empty(tested.shape[1])
    histogram.update(fitted, parts.fitted.targets)
    calibrated = fit_calibration(histogram, undone, len(fitted)).probabilities(tested)
    of_learnt = instance_sums(learnt, parts.learnt.targets).compute()
    is_present = parts.tested.targets >= PRESENT
    return Result(
        loss=job.loss,
        bias=job.bias,
        rate=job.rate,
        steps=steps,
        f1_at_5=of_learnt[0].f1,
        f1_at_10=of_learnt[1].f1,
        mean_average_precision=_mean_average_precision(learnt, parts.learnt.targets),
        logit=float(learnt.abs().mean()),
        tested_f1_at_5=instance_sums(tested, parts.tested.targets).compute()[0].f1,
        tested_mean_average_precision=_mean_average_precision(tested, parts.tested.targets),
        said=float(tested.sigmoid().sum(1).mean()),
        said_undone=float(undone.probabilities(tested).sum(1).mean()),
        said_calibrated=float(calibrated.sum(1).mean()),
        true=float(is_present.sum(1).float().mean()),
        reliability=(reliability(tested.sigmoid(), is_present), reliability(calibrated, is_present)),
    )


def _mean_average_precision(logits: Tensor, targets: Tensor) -> float:
    present = targets >= PRESENT
    with_positives = present.any(0)
    return float(average_precision(logits[:, with_positives], present[:, with_positives]).mean())


def reliability(probabilities: Tensor, present: Tensor) -> tuple[tuple[float, float], ...]:
    """Return the mean probability and the share present in each tenth of [0, 1] that holds at least 50 entries."""
    tenth = (probabilities * 10).long().clamp(max=9).flatten()
    n = torch.bincount(tenth, minlength=10)
    said = torch.bincount(tenth, probabilities.flatten().double(), 10) / n
    true = torch.bincount(tenth, present.flatten().double(), 10) / n
    return tuple((float(said[i]), float(true[i])) for i in range(10) if n[i] >= 50)
