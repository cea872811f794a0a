"""The second stage of a detector: classes and offsets of proposed boxes, as torchvision's.

It differs where a box may have several classes: what is to be learnt is handed on rather than summed, and what is
predicted before any score is made of it. Class 0 is the background.

Legend: B images, R proposals of all images, C classes without background.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor
from torchvision.models.detection.roi_heads import RoIHeads

from mlimages_dataset.train.detection.proposals import Compared, weights_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mlimages_dataset.train.detection.targets import SeededSampler, TrueBoxes


class Predicted(NamedTuple):
    """What a detector says of the boxes that it proposed.

    Attributes:
        logits: background first, shape (R, C + 1).
        sides: the box for each class, in pixels, shape (R, C + 1, 4).
        counts: proposals of each image.
        sizes: height and width of each image.
    """

    logits: Tensor
    sides: Tensor
    counts: list[int]
    sizes: list[tuple[int, int]]


class BoxHeads(RoIHeads):  # type: ignore[misc]  # torchvision is not typed
    """Classes and offsets of proposed boxes.

    Attributes:
        fg_bg_sampler: draws the proposals that are learnt.
    """

    fg_bg_sampler: SeededSampler

    def learn(
        self,
        levels: Mapping[str, Tensor],
        proposals: Sequence[Tensor],
        truth: Sequence[TrueBoxes],
        sizes: list[tuple[int, int]],
    ) -> Compared:
        """Return the predictions for drawn proposals, true boxes among them, beside what they should be."""
        placed, matched_sides, wanted = self._drawn(proposals, truth)
        logits, offsets = self._logits_and_offsets(levels, placed, sizes)
        counts = [len(of_image) for of_image in placed]
        weight = weights_of(counts, counts, logits.device)
        region, label = wanted[:, 1:].nonzero(as_tuple=True)
        return Compared(
            logits,
            wanted,
            tuple(counts),
            weight,
            offsets.view(len(wanted), -1, 4)[region, label + 1],
            torch.cat(self.box_coder.encode(matched_sides, placed))[region],
            weight[region],
        )

    def predict(
        self, levels: Mapping[str, Tensor], proposals: Sequence[Tensor], sizes: list[tuple[int, int]]
    ) -> Predicted:
        """Return what is said of all proposals."""
        logits, offsets = self._logits_and_offsets(levels, proposals, sizes)
        sides = self.box_coder.decode(offsets.float(), list(proposals))  # half precision would round pixels to fours
        return Predicted(logits, sides.view(len(logits), -1, 4), [len(one) for one in proposals], sizes)

    def _drawn(
        self, proposals: Sequence[Tensor], truth: Sequence[TrueBoxes]
    ) -> tuple[list[Tensor], list[Tensor], Tensor]:
        """Return the drawn proposals of each image, the true boxes that they match, and the classes of all of them."""
        true_sides = [one.sides for one in truth]
        boxes = self.add_gt_proposals(list(proposals), true_sides)
        is_object = [torch.ones(len(sides), dtype=torch.int64, device=sides.device) for sides in true_sides]
        matched, found = self.assign_targets_to_proposals(boxes, true_sides, is_object)
        placed, matched_sides, wanted = [], [], []
        for number, (positive, negative) in enumerate(zip(*self.fg_bg_sampler(found), strict=True)):
            drawn = positive | negative
            match = matched[number][drawn]
            placed.append(boxes[number][drawn])
            matched_sides.append(true_sides[number][match] if len(true_sides[number]) else placed[-1])
            wanted.append(_wanted(truth[number], match, found[number][drawn] > 0))
        return placed, matched_sides, torch.cat(wanted)

    def _logits_and_offsets(
        self, levels: Mapping[str, Tensor], boxes: Sequence[Tensor], sizes: list[tuple[int, int]]
    ) -> tuple[Tensor, Tensor]:
        pooled = self.box_roi_pool(dict(levels), list(boxes), sizes)
        logits, offsets = self.box_predictor(self.box_head(pooled))
        return logits, offsets


def _wanted(truth: TrueBoxes, match: Tensor, is_object: Tensor) -> Tensor:
    """Return which classes each proposal of an image has, the background first, float32, shape (R, C + 1)."""
    wanted = torch.zeros(len(match), truth.labels.shape[1] + 1, device=match.device)
    wanted[:, 0] = (~is_object).float()
    if len(truth.sides):
        wanted[:, 1:] = truth.labels[match] * is_object[:, None]
    return wanted
