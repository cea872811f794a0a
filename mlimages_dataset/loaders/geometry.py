"""Compiled crop, resize, flip and rotation: from a box of decoded pixels to the input of a network.

Weighted sums of pixels are computed with the three channels in one 64-bit integer, 21 bits each. Weights are integers
with sum 4096 and levels have at most 9 bits, so 510 * 4096 + 4096 < 2**21 and nothing carries from one channel into the
next. One multiplication then does the work of three: a rotation takes less than half of the time of floating point.

Legend: S side of the square, H/W pixels of the decoded picture; planes are uint8 of shape (3, S, S).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from mlimages_dataset.core.compiled import compiled, vectorised

if TYPE_CHECKING:
    from numpy.typing import NDArray

_Whole: TypeAlias = int | np.integer[Any]
_ONE = 4096
_HALF = _ONE // 2


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle in a picture, in pixels from the top left corner; its edges may lie inside pixels."""

    top: float
    left: float
    height: float
    width: float

    def scaled(self, factor: float) -> Box:
        """Return the same rectangle in the picture scaled by `factor`."""
        return Box(self.top * factor, self.left * factor, self.height * factor, self.width * factor)

    def moved(self, down: float, right: float) -> Box:
        """Return the same rectangle, moved by so many pixels."""
        return Box(self.top + down, self.left + right, self.height, self.width)


def resize(
    pixels: NDArray[np.uint8], box: Box, size: int | tuple[int, int], *, limits: Box, flip: bool = False
) -> NDArray[np.uint8]:
    """Return a resized box, uint8, shape (3, S, S), or (3, height, width) of another size.

    Bilinear with antialiasing: a triangle filter as wide as the reduction, as Pillow's BILINEAR and torchvision's
    `antialias=True`. They round between the two passes, which makes a difference of at most one level.

    Args:
        pixels: shape (H, W, 3).
        box: the part of the picture that becomes the square.
        size: S, the side of a square; or height and width.
        limits: the pixels that the filter may use: those of the box, or of the whole picture.
        flip: exchange left and right.
    """
    n_rows, n_columns, _ = pixels.shape
    height, width = size if isinstance(size, tuple) else (size, size)
    rows, row_weights = _taps(box.top, box.height, limits.top, limits.height, n_rows, height)
    columns, column_weights = _taps(box.left, box.width, limits.left, limits.width, n_columns, width)
    if flip:
        columns, column_weights = columns[::-1].copy(), column_weights[::-1].copy()
    planes = np.empty((3, height, width), np.uint8)
    _resize(pixels, rows, row_weights, columns, column_weights, planes)
    return planes


def rotate(planes: NDArray[np.uint8], degrees: float) -> NDArray[np.uint8]:
    """Return planes rotated anticlockwise about the centre, with bilinear interpolation and black corners."""
    rotated = np.empty_like(planes)
    _rotate(planes, math.cos(math.radians(degrees)), math.sin(math.radians(degrees)), rotated)
    return rotated


@compiled
def _taps(  # noqa: PLR0917 - compiled functions take no keywords cheaply
    start: float, length: float, low: float, extent: float, available: int, size: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return the first input of each of `size` outputs, and the weights of that input and the following ones."""
    scale = length / size
    support = max(scale, 1.0)
    n_taps = math.ceil(2 * support)
    lowest = max(math.floor(low), 0)
    highest = min(math.ceil(low + extent), available)
    firsts = np.empty(size, np.int64)
    weights = np.zeros((size, n_taps), np.float32)
    for i in range(size):
        centre = start + (i + 0.5) * scale - 0.5
        first = min(max(math.floor(centre - support) + 1, lowest), highest - 1)
        last = min(first + n_taps, highest)
        total = 0.0
        for k in range(last - first):
            weights[i, k] = max(1.0 - abs(first + k - centre) / support, 0.0)
            total += weights[i, k]
        if total > 0:
            weights[i] /= total
        else:
            weights[i, 0] = 1.0
        firsts[i] = first
    return firsts, weights


@vectorised
def _resize(  # noqa: PLR0917
    pixels: NDArray[np.uint8],
    rows: NDArray[np.int64],
    row_weights: NDArray[np.float32],
    columns: NDArray[np.int64],
    column_weights: NDArray[np.float32],
    planes: NDArray[np.uint8],
) -> None:
    u64 = np.uint64
    width, n_taps = column_weights.shape
    weights = _whole(column_weights)
    left = columns.min()
    # Weights beyond the last column are zero: the line is as long as the filter and zero there.
    packed = np.zeros(columns.max() - left + n_taps, u64)
    n_read = min(pixels.shape[1] - left, packed.size)
    line = np.empty(n_read * 3, np.float32)
    levels = pixels.reshape(-1)
    half = _packed(_HALF, _HALF, _HALF)
    for y in range(len(rows)):
        line[:] = 0.5
        for k in range(row_weights.shape[1]):
            weight = np.float32(2) * row_weights[y, k]
            if weight != 0:
                at = ((rows[y] + k) * pixels.shape[1] + left) * 3
                source = levels[at : at + line.size]
                for i in range(line.size):
                    line[i] += weight * np.float32(source[i])
        # Half levels have 9 bits: with 12 bits of column weights a channel stays within 21 bits.
        for i in range(n_read):
            packed[i] = _packed(np.int32(line[3 * i]), np.int32(line[3 * i + 1]), np.int32(line[3 * i + 2]))
        # Unsigned indices avoid the check for negative ones, which takes as long as the sums.
        for x in range(u64(width)):
            total = half + half
            place = u64(columns[x] - left)
            for k in range(u64(n_taps)):
                total += weights[x, k] * packed[place + k]
            planes[0, y, x] = np.uint8(total >> u64(13))
            planes[1, y, x] = np.uint8(total >> u64(34))
            planes[2, y, x] = np.uint8(total >> u64(55))


@compiled
def _whole(weights: NDArray[np.float32]) -> NDArray[np.uint64]:
    """Return weights as integers with sum 4096 per row; each rounding error is added to the next weight."""
    whole = np.empty(weights.shape, np.uint64)
    for x in range(len(weights)):
        exact, given = 0.0, 0
        for k in range(weights.shape[1]):
            exact += weights[x, k] * _ONE
            whole[x, k] = round(exact) - given
            given += whole[x, k]
    return whole


@compiled
def _packed(red: _Whole, green: _Whole, blue: _Whole) -> np.uint64:
    """Return three integers below 2**21 packed into 64 bits."""
    return np.uint64(red) | np.uint64(green) << np.uint64(21) | np.uint64(blue) << np.uint64(42)


@compiled
def _rotate(planes: NDArray[np.uint8], cosine: float, sine: float, rotated: NDArray[np.uint8]) -> None:
    u64 = np.uint64
    size = planes.shape[1]
    # A black frame of at least one pixel, so that the bounds of neighbours need no checks.
    side = size + 3
    framed = np.zeros((side, side), u64)
    for y in range(size):
        for x in range(size):
            framed[y + 1, x + 1] = _packed(planes[0, y, x], planes[1, y, x], planes[2, y, x])
    pixels = framed.reshape(-1)
    half = _packed(_HALF, _HALF, _HALF)
    # The point of the original that moves to (x, y), in the frame, as 32.32 fixed point; y points downwards.
    centre, one = (size - 1) / 2, float(1 << 32)
    outside: int = (size + 1) << 32
    for y in range(size):
        from_x = int((1 + centre - cosine * centre - sine * (y - centre)) * one)
        from_y = int((1 + centre - sine * centre + cosine * (y - centre)) * one)
        for x in range(u64(size)):
            in_x, in_y = min(max(from_x, 0), outside), min(max(from_y, 0), outside)
            at = u64(in_y >> 32) * u64(side) + u64(in_x >> 32)
            right, below = u64(in_x >> 20) & u64(_ONE - 1), u64(in_y >> 20) & u64(_ONE - 1)
            both = (right * below + u64(_HALF)) >> u64(12)
            total = half + (u64(_ONE) + both - right - below) * pixels[at]
            total += (right - both) * pixels[at + u64(1)]
            total += (below - both) * pixels[at + u64(side)]
            total += both * pixels[at + u64(side + 1)]
            rotated[0, y, x] = np.uint8(total >> u64(12))
            rotated[1, y, x] = np.uint8(total >> u64(33))
            rotated[2, y, x] = np.uint8(total >> u64(54))
            from_x += int(cosine * one)
            from_y += int(sine * one)
