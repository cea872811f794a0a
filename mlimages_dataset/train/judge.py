"""Measures a trained network on labelled pictures, and fits its probabilities to them."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from mlimages_dataset.core.errors import DataError, UsageError
from mlimages_dataset.tables.parquet import read_table
from mlimages_dataset.tables.schemas import CATEGORIES
from mlimages_dataset.train import distributed
from mlimages_dataset.train.apply import as_run, trained
from mlimages_dataset.train.calibration import Calibration, reliability
from mlimages_dataset.train.checkpoint import save_checkpoint
from mlimages_dataset.train.computing import computing
from mlimages_dataset.train.evaluation import Evaluation, groups_of_categories
from mlimages_dataset.train.inputs import warn_of_unpictured
from mlimages_dataset.train.probabilities import calibration_of
from mlimages_dataset.train.validation import evaluate_network
from mlimages_dataset.vocab.folder import categories_file

if TYPE_CHECKING:
    from pathlib import Path

    from mlimages_dataset.core.locations import Location
    from mlimages_dataset.train.apply import Application
    from mlimages_dataset.train.calibration import Reliability
    from mlimages_dataset.train.checkpoint import Checkpoint
    from mlimages_dataset.train.config import Unknown
    from mlimages_dataset.train.evaluation import EvaluationSummary
    from mlimages_dataset.train.tasks.task import AnyTask, Judgement


def evaluate(
    application: Application, labels: Location, *, unknown: Unknown | None = None
) -> EvaluationSummary | Judgement:
    """Return a network's evaluation on the labels of a folder's pictures, on every rank.

    That of a multi-label classifier is a summary, also by groups of classes; any other task's is its measures.

    Args:
        application: the network and the pictures.
        labels: folder of a table of labels, or of what the task learns; see `config.Data`.
        unknown: how unlisted classes count; None for the setting of the training run.

    Raises:
        DataError: as `predict`; or nothing is labelled as present, so there is nothing to measure.
        UsageError, MLImagesError: as `predict`.
    """
    with computing(application.execution, seed=0) as device:
        task, measures, checkpoint = _evaluated(application, labels, device, unknown)
        if not isinstance(measures, Evaluation):
            return task.judgement(measures, checkpoint.loss, checkpoint.n_classes)
        groups = groups_of_categories(read_table(categories_file(application.classes_of), CATEGORIES))
        return measures.summary(groups, calibration_of(checkpoint))


@dataclass(frozen=True, slots=True)
class Fit:
    """A calibration, and its effect.

    Attributes:
        calibration: the fitted calibration.
        before: the evaluation of the pictures with the earlier calibration.
        after: the same with the fitted one.
        reliability: of the network's scores, and after calibration; see `calibration.reliability`.
    """

    calibration: Calibration
    before: EvaluationSummary
    after: EvaluationSummary
    reliability: tuple[Reliability, Reliability]


def calibrate(application: Application, labels: Location, out: Path) -> Fit:
    """Fit a network's calibration on labelled pictures that it was not trained on, and write a checkpoint with it.

    Args:
        application: the network and the pictures.
        labels: folder of a table of labels.
        out: the checkpoint to write, on rank 0.

    Raises:
        UsageError: as `predict`; or the network predicts one class per image.
        DataError: as `predict`; or nothing is labelled as present.
        MLImagesError: as `predict`.
    """
    with computing(application.execution, seed=0) as device:
        _, measures, checkpoint = _evaluated(application, labels, device, None)
        evaluation = _of_images(measures, application)
        before = calibration_of(checkpoint)
        if before is None:
            raise UsageError(
                "its loss is softmax, whose probabilities compare the classes of an image",
                where=application.checkpoint,
                remedy="only networks trained with another loss can be calibrated",
            )
        fitted = evaluation.calibration(Calibration.of_weights(before.odds_factor))
        if fitted.n_images == 0:
            raise UsageError(
                "present classes have lower scores than absent ones",
                where=labels,
                remedy="check that the labels are of these pictures and of the network's vocabulary",
            )
        if distributed.rank() == 0:
            save_checkpoint(out, dataclasses.replace(checkpoint, calibration=fitted.state()))
        nothing = Calibration.of_weights(torch.ones(checkpoint.n_classes))
        return Fit(
            calibration=fitted,
            before=evaluation.summary(calibration=before),
            after=evaluation.summary(calibration=fitted),
            reliability=(reliability(evaluation.scores, nothing), reliability(evaluation.scores, fitted)),
        )


def _evaluated(
    application: Application, labels: Location, device: torch.device, unknown: Unknown | None
) -> tuple[AnyTask, Any, Checkpoint]:
    """Return a checkpoint's task, its measures on the labels of a folder's pictures, and the checkpoint itself."""
    task, network, checkpoint = trained(application, device, unknown)
    run = as_run(application, labels, checkpoint)
    data = task.data(run, task.classes(run), training=False)
    warn_of_unpictured(run, data, training=False)
    measures = evaluate_network(
        network,
        data,
        task,
        task.measures(checkpoint.loss, checkpoint.n_classes, device=device, where=application.checkpoint),
        precision=application.execution.precision,
        batch_size=application.batch_size,
        workers=application.workers,
    )
    if measures.lacking:
        raise DataError(measures.lacking, where=labels, remedy="name labels of --images that say what is present")
    return task, measures, checkpoint


def _of_images(measures: object, application: Application) -> Evaluation:
    """Return the measures of a multi-label classifier.

    Raises:
        UsageError: they are of another task.
    """
    if not isinstance(measures, Evaluation):
        raise UsageError(
            "it is not of a multi-label classifier, so there are no probabilities to fit",
            where=application.checkpoint,
            remedy="name a checkpoint of one",
        )
    return measures
