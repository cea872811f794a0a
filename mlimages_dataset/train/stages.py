"""The stages of a residual network, for tasks that take features from between them.

torchvision's ResNet and ResNeXt and the published pre-activation network have a stem and four stages, after which an
image is 4, 8, 16 and 32 times smaller. The published network hands on sums that are not normalised, so whatever takes
them needs a normalisation of its own; it begins as a copy of the one that the next stage applies to the same sums.

Legend: B images in a batch, H and W pixels of them, D channels.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

from torch import nn
from torchvision.models import ResNet

from mlimages_dataset.core.errors import UsageError
from mlimages_dataset.train.released_resnet import CHANNELS_OF_STAGE, ReleasedResNet101

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

N_STAGES = 4


class Stages:
    """A network's stages. It owns no parameters: the network does, and it may be part of a larger one.

    Args:
        network: the network; with its final pooling, which is not used.

    Raises:
        UsageError: the network has no such stages.
    """

    def __init__(self, network: nn.Module, name: str) -> None:
        if not isinstance(network, ResNet | ReleasedResNet101):
            raise UsageError(
                f"{name} does not give features of its stages",
                remedy="use a ResNet or ResNeXt of torchvision, or resnet101_released",
            )
        self._network = network

    @property
    def all(self) -> tuple[nn.Module, ...]:
        """The four stages."""
        network = self._network
        if isinstance(network, ReleasedResNet101):
            return tuple(network.stages)
        return network.layer1, network.layer2, network.layer3, network.layer4

    @property
    def channels(self) -> tuple[int, ...]:
        """D of the output of each stage."""
        if isinstance(self._network, ReleasedResNet101):
            return CHANNELS_OF_STAGE
        return tuple(_last_width(stage) for stage in self.all)

    def outputs(self, images: Tensor, n: int = N_STAGES) -> Iterator[Tensor]:
        """Yield the output of each of the first n stages, shape (B, D, H / 4, W / 4) and so on."""
        network = self._network
        if isinstance(network, ReleasedResNet101):
            x: Tensor = network.stem(images)
        else:
            x = network.maxpool(network.relu(network.bn1(network.conv1(images))))
        for stage in self.all[:n]:
            x = stage(x)
            yield x

    def last(self, x: Tensor) -> Tensor:
        """Return the pooled features of the fourth stage, shape (B, D), from the output of the third."""
        network = self._network
        x = self.all[-1](x)
        if isinstance(network, ReleasedResNet101):
            x = network.relu(network.norm(x))
        return x.mean((2, 3))

    def tap(self, stage: int) -> nn.Module:
        """Return what makes the output of a stage, 0 to 3, ready to be used: a normalisation, or nothing."""
        network = self._network
        if not isinstance(network, ReleasedResNet101):
            return nn.Identity()
        if stage == N_STAGES - 1:
            return nn.Sequential(network.norm, nn.ReLU())  # the network's own, which nothing else uses then
        after = next(module for module in network.stages[stage + 1].modules() if isinstance(module, nn.BatchNorm2d))
        return nn.Sequential(copy.deepcopy(after), nn.ReLU())


def _last_width(stage: nn.Module) -> int:
    """Return D of a stage of torchvision's: that of its last normalisation."""
    norms = [module for module in stage.modules() if isinstance(module, nn.BatchNorm2d)]
    return norms[-1].num_features


def without_stride(stage: nn.Module) -> None:
    """Let a stage keep the size of its input."""
    for module in stage.modules():
        if isinstance(module, nn.Conv2d) and module.stride == (2, 2):
            module.stride = (1, 1)


def dilate(stage: nn.Module, rate: int) -> None:
    """Let a stage keep the size of its input, and spread its kernels instead.

    Its first block has half of the rate, since its input comes from the stage before (as torchvision's
    `replace_stride_with_dilation`).
    """
    without_stride(stage)
    for number, block in enumerate(stage.children()):
        at = rate if number else max(rate // 2, 1)
        for module in block.modules():
            if isinstance(module, nn.Conv2d) and module.kernel_size == (3, 3):
                module.dilation = module.padding = (at, at)
