"""Crop, resize, flip and rotate, compiled: a box of decoded pixels to the square that a network sees.

Legend: S side of the square, H/W pixels of the decoded picture; planes are uint8 of shape (3, S, S).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mlimages_dataset.augment.compiled import compiled

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle of a picture, in pixels from its top left corner; its edges may lie inside pixels."""

    top: float
    left: float
    height: float
    width: float

    def scaled(self, factor: float) -> Box:
        """Return the same rectangle of a picture that is `factor` times as large."""
        return Box(self.top * factor, self.left * factor, self.height * factor, self.width * factor)


def resize(pixels: NDArray[np.uint8], box: Box, size: int, *, limits: Box, flip: bool = False) -> NDArray[np.uint8]:
    """Return planes of `box` resized to size x size, mirrored left to right if `flip`.

    Bilinear with antialiasing: a triangle filter as wide as the reduction, as Pillow's BILINEAR and torchvision's
    `antialias=True`. Unlike theirs, what lies between the two passes is not rounded: they differ by one at most.

    Args:
        pixels: shape (H, W, 3).
        box: what becomes the square.
        size: S.
        limits: what the filter may read: the box, if it was cut out before; the picture, if not.
        flip: whether to mirror.
    """
    n_rows, n_columns, _ = pixels.shape
    rows, row_weights = _taps(box.top, box.height, limits.top, limits.height, n_rows, size)
    columns, column_weights = _taps(box.left, box.width, limits.left, limits.width, n_columns, size)
    if flip:
        columns, column_weights = columns[::-1].copy(), column_weights[::-1].copy()
    planes = np.empty((3, size, size), np.uint8)
    _resize(pixels, rows, row_weights, columns, column_weights, planes)
    return planes


def rotate(planes: NDArray[np.uint8], degrees: float) -> NDArray[np.uint8]:
    """Return planes turned anticlockwise about their centre, bilinear, with black where nothing was."""
    rotated = np.empty_like(planes)
    _rotate(planes, math.cos(math.radians(degrees)), math.sin(math.radians(degrees)), rotated)
    return rotated


@compiled
def _taps(  # noqa: PLR0917 - compiled functions take no keywords cheaply
    start: float, length: float, low: float, extent: float, available: int, size: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return for each of `size` outputs the first input it reads, and the weights of that one and the next."""
    scale = length / size
    support = max(scale, 1.0)
    n_taps = math.ceil(support) * 2 + 1
    lowest = max(math.floor(low), 0)
    highest = min(math.ceil(low + extent), available)
    firsts = np.empty(size, np.int64)
    weights = np.zeros((size, n_taps), np.float32)
    for i in range(size):
        centre = start + (i + 0.5) * scale
        first = min(max(math.floor(centre - support + 0.5), lowest), highest - 1)
        last = max(min(math.floor(centre + support + 0.5), highest), first + 1)
        total = 0.0
        for k in range(last - first):
            weight = max(1.0 - abs(first + k - centre + 0.5) / support, 0.0)
            weights[i, k] = weight
            total += weight
        if total <= 0.0:
            weights[i, 0] = total = 1.0
        for k in range(last - first):
            weights[i, k] /= total
        firsts[i] = first
    return firsts, weights


@compiled
def _resize(  # noqa: PLR0917
    pixels: NDArray[np.uint8],
    rows: NDArray[np.int64],
    row_weights: NDArray[np.float32],
    columns: NDArray[np.int64],
    column_weights: NDArray[np.float32],
    planes: NDArray[np.uint8],
) -> None:
    size = planes.shape[1]
    left = columns.min()
    # Past the last column read, the taps' weights are zero: the row is as long as they are, and zero there.
    line = np.zeros((columns.max() - left + column_weights.shape[1]) * 3, np.float32)
    n_read = min(pixels.shape[1] * 3 - left * 3, line.size)
    for y in range(size):
        line[:n_read] = 0
        for k in range(row_weights.shape[1]):
            weight = row_weights[y, k]
            if weight != 0.0:
                source = pixels[rows[y] + k].reshape(-1)[left * 3 : left * 3 + n_read]
                for i in range(n_read):
                    line[i] += weight * np.float32(source[i])
        for x in range(size):
            red = green = blue = np.float32(0.5)
            at = (columns[x] - left) * 3
            for k in range(column_weights.shape[1]):
                weight = column_weights[x, k]
                red += weight * line[at]
                green += weight * line[at + 1]
                blue += weight * line[at + 2]
                at += 3
            planes[0, y, x] = np.uint8(np.int32(red))
            planes[1, y, x] = np.uint8(np.int32(green))
            planes[2, y, x] = np.uint8(np.int32(blue))


@compiled
def _rotate(planes: NDArray[np.uint8], cosine: float, sine: float, rotated: NDArray[np.uint8]) -> None:
    size = planes.shape[1]
    centre = (size - 1) / 2
    for y in range(size):
        for x in range(size):
            # The point of the unturned picture that comes to lie here; y points downwards.
            from_x = centre + cosine * (x - centre) - sine * (y - centre)
            from_y = centre + sine * (x - centre) + cosine * (y - centre)
            x0, y0 = math.floor(from_x), math.floor(from_y)
            fx, fy = np.float32(from_x - x0), np.float32(from_y - y0)
            for c in range(3):
                total = np.float32(0.5)
                for dy in range(2):
                    for dx in range(2):
                        if 0 <= y0 + dy < size and 0 <= x0 + dx < size:
                            weight = (fy if dy else 1 - fy) * (fx if dx else 1 - fx)
                            total += weight * np.float32(planes[c, y0 + dy, x0 + dx])
                rotated[c, y, x] = np.uint8(np.int32(total))
