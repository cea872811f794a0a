"""The initial bias of a new head: the log-odds of the classes' frequencies.

Legend: C classes, N images, n images of a class.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from mlimages_dataset.core.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor


def prior_bias(class_counts: Tensor, n_images: int) -> Tensor:
    """Return the head's initial bias, the log-odds of each class's prior, float32, shape (C,).

    With it the network starts from the classes' frequencies and not from one half (Lin et al. 2017, section 4.1). The
    empirical logit log((n + 1/2) / (N - n + 1/2)) is finite for classes that no image or every image has.

    Args:
        class_counts: training images with each class, shape (C,).
        n_images: training images.

    Raises:
        UsageError: a class has more images than there are.
    """
    counts = class_counts.to(torch.float64)
    if bool((counts > n_images).any() | (counts < 0).any()):
        raise UsageError(
            f"a class has {int(counts.max())} of {n_images} images", remedy="count classes and images on the same table"
        )
    return ((counts + 0.5) / (n_images - counts + 0.5)).log().to(torch.float32)
