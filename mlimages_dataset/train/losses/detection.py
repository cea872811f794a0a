"""The loss of a detector: boxes that hold an object, their classes, and how far they are off (Ren et al. 2015, eq. 1).

The loss of the classes is any of those for images, applied to regions; the background is a class more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

from mlimages_dataset.train.losses.task_loss import TaskLoss

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlimages_dataset.train.detection.detector import Learnt
    from mlimages_dataset.train.detection.proposals import Compared
    from mlimages_dataset.train.losses.definition import LossDefinition, State
    from mlimages_dataset.train.losses.multi_label import MultiLabelLoss

_SMOOTH = 1 / 9
"""Where the loss of offsets turns from square to linear, as torchvision's."""
CLASSES = "classes."
"""Prefix of the class loss's state."""


class DetectionLoss(TaskLoss[tuple[()]]):
    """The sum of a detector's four losses, each a mean over the drawn boxes of an image and then over images.

    Attributes:
        classes: the loss of the classes of regions.
    """

    def __init__(self, classes: MultiLabelLoss) -> None:
        super().__init__()
        self.classes = classes

    def forward(self, learnt: Learnt) -> Tensor:
        """Return the loss, a float32 scalar."""
        proposed, classified = learnt
        objects = functional.binary_cross_entropy_with_logits(
            proposed.logits.float(), proposed.wanted, proposed.weight, reduction="sum"
        )
        by_image = zip(*(one.split(list(classified.counts)) for one in classified[:2]), strict=True)
        classes = torch.stack([self.classes(logits, wanted) for logits, wanted in by_image]).mean()
        return objects + classes + _of_offsets(proposed) + _of_offsets(classified)


def _of_offsets(compared: Compared) -> Tensor:
    losses = functional.smooth_l1_loss(
        compared.offsets.float(), compared.wanted_offsets.float(), beta=_SMOOTH, reduction="none"
    )
    return (losses.sum(1) * compared.offset_weight).sum()


def region_scores(taught_by: LossDefinition, state: State, n_classes: int, where: object) -> Callable[[Tensor], Tensor]:
    """Return what turns logits of regions, background first, into scores of the classes in [0, 1].

    Args:
        taught_by: the loss of the classes.
        state: of a `DetectionLoss`.
        n_classes: C, without background.
        where: the checkpoint's place, for messages.
    """
    if taught_by.one_label:
        return lambda logits: logits.softmax(1)[:, 1:]
    of_classes = {name.removeprefix(CLASSES): value for name, value in state.items()}
    scores = taught_by.scores(of_classes, n_classes + 1, where)
    return lambda logits: scores(logits).sigmoid()[:, 1:]


def with_background(rates: Tensor) -> Tensor:
    """Return concurrent rates with a background, class 0, that no class makes way to: sparse, shape (C + 1, C + 1)."""
    sparse = rates.to_sparse_coo().coalesce()
    size = (len(rates) + 1, len(rates) + 1)
    return torch.sparse_coo_tensor(sparse.indices() + 1, sparse.values(), size, check_invariants=True).coalesce()
