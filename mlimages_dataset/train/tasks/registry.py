"""Chooses the task of a run or a checkpoint: a task is a file of this package, and is chosen only here."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from mlimages_dataset.train.config import Unknown
from mlimages_dataset.train.losses.registry import LOSSES, loss_of_science
from mlimages_dataset.train.tasks.multi_label import MultiLabel

if TYPE_CHECKING:
    from mlimages_dataset.train.checkpoint import Checkpoint
    from mlimages_dataset.train.config import Run


def task_of_run(run: Run) -> MultiLabel:
    """Return the task of a run."""
    return MultiLabel(LOSSES[run.loss.name], run.loss.unknown)


def task_of_checkpoint(checkpoint: Checkpoint, *, unknown: Unknown | None = None, where: object = None) -> MultiLabel:
    """Return the task of a checkpoint's network.

    Args:
        checkpoint: of the network.
        unknown: how unlisted classes count; None for the setting of the training run.
        where: the checkpoint's place, for messages.

    Raises:
        DataError: it names a loss that this version does not have.
    """
    taught = json.loads(checkpoint.science.get("loss.unknown", f'"{Unknown.ABSENT.value}"'))
    return MultiLabel(loss_of_science(checkpoint.science, where=where), unknown or Unknown(taught))
