"""Compiled colour shift: brightness, saturation, hue and contrast of a picture's planes.

Each step is torchvision's function of that name (`torchvision.transforms.v2.functional.adjust_*`), computed in float32
and rounded only at the end. Legend: S side of a picture; planes are uint8 of shape (3, S, S), red, green, blue.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mlimages_dataset.core.compiled import vectorised

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Shift:
    """A colour shift; the steps are applied in this order.

    Attributes:
        brightness: factor of all channels, 1 = unchanged.
        saturation: factor of the difference from the pixel's grey level; 1 = unchanged.
        hue: in turns of the colour circle, 0 = unchanged.
        contrast: factor of the difference from the picture's mean grey level; 1 = unchanged.
    """

    brightness: float = 1.0
    saturation: float = 1.0
    hue: float = 0.0
    contrast: float = 1.0


def shift_colour(planes: NDArray[np.uint8], shift: Shift) -> NDArray[np.uint8]:
    """Return the planes with shifted colours, uint8, shape (3, S, S)."""
    shifted = np.empty_like(planes)
    factors = (np.float32(shift.brightness), np.float32(shift.saturation), np.float32(shift.contrast))
    _shift(planes.reshape(3, -1), factors, np.float32(shift.hue % 1.0 * 6), shifted.reshape(3, -1))
    return shifted


@vectorised
def _grey(red: np.float32, green: np.float32, blue: np.float32) -> np.float32:
    """Return the luma by ITU-R BT.601, with torchvision's rounded weights."""
    return np.float32(0.2989) * red + np.float32(0.587) * green + np.float32(0.114) * blue


@vectorised
def _bounded(level: np.float32) -> np.float32:
    return min(max(level, np.float32(0)), np.float32(255))


@vectorised
def _channel(sector: np.float32, value: np.float32, chroma: np.float32) -> np.float32:
    """Return one channel of an HSV colour; `sector` is its hue angle in sixths of a turn."""
    sector = sector - np.float32(6) if sector >= np.float32(6) else sector
    return value - chroma * max(np.float32(0), min(sector, np.float32(4) - sector, np.float32(1)))


@vectorised
def _shift(
    planes: NDArray[np.uint8],
    factors: tuple[np.float32, np.float32, np.float32],
    turn: np.float32,
    shifted: NDArray[np.uint8],
) -> None:
    brightness, saturation, contrast = factors
    n_pixels = planes.shape[1]
    levels = np.empty(planes.shape, np.float32)
    total = np.float64(0)
    for i in range(n_pixels):
        red = _bounded(brightness * np.float32(planes[0, i]))
        green = _bounded(brightness * np.float32(planes[1, i]))
        blue = _bounded(brightness * np.float32(planes[2, i]))
        grey = (np.float32(1) - saturation) * _grey(red, green, blue)
        red = _bounded(saturation * red + grey)
        green = _bounded(saturation * green + grey)
        blue = _bounded(saturation * blue + grey)
        value = max(red, green, blue)
        chroma = value - min(red, green, blue)
        divisor = max(chroma, np.float32(1e-6))
        if value == red:
            hue = (green - blue) / divisor
        elif value == green:
            hue = np.float32(2) + (blue - red) / divisor
        else:
            hue = np.float32(4) + (red - green) / divisor
        hue += turn
        hue = hue + np.float32(6) if hue < np.float32(0) else hue
        hue = hue - np.float32(6) if hue >= np.float32(6) else hue
        red = _channel(hue + np.float32(5), value, chroma)
        green = _channel(hue + np.float32(3), value, chroma)
        blue = _channel(hue + np.float32(1), value, chroma)
        levels[0, i], levels[1, i], levels[2, i] = red, green, blue
        total += _grey(red, green, blue)
    offset = np.float32((1.0 - contrast) * total / max(n_pixels, 1))
    for c in range(3):
        for i in range(n_pixels):
            shifted[c, i] = np.uint8(np.int32(_bounded(contrast * levels[c, i] + offset) + np.float32(0.5)))
