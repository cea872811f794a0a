"""What every loss of logits (B, C) and targets (B, C) checks.

Legend: B images in a batch, C classes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlimages_dataset.core.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor


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
            remedy="give all of them one row an image and one column a class",
        )
    if n_classes is not None and logits.shape[1] != n_classes:
        raise UsageError(
            f"logits of {logits.shape[1]} classes for a loss of {n_classes}",
            remedy="make the model and the loss for the same vocabulary",
        )
