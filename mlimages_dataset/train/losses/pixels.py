"""The loss of segmentation: cross-entropy over the classes of every judged pixel.

Legend: B images, C classes, h and w pixels of the logits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from torch.nn import functional

from mlimages_dataset.sources.label_maps import IGNORED
from mlimages_dataset.train.losses.task_loss import TaskLoss
from mlimages_dataset.train.segmentation import at_size

if TYPE_CHECKING:
    from torch import Tensor


class PixelTargets(NamedTuple):
    """The class of each pixel, 255 where nothing is judged, uint8, shape (B, H, W)."""

    maps: Tensor


class PixelLoss(TaskLoss[PixelTargets]):
    """Cross-entropy, a mean over the judged pixels of an image and then over images.

    Logits are enlarged to the size of the maps, so that every pixel counts (Chen et al. 2018 shrink the maps instead).
    A mean over each image first makes the loss the same for any division of a batch.
    """

    def forward(self, logits: Tensor, maps: Tensor) -> Tensor:
        """Return the loss, a float32 scalar.

        Args:
            logits: shape (B, C, h, w).
            maps: see `PixelTargets`.
        """
        height, width = maps.shape[1:]
        large = at_size(logits, (height, width))
        losses = functional.cross_entropy(large, maps.long(), ignore_index=IGNORED, reduction="none")
        judged = (maps != IGNORED).sum((1, 2)).clamp(min=1)
        return (losses.sum((1, 2)) / judged).mean()
