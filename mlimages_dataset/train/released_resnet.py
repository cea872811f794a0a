"""The pre-activation ResNet-101 of the published Tencent ML-Images code and checkpoints.

It is not torchvision's network: normalisation comes before each convolution (He et al. 2016, Identity mappings in deep
residual networks), there is no max-pooling, every stage begins with stride 2, the first included, and the shortcut of a
stage's first block has a normalisation of its own. Legend: B images, H and W pixels, D channels.
"""

from __future__ import annotations

from torch import Tensor, nn

BLOCKS_OF_STAGE = (3, 4, 23, 3)
CHANNELS_OF_STAGE = (256, 512, 1024, 2048)
STEM_CHANNELS = 64
NORM_EPSILON = 1e-3
"""Section 4.1.3."""
NORM_MOMENTUM = 0.1
"""The moving average's decay of 0.9 (section 4.1.3) in torch's convention, the share of the new value."""


def convolution(n_in: int, n_out: int, size: int, stride: int = 1) -> nn.Conv2d:
    """Return a convolution without bias, padded by (size - 1) / 2 on each side, as both published paddings are."""
    return nn.Conv2d(n_in, n_out, size, stride, padding=(size - 1) // 2, bias=False)


def norm_then_relu(n_channels: int) -> tuple[nn.BatchNorm2d, nn.ReLU]:
    """Return batch normalisation with the published constants, and ReLU.

    Two modules, because `SyncBatchNorm.convert_sync_batchnorm` replaces a subclass by a plain normalisation.
    """
    return nn.BatchNorm2d(n_channels, eps=NORM_EPSILON, momentum=NORM_MOMENTUM), nn.ReLU(inplace=True)


class Bottleneck(nn.Module):
    """Three convolutions beside a shortcut, each after normalisation and ReLU.

    Attributes:
        shortcut: normalisation, ReLU and 1x1 convolution in a stage's first block; elsewhere the input itself.
        branch: 1x1 to a quarter of the channels, 3x3 with the block's stride, 1x1.
    """

    def __init__(self, n_in: int, n_out: int, stride: int, *, first: bool) -> None:
        super().__init__()
        n_inner = n_out // 4
        self.shortcut = (
            nn.Sequential(*norm_then_relu(n_in), convolution(n_in, n_out, 1, stride)) if first else nn.Identity()
        )
        self.branch = nn.Sequential(
            *norm_then_relu(n_in),
            convolution(n_in, n_inner, 1),
            *norm_then_relu(n_inner),
            convolution(n_inner, n_inner, 3, stride),
            *norm_then_relu(n_inner),
            convolution(n_inner, n_out, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output, shape (B, n_out, H / stride, W / stride)."""
        shortcut: Tensor = self.shortcut(x)
        branch: Tensor = self.branch(x)
        return shortcut + branch


def _stage(n_in: int, n_out: int, n_blocks: int) -> nn.Sequential:
    """Return one stage; its first block has stride 2."""
    first = Bottleneck(n_in, n_out, stride=2, first=True)
    return nn.Sequential(first, *(Bottleneck(n_out, n_out, stride=1, first=False) for _ in range(n_blocks - 1)))


class ReleasedResNet101(nn.Module):
    """Pooled features of images, shape (B, 2048).

    Attributes:
        n_features: 2048.
    """

    n_features = CHANNELS_OF_STAGE[-1]

    def __init__(self) -> None:
        super().__init__()
        self.stem = convolution(3, STEM_CHANNELS, 7, stride=2)
        inputs = (STEM_CHANNELS, *CHANNELS_OF_STAGE)
        self.stages = nn.Sequential(
            *(
                _stage(n_in, n_out, n_blocks)
                for n_in, n_out, n_blocks in zip(inputs, CHANNELS_OF_STAGE, BLOCKS_OF_STAGE, strict=False)
            )
        )
        self.norm, self.relu = norm_then_relu(self.n_features)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Tensor) -> Tensor:
        """Return the features of images in [-1, 1], shape (B, 3, H, W), as (B, 2048)."""
        x: Tensor = self.relu(self.norm(self.stages(self.stem(images))))
        return x.mean((2, 3))
