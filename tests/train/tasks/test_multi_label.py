"""The multi-label task: its targets, its measures, and what a checkpoint says of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch

from mlimages_dataset.train.checkpoint import Checkpoint, RunProgress
from mlimages_dataset.train.config import Loss, LossName, Run, Unknown
from mlimages_dataset.train.losses.registry import LOSSES
from mlimages_dataset.train.science import science
from mlimages_dataset.train.tasks.multi_label import MultiLabel
from mlimages_dataset.train.tasks.registry import task_of_checkpoint, task_of_run
from tests.train.synthetic import N_CLASSES, batch_of, dataset

if TYPE_CHECKING:
    from mlimages_dataset.loaders import Batch
    from mlimages_dataset.train.evaluation import Evaluation
    from mlimages_dataset.train.losses.multi_label import BatchLabels
    from mlimages_dataset.train.tasks.task import Task

CPU = torch.device("cpu")


def batches() -> list[Batch]:
    images, targets = dataset()
    return [batch_of(images[rows], targets[rows], [""] * 32) for rows in (slice(0, 32), slice(32, 64))]


def checkpoint_of(run: Run) -> Checkpoint:
    return Checkpoint(
        progress=RunProgress(),
        model_name="resnet18",
        n_classes=N_CLASSES,
        image_size=32,
        vocabulary="",
        science=science(run),
        model={},
        average={},
        optimizer={},
        loss={},
        scaler={},
        generators=[],
        sampler={},
    )


def test_it_is_a_task() -> None:
    task: Task[BatchLabels, Evaluation, Batch] = MultiLabel(LOSSES[LossName.RELEASED], Unknown.ABSENT)
    assert task.predictions.name == "predictions"


@pytest.mark.parametrize("unknown", Unknown)
def test_what_is_unknown_is_masked_where_it_is_ignored(unknown: Unknown) -> None:
    (batch, _) = batches()
    labels = task_of_run(Run(epochs=1, loss=Loss(unknown=unknown))).targets(batch)
    assert torch.equal(labels.targets, batch.targets)
    assert (labels.known is not None) is (unknown is Unknown.IGNORED)


def test_measures_of_parts_add_up() -> None:
    task = task_of_run(Run(epochs=1))
    nothing = [task.measures({}, N_CLASSES, device=CPU) for _ in range(3)]
    outputs = [batch.targets + 0.1 for batch in batches()]
    first, second = (task.measured(*given) for given in zip(nothing[:2], outputs, batches(), strict=True))
    whole = nothing[2]
    for part, batch in zip(outputs, batches(), strict=True):
        whole = task.measured(whole, part, batch)
    assert repr((first + second).summary()) == repr(whole.summary()), "NaN included"


@pytest.mark.parametrize("unknown", Unknown)
@pytest.mark.parametrize("name", [LossName.RELEASED, LossName.SOFTMAX])
def test_a_checkpoint_has_the_task_of_its_run(name: LossName, unknown: Unknown) -> None:
    run = Run(epochs=1, loss=Loss(name=name, unknown=unknown))
    checkpoint = checkpoint_of(run)
    assert task_of_checkpoint(checkpoint) == task_of_run(run)
    assert task_of_checkpoint(checkpoint, unknown=Unknown.ABSENT) == MultiLabel(LOSSES[name], Unknown.ABSENT)


def test_one_label_an_image_is_not_calibrated() -> None:
    for name in (LossName.SOFTMAX, LossName.FOCAL):
        task = task_of_run(Run(epochs=1, loss=Loss(name=name)))
        assert (task.unfitted({}, N_CLASSES) is None) is (name is LossName.SOFTMAX)


@pytest.mark.parametrize("name", [LossName.SOFTMAX, LossName.FOCAL])
def test_accuracies_are_measured_where_images_have_one_label(name: LossName) -> None:
    task = task_of_run(Run(epochs=1, loss=Loss(name=name)))
    (batch, _) = batches()
    measures = task.measured(task.measures({}, N_CLASSES, device=CPU), batch.targets, batch)
    found = task.judgement(measures, {}, N_CLASSES).measures
    assert set(task.measure_names(N_CLASSES)) <= set(found)
    assert ({"top1", "top5"} <= set(found)) is (name is LossName.SOFTMAX)
    assert found.get("top1", 1.0) == 1.0
