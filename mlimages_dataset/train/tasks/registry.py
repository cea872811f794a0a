"""Chooses the task of a run or a checkpoint: a task is a file of this package, and is chosen only here."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from mlimages_dataset.core.decoding import Decoder
from mlimages_dataset.core.errors import DataError
from mlimages_dataset.train.config import TaskName, Unknown
from mlimages_dataset.train.losses.registry import LOSSES, loss_of_science
from mlimages_dataset.train.task_options import Detection, Segmentation
from mlimages_dataset.train.tasks.detection import Detecting
from mlimages_dataset.train.tasks.multi_label import MultiLabel
from mlimages_dataset.train.tasks.segmentation import Segmenting

if TYPE_CHECKING:
    from mlimages_dataset.train.checkpoint import Checkpoint
    from mlimages_dataset.train.config import Run
    from mlimages_dataset.train.tasks.task import AnyTask


def task_of_run(run: Run) -> AnyTask:
    """Return the task of a run."""
    taught_by = LOSSES[run.loss.name]
    if run.task is TaskName.DETECTION:
        return Detecting(taught_by, run.detection, run.seed)
    if run.task is TaskName.SEGMENTATION:
        return Segmenting(run.segmentation)
    return MultiLabel(taught_by, run.loss.unknown)


def task_of_checkpoint(checkpoint: Checkpoint, *, unknown: Unknown | None = None, where: object = None) -> AnyTask:
    """Return the task of a checkpoint's network.

    Args:
        checkpoint: of the network.
        unknown: how unlisted classes count; None for the setting of the training run.
        where: the checkpoint's place, for messages.

    Raises:
        DataError: it names a task or a loss that this version does not have.
    """
    settings = {name: json.loads(value) for name, value in checkpoint.science.items()}
    name = settings.get("task", TaskName.MULTI_LABEL.value)
    if name not in {one.value for one in TaskName}:
        raise DataError(f"its task is {name!r}", where=where, remedy="use the version that wrote it")
    taught_by = loss_of_science(checkpoint.science, where=where)
    options = {key.partition(".")[2]: value for key, value in settings.items() if key.startswith(f"{name}.")}
    try:
        if name == TaskName.DETECTION.value:
            return Detecting(taught_by, Decoder().decode(Detection, options))
        if name == TaskName.SEGMENTATION.value:
            return Segmenting(Decoder().decode(Segmentation, options))
        return MultiLabel(taught_by, unknown or Unknown(settings.get("loss.unknown", Unknown.ABSENT.value)))
    except ValueError as error:
        raise DataError(
            f"its settings are of another version ({error})", where=where, remedy="use the version that wrote it"
        ) from error
