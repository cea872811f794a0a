"""Estimates of a run before it starts, and a trial of its first steps."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from mlimages_dataset.core.errors import ConfigError
from mlimages_dataset.tables.files import write_bytes
from mlimages_dataset.train import distributed
from mlimages_dataset.train.computing import computing, seed_generators
from mlimages_dataset.train.config import Precision, TaskName
from mlimages_dataset.train.feed import images_of_pass, make_feed
from mlimages_dataset.train.inputs import Classes, named_place, read_classes, warn_of_unpictured
from mlimages_dataset.train.learner import make_learner
from mlimages_dataset.train.learning import LEAST_JUDGED
from mlimages_dataset.train.needed import needed_places
from mlimages_dataset.train.plan import Plan, image_bytes, pace, state_bytes, total_steps
from mlimages_dataset.train.plots import rate_curve
from mlimages_dataset.train.schedule import steps_of_epoch, taken_epochs
from mlimages_dataset.train.stage import first_learner, initial_model
from mlimages_dataset.train.supply import Supply, core_rate
from mlimages_dataset.train.tasks.registry import task_of_run
from mlimages_dataset.train.trial import Trial, try_steps

if TYPE_CHECKING:
    from pathlib import Path

    import torch

    from mlimages_dataset.train.config import Run
    from mlimages_dataset.train.tasks.task import AnyTask

PUBLISHED_CLASSES = 11_166
"""Classes of Tencent ML-Images, assumed for a run that names neither a vocabulary nor a number of classes."""
_TIMED_IMAGES, _TIMED_STEPS = 32, 5


def plan(run: Run, out: Path | None, *, images: int | None, images_per_second: float | None, ranks: int | None) -> Plan:
    """Return the estimates for a run, and plot its learning rate.

    Args:
        run: the run.
        out: the PNG to write; None for none.
        images: images per epoch; None to count those of the run's data.
        images_per_second: of all ranks; None to measure it on the current ranks and scale it up.
        ranks: number of ranks of the run; None for the current ones.

    Raises:
        UsageError, DataError: as `pretrain`.
    """
    with computing(run.execution, run.seed) as device:
        classes, classes_from = _planned_classes(run)
        task = task_of_run(run)
        n_images = _n_images(run, task, classes) if images is None else images
        learner = make_learner(_for(device, run), initial_model(run, classes), task.loss(run, len(classes)), device)
        first, largest = run.phase(0), max(phase.image_size for phase in run.phases)
        n_ranks = ranks or distributed.n_ranks()
        of_pass = images_of_pass(run, first, n_ranks)
        measured = images_per_second
        if measured is None:
            few = min(of_pass, _TIMED_IMAGES)
            here = pace(learner, images=few, image_size=first.image_size, steps=_TIMED_STEPS)
            measured = here * n_ranks / distributed.n_ranks()
        if out is not None and distributed.rank() == 0:
            write_bytes(out, rate_curve(run, n_images))
        on_cpu = images_per_second is None and device.type == "cpu"
        supply = None
        if distributed.rank() == 0:
            rate = core_rate(run.data.images, largest, upright=run.data.upright)
            supply = Supply(measured, n_ranks, run.data.workers, rate, paced_on_cpu=on_cpu)
        return Plan(
            parameters=sum(parameter.numel() for parameter in learner.model.parameters()),
            classes=len(classes),
            classes_from=classes_from,
            state_bytes=state_bytes(learner.model, average=run.optimizer.average_decay > 0),
            image_bytes=image_bytes(learner.model, task, largest, run.execution.precision),
            images_per_pass=of_pass,
            ranks=n_ranks,
            passes=first.batch_size // (of_pass * n_ranks),
            images=n_images,
            epochs=taken_epochs(run, steps_of_epoch(n_images, first.batch_size)),
            steps=total_steps(run, n_images),
            images_per_second=measured,
            supply=distributed.from_first(supply),
            half_on_cpu=on_cpu and run.execution.precision is not Precision.FLOAT32,
        )


def _n_images(run: Run, task: AnyTask, classes: Classes) -> int:
    """Return the images of an epoch; a warning tells how many labelled images have no picture."""
    data = task.data(run, classes, training=True)
    warn_of_unpictured(run, data, training=True)
    return len(data)


def _for(device: torch.device, run: Run) -> Run:
    """Return a run as it can be planned on a device: synchronised statistics need GPUs, and cost no parameters."""
    synchronised = run.model.sync_batch_norm and device.type == "cuda"
    return replace(run, model=replace(run.model, sync_batch_norm=synchronised))


def check_trial(run: Run, steps: int) -> None:
    """Refuse a trial that cannot be made, or has too few steps, before anything is measured.

    Raises:
        ConfigError: the run does not name its data, or the steps are too few.
    """
    for name in needed_places(run):
        named_place(getattr(run.data, name), name)
    if steps < LEAST_JUDGED:
        raise ConfigError(
            f"a dry run of {steps} steps cannot tell whether a run learns",
            remedy=f"try {LEAST_JUDGED} or more, or write --dry-run-steps 0",
        )


def trial(run: Run, steps: int | None) -> Trial:
    """Return whether the first steps of a run learn; nothing is written.

    Args:
        run: the run, which names its images, labels and vocabulary.
        steps: steps to take; None for `TRIAL_STEPS`, or fewer if `TRIAL_SECONDS` allow no more at the first's speed.

    Raises:
        UsageError, DataError: as `pretrain`.
    """
    task = task_of_run(run)
    classes = task.classes(run)
    with computing(run.execution, run.seed) as device:
        data = task.data(run, classes, training=True)
        learner = first_learner(run, data, classes, device)
        seed_generators(run.seed, rank=distributed.rank(), step=0)
        return try_steps(run, learner, make_feed(run, task, data, device), steps)


def _planned_classes(run: Run) -> tuple[Classes, str]:
    """Return the classes of a plan, and the source of their number."""
    if run.task is TaskName.SEGMENTATION:
        return task_of_run(run).classes(run), "(segmentation.classes)"
    if run.data.vocabulary is not None:
        classes = read_classes(run.data.vocabulary)
        other = run.model.classes not in {0, len(classes)}
        meant = f", but model.classes is {run.model.classes:,}" if other else ""
        return classes, f"(of the vocabulary{meant})"
    n_classes = run.model.classes or PUBLISHED_CLASSES
    assumed = "(assumed, those of Tencent ML-Images: give --classes or --vocabulary)"
    return Classes(tuple(map(str, range(n_classes))), ""), "(model.classes)" if run.model.classes else assumed
