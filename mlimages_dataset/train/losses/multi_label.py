"""Arguments and checks of all losses of logits (B, C) and targets (B, C).

Legend: B images in a batch, C classes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from mlimages_dataset.core.errors import UsageError
from mlimages_dataset.train.losses.task_loss import TaskLoss

if TYPE_CHECKING:
    from torch import Tensor


class BatchLabels(NamedTuple):
    """The labels of some images.

    Attributes:
        targets: confidence of each label, 0 to 1, float32, shape (B, C).
        known: bool, shape (B, C); None where everything is known.
    """

    targets: Tensor
    known: Tensor | None


class MultiLabelLoss(TaskLoss[BatchLabels]):
    """A loss of an image's classes, called as loss(logits, targets, known)."""


def check_shapes(logits: Tensor, targets: Tensor, known: Tensor | None, n_classes: int | None = None) -> None:
    """Refuse a batch whose parts do not fit together.

    Raises:
        UsageError: logits, targets and known are not all of one shape (B, C), B is 0, or C is another number of
            classes.
    """
    if len(logits) == 0:
        raise UsageError("the batch has no images", remedy="leave out empty batches")
    shapes = {tuple(logits.shape), tuple(targets.shape)} | (set() if known is None else {tuple(known.shape)})
    if len(shapes) != 1 or logits.ndim != 2:  # noqa: PLR2004  # a matrix
        raise UsageError(
            f"logits are of shape {tuple(logits.shape)}, targets of {tuple(targets.shape)}"
            + ("" if known is None else f", known of {tuple(known.shape)}"),
            remedy="give all of them one row per image and one column per class",
        )
    if n_classes is not None and logits.shape[1] != n_classes:
        raise UsageError(
            f"logits of {logits.shape[1]} classes for a loss of {n_classes}",
            remedy="make the model and the loss for the same vocabulary",
        )
