"""The oracle of the transforms' tests: a view of a picture, made step by step by torchvision."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as tv

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mlimages_dataset.loaders.colour import Shift
    from mlimages_dataset.loaders.transforms import View

torch.set_num_threads(1)


def as_planes(pixels: NDArray[np.uint8]) -> torch.Tensor:
    """Return pixels of shape (H, W, 3) as torchvision takes them, (3, H, W)."""
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))


def seen(pixels: NDArray[np.uint8], view: View, size: int) -> NDArray[np.uint8]:
    """Return a picture of shape (H, W, 3) in a view whose box is of whole pixels, shape (3, size, size)."""
    box = view.box
    image = tv.crop(as_planes(pixels), int(box.top), int(box.left), int(box.height), int(box.width))
    image = tv.resize(image, [size, size], antialias=True)
    if view.flip:
        image = tv.horizontal_flip(image)
    if view.degrees:
        image = tv.rotate(image, view.degrees, InterpolationMode.BILINEAR)
    if view.shift is not None:
        image = (shifted(image.float() / 255, view.shift) * 255).round().to(torch.uint8)
    planes: NDArray[np.uint8] = image.numpy()
    return planes


def shifted(image: torch.Tensor, shift: Shift) -> torch.Tensor:
    """Return an image of shifted colour; levels are whole or real, as they come."""
    image = tv.adjust_brightness(image, shift.brightness)
    image = tv.adjust_saturation(image, shift.saturation)
    image = tv.adjust_hue(image, shift.hue)
    result: torch.Tensor = tv.adjust_contrast(image, shift.contrast)
    return result


def psnr(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    """Return the peak signal-to-noise ratio of two pictures in dB."""
    error = float(np.mean((one.astype(np.float64) - other) ** 2))
    return float(10 * np.log10(255**2 / max(error, 1e-12)))
