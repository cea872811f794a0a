"""Networks of other libraries with weights that no constant hides: statistics, scales and biases are all their own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import nn


@torch.no_grad()
def uneven(network: nn.Module, seed: int = 0) -> nn.Module:
    """Return a network for evaluation with random weights, scales, biases and running statistics."""
    generator = torch.Generator().manual_seed(seed)
    for name, value in [*network.named_parameters(), *network.named_buffers()]:
        part = name.rpartition(".")[2]
        if part == "running_var":
            value.copy_(torch.rand(value.shape, generator=generator) + 0.05)
        elif part == "running_mean":
            value.copy_(torch.randn(value.shape, generator=generator) * 0.1)
        elif value.is_floating_point() and value.ndim == 1:
            value.copy_(torch.rand(value.shape, generator=generator) * 0.4 + (0.3 if part == "weight" else -0.2))
        elif value.is_floating_point() and value.ndim > 1:
            value.copy_(torch.randn(value.shape, generator=generator) * (value[0].numel() ** -0.5))
    return network.eval()


def images(size: int, seed: int = 1) -> torch.Tensor:
    """Return two images in [-1, 1], shape (2, 3, size, size)."""
    return torch.rand((2, 3, size, size), generator=torch.Generator().manual_seed(seed)) * 2 - 1


def normalised(pixels: torch.Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> torch.Tensor:
    """Return images in [-1, 1] as torchvision's Normalize makes them of pixels in [0, 1]."""
    return ((pixels + 1) / 2 - torch.tensor(mean).reshape(3, 1, 1)) / torch.tensor(std).reshape(3, 1, 1)


IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
