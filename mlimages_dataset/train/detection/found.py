"""The boxes that a detector finds: the surest of each class, without doubles.

Legend: R proposals of all images, C classes without background, n boxes found.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor
from torchvision.ops import boxes as box_ops

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlimages_dataset.train.detection.box_heads import Predicted
    from mlimages_dataset.train.task_options import Detection

_LEAST_SIDE = 1e-2
"""Pixels."""


class Found(NamedTuple):
    """Boxes found in some images.

    Attributes:
        image: the image of each box, ascending, int64, shape (n,).
        sides: xmin, ymin, xmax, ymax as shares of the image, float32, shape (n, 4).
        score: in [0, 1], the surest of an image first, float32, shape (n,).
        class_index: int64, shape (n,).
    """

    image: Tensor
    sides: Tensor
    score: Tensor
    class_index: Tensor


def found_boxes(predicted: Predicted, scores_of: Callable[[Tensor], Tensor], options: Detection) -> Found:
    """Return the boxes that are found.

    Args:
        predicted: by a detector.
        scores_of: turns float32 logits, shape (R, C + 1), into scores of the classes alone, shape (R, C).
        options: of the run.
    """
    scores = scores_of(predicted.logits.float())
    of_images = zip(predicted.sides.split(predicted.counts), scores.split(predicted.counts), strict=True)
    found = [_found(*both, size, options) for both, size in zip(of_images, predicted.sizes, strict=True)]
    images = [torch.full((len(score),), n, device=score.device) for n, (_, score, _) in enumerate(found)]
    sides, score, class_index = (torch.cat(column) for column in zip(*found, strict=True))
    return Found(torch.cat(images), sides, score, class_index)


def _found(sides: Tensor, scores: Tensor, size: tuple[int, int], options: Detection) -> tuple[Tensor, Tensor, Tensor]:
    """Return sides, scores and classes of the boxes of one image."""
    region, label = (scores > options.least_score).nonzero(as_tuple=True)
    clipped = box_ops.clip_boxes_to_image(sides[region, label + 1].float(), size)
    score = scores[region, label]
    large = box_ops.remove_small_boxes(clipped, _LEAST_SIDE)
    clipped, score, label = clipped[large], score[large], label[large]
    kept = box_ops.batched_nms(clipped, score, label, options.suppression_overlap)[: options.most_detections]
    height, width = size
    shares = clipped[kept] / clipped.new_tensor([width, height, width, height])
    return shares.clamp(0, 1), score[kept], label[kept]
