"""DeepLab's ASPP-L on a classification network (Chen et al. 2018, https://arxiv.org/abs/1606.00915, section 3.2).

Four 3 x 3 convolutions of several dilations lead from the fourth stage straight to the classes, and are summed; there
is neither image pooling nor a projection. Output stride 8: the third and the fourth stage are dilated by 2 and 4
instead of striding.

Legend: B images in a batch, H and W pixels, C classes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from mlimages_dataset.train.models import batch_norms
from mlimages_dataset.train.stages import N_STAGES, Stages, dilate

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from mlimages_dataset.train.models import MultiLabelClassifier
    from mlimages_dataset.train.task_options import Segmentation

OUTPUT_STRIDE = 8


class Segmented(NamedTuple):
    """What is said of the pixels of B images.

    Attributes:
        logits: shape (B, C, H / 8, W / 8).
        sizes: height and width of each image without padding, int64, shape (B, 2).
    """

    logits: Tensor
    sizes: Tensor

    def class_map(self, k: int) -> NDArray[np.uint8]:
        """Return the class of every pixel of image k, shape (height, width)."""
        height, width = self.sizes[k].tolist()
        large = at_size(self.logits[k : k + 1], (height, width))
        found: NDArray[np.uint8] = large[0].argmax(0).to(torch.uint8).cpu().numpy()
        return found


class Segmenter(nn.Module):
    """Logits of every pixel of images in [-1, 1].

    Attributes:
        input_scaling: as of `MultiLabelClassifier`.
        backbone: the classification network without its head.
        tap: makes the output of the fourth stage ready to be used.
        branches: one convolution for each dilation.
    """

    def __init__(self, classifier: MultiLabelClassifier, name: str, options: Segmentation) -> None:
        """Put ASPP-L on a classification network, whose head is left out.

        Args:
            classifier: the network, with as many classes as pixels have.
            name: of the network, for messages.
            options: of the run.

        Raises:
            UsageError: the network does not give features of its stages.
        """
        super().__init__()
        self.input_scaling = classifier.input_scaling
        self.backbone = classifier.backbone
        self._stages = (Stages(self.backbone, name),)  # in a tuple: it owns no parameters
        *_, third, fourth = self._stages[0].all
        dilate(third, 2)
        dilate(fourth, 4)
        if options.frozen_norms:
            for norm in batch_norms(self.backbone):
                norm.requires_grad_(False)
        self.tap = self._stages[0].tap(N_STAGES - 1)
        n_features = self._stages[0].channels[-1]
        self._n_classes = classifier.n_classes
        branches = [nn.Conv2d(n_features, self._n_classes, 3, padding=rate, dilation=rate) for rate in options.rates]
        for branch in branches:
            nn.init.normal_(branch.weight, std=0.01)
            assert branch.bias is not None
            nn.init.zeros_(branch.bias)
        self.branches = nn.ModuleList(branches)

    def forward(self, images: Tensor, sizes: Tensor | None = None) -> Tensor | Segmented:
        """Return logits at an eighth of the images' size, shape (B, C, H / 8, W / 8); in evaluation with the sizes.

        Args:
            images: padded at the right and at the bottom, shape (B, 3, H, W).
            sizes: height and width of each image without padding, int64, shape (B, 2); needed in evaluation only.
        """
        if self.input_scaling is not None:
            images = self.input_scaling(images)
        if self.training:
            return self._logits(images)
        assert sizes is not None
        return Segmented(self._without_padding(images, sizes), sizes)

    def _without_padding(self, images: Tensor, sizes: Tensor) -> Tensor:
        """Return the logits of images; those of one size go through the network together, without their padding.

        What the network sees of padding differs from what it sees beyond an image's border, so the classes of an image
        would depend on the others of its batch.
        """
        height, width = (-(-(side - 1) // OUTPUT_STRIDE) + 1 for side in images.shape[2:])
        logits = images.new_zeros(len(images), self._n_classes, height, width)
        for size in sizes.unique(dim=0):
            alike = (sizes == size).all(1)
            own_height, own_width = size.tolist()
            found = self._logits(images[alike, :, :own_height, :own_width])
            logits[alike, :, : found.shape[2], : found.shape[3]] = found.to(logits.dtype)
        return logits

    def _logits(self, images: Tensor) -> Tensor:
        # Logits are enlarged between the centres of their first and last cells, which needs sides of 8 k + 1.
        height, width = images.shape[2:]
        images = functional.pad(images, (0, (1 - width) % OUTPUT_STRIDE, 0, (1 - height) % OUTPUT_STRIDE))
        *_, x = self._stages[0].outputs(images)
        x = self.tap(x)
        return torch.stack([branch(x) for branch in self.branches]).sum(0)


def at_size(logits: Tensor, size: tuple[int, int]) -> Tensor:
    """Return logits of every pixel of images, float32, shape (B, C, height, width).

    A cell of the logits stands for the pixel at its corner, as the strides of a network have it: cell k for pixel 8 k.

    Args:
        logits: of images of at most 8 k + 1 pixels, shape (B, C, h, w).
        size: height and width of the images.
    """
    h, w = logits.shape[2:]
    whole = ((h - 1) * OUTPUT_STRIDE + 1, (w - 1) * OUTPUT_STRIDE + 1)
    large = functional.interpolate(logits.float(), whole, mode="bilinear", align_corners=True)
    return large[:, :, : size[0], : size[1]]
