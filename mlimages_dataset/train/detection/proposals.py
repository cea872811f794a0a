"""The region proposal network, as torchvision's; what it is to learn is handed on rather than summed.

Legend: B images, A anchors of an image, S drawn anchors of all images, P positive ones of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor
from torchvision.models.detection.rpn import RegionProposalNetwork, concat_box_prediction_layers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torchvision.models.detection.image_list import ImageList

    from mlimages_dataset.train.detection.targets import SeededSampler, TrueBoxes


class Compared(NamedTuple):
    """Predictions of drawn candidates beside what they should be.

    Attributes:
        logits: of the classes, shape (S, C + 1); of the proposal network one for "an object", shape (S,).
        wanted: what they should say, in [0, 1], float32, of the same shape.
        counts: drawn candidates of each image.
        weight: of each candidate: 1 / (B times the drawn candidates of its image), shape (S,).
        offsets: predicted offsets of positive candidates, shape (P, 4).
        wanted_offsets: what they should be, shape (P, 4).
        offset_weight: as `weight`, shape (P,).
    """

    logits: Tensor
    wanted: Tensor
    counts: tuple[int, ...]
    weight: Tensor
    offsets: Tensor
    wanted_offsets: Tensor
    offset_weight: Tensor


class ProposalNetwork(RegionProposalNetwork):  # type: ignore[misc]  # torchvision is not typed
    """Boxes that may hold an object.

    Attributes:
        fg_bg_sampler: draws the anchors that are learnt.
    """

    fg_bg_sampler: SeededSampler

    def propose(
        self, images: ImageList, levels: Sequence[Tensor], truth: Sequence[TrueBoxes] | None
    ) -> tuple[list[Tensor], Compared | None]:
        """Return the proposed boxes of each image, and what is learnt if the truth is given.

        Args:
            images: the batch and the sizes of its images.
            levels: features, from fine to coarse, each of shape (B, D, H, W).
            truth: of each image; None where nothing is learnt.
        """
        objectness, offsets = self.head(list(levels))
        anchors = self.anchor_generator(images, list(levels))
        n_of_level = [one[0].numel() for one in objectness]
        objectness, offsets = concat_box_prediction_layers(objectness, offsets)
        objectness, offsets = objectness.float(), offsets.float()  # half precision would round pixels to fours
        decoded = self.box_coder.decode(offsets.detach(), anchors).view(len(anchors), -1, 4)
        boxes, _ = self.filter_proposals(decoded, objectness, images.image_sizes, n_of_level)
        if truth is None:
            return boxes, None
        labels, matched = self.assign_targets_to_anchors(anchors, [{"boxes": one.sides} for one in truth])
        positive, negative = self.fg_bg_sampler(labels)
        wanted_offsets = self.box_coder.encode(matched, anchors)
        counts = tuple(int((a | b).sum()) for a, b in zip(positive, negative, strict=True))
        weights = weights_of(counts, [len(one) for one in anchors], objectness.device)
        drawn, found = torch.cat(positive) | torch.cat(negative), torch.cat(positive)
        return boxes, Compared(
            objectness.flatten()[drawn],
            torch.cat(labels)[drawn],
            counts,
            weights[drawn],
            offsets[found],
            torch.cat(wanted_offsets)[found],
            weights[found],
        )


def weights_of(counts: Sequence[int], candidates: Sequence[int], device: torch.device) -> Tensor:
    """Return 1 / (B times the drawn candidates of its image) for every candidate of all images, float32.

    A mean over the candidates of an image and then over images is the same for any division of a batch; torchvision's
    mean over all of them is the same number where every image has as many.

    Args:
        counts: drawn candidates of each image.
        candidates: all candidates of each image.
        device: of the result.
    """
    weights = torch.tensor([1 / (len(counts) * max(n, 1)) for n in counts], device=device)
    return weights.repeat_interleave(torch.tensor(candidates, device=device))
