"""True boxes of a batch for a detector, and the draws of the boxes that it learns from.

Legend: B images, K true boxes, C classes, A candidates (anchors or proposals) of an image.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class TrueBoxes:
    """The true boxes of one image.

    Attributes:
        sides: xmin, ymin, xmax, ymax in pixels, float32, shape (K, 4).
        labels: whether a box has each class, bool, shape (K, C).
    """

    sides: Tensor
    labels: Tensor


class SeededSampler:
    """Draws the candidates that an image learns from, by a seed of the image.

    So the draws depend neither on the number of ranks nor on what else is in the batch. Called as torchvision's
    `BalancedPositiveNegativeSampler`.

    Attributes:
        seeds: of the images of the next call, int64, shape (B,).
    """

    def __init__(self, n: int, positive_share: float) -> None:
        """Draw n candidates of each image, at most `positive_share` of them positive."""
        self._n = n
        self._most_positive = int(n * positive_share)
        self.seeds: list[int] = []

    def __call__(self, labels: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Return which candidates of each image are drawn, as masks: the positive and the negative ones.

        Args:
            labels: for each image: above 0 positive, 0 negative, below 0 neither, shape (A,).
        """
        drawn = [self._drawn(of_image, seed) for of_image, seed in zip(labels, self.seeds, strict=True)]
        return [positive for positive, _ in drawn], [negative for _, negative in drawn]

    def _drawn(self, labels: Tensor, seed: int) -> tuple[Tensor, Tensor]:
        generator = torch.Generator(labels.device).manual_seed(seed)
        positive, negative = (labels > 0).nonzero()[:, 0], (labels == 0).nonzero()[:, 0]
        n_positive = min(len(positive), self._most_positive)
        n_negative = min(len(negative), self._n - n_positive)
        masks = []
        for found, n in ((positive, n_positive), (negative, n_negative)):
            mask = torch.zeros(len(labels), dtype=torch.bool, device=labels.device)
            mask[found[torch.randperm(len(found), generator=generator, device=labels.device)[:n]]] = True
            masks.append(mask)
        return masks[0], masks[1]
