"""Which sizes of images a network takes: transformers and mixers may take one only, and small images may vanish."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from mlimages_dataset.core.errors import UsageError
from mlimages_dataset.train.models import MultiLabelClassifier

if TYPE_CHECKING:
    from collections.abc import Collection

    from torch import nn

_TRIED = (64, 128, 224, 256, 299)
"""Sizes in pixels that are tried for a network that does not state its own."""
_OF_MEMORY = "DefaultCPUAllocator: can't allocate memory"


def check_sizes(network: nn.Module, sizes: Collection[int], name: str, *, advice: str) -> None:
    """Refuse sizes of images that a classifier does not take, before it is trained or applied.

    Args:
        network: of any task; only classifiers are checked, because other tasks see pictures of all sizes.
        sizes: sides of the images in pixels.
        name: the network's name, for the message.
        advice: sets the size, followed by pixels: `set image_size = `.

    Raises:
        UsageError: it does not take images of a size, or of three colours.
    """
    if not isinstance(network, MultiLabelClassifier):
        return
    for size in dict.fromkeys(sizes):
        if not (why := _fault(network, size)):
            continue
        tried = (network.usual_size,) if network.usual_size else _TRIED
        taken = next((one for one in tried if not _fault(network, one)), None)
        what = f"{name} does not take images of {size} x {size} pixels and three colours ({why})"
        raise UsageError(what, remedy="choose another network" if taken is None else f"{advice}{taken}")


@torch.inference_mode()
def _fault(network: MultiLabelClassifier, size: int) -> str:
    """Return why a network does not take an image of size x size; empty if it does."""
    training = network.training
    image = torch.zeros(1, 3, size, size, device=network.head.weight.device)
    try:
        network.eval()(image)
    except (AssertionError, IndexError, RuntimeError, TypeError, ValueError) as error:
        if isinstance(error, torch.OutOfMemoryError) or _OF_MEMORY in str(error):
            raise
        return next(iter(str(error).strip().splitlines()), type(error).__name__).rstrip(".")
    finally:
        network.train(training)
    return ""
