"""Crop, resize, flip and rotate, compiled: a box of decoded pixels to the square that a network sees.

Neighbouring pixels are averaged with the three channels in one 64-bit number, 21 bits each: weights are whole numbers
of sum 4096, levels take at most 9 bits, and 510 * 4096 + 4096 < 2**21, so that nothing is carried from one channel to
the next. A multiplication then does three channels' work: turning takes less than half of the time of real numbers.

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
    size, n_taps = column_weights.shape
    weights = _whole(column_weights)
    left = columns.min()
    # Past the last column read, the taps' weights are zero: the line is as long as they are, and zero there.
    packed = np.zeros(columns.max() - left + n_taps, u64)
    n_read = min(pixels.shape[1] - left, packed.size)
    line = np.empty(n_read * 3, np.float32)
    levels = pixels.reshape(-1)
    half = _packed(_HALF, _HALF, _HALF)
    for y in range(size):
        line[:] = 0.5
        for k in range(row_weights.shape[1]):
            weight = np.float32(2) * row_weights[y, k]
            if weight != 0:
                at = ((rows[y] + k) * pixels.shape[1] + left) * 3
                source = levels[at : at + line.size]
                for i in range(line.size):
                    line[i] += weight * np.float32(source[i])
        # Half levels of 9 bits: the columns' weights of 12 bits leave no channel's 21.
        for i in range(n_read):
            packed[i] = _packed(np.int32(line[3 * i]), np.int32(line[3 * i + 1]), np.int32(line[3 * i + 2]))
        # Unsigned positions are not tried for a place counted from the end, which costs as much as the sums.
        for x in range(u64(size)):
            total = half + half
            place = u64(columns[x] - left)
            for k in range(u64(n_taps)):
                total += weights[x, k] * packed[place + k]
            planes[0, y, x] = np.uint8(total >> u64(13))
            planes[1, y, x] = np.uint8(total >> u64(34))
            planes[2, y, x] = np.uint8(total >> u64(55))


@compiled
def _whole(weights: NDArray[np.float32]) -> NDArray[np.uint64]:
    """Return weights as whole numbers of sum 4096 in every row; what rounding leaves goes to the next one."""
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
    """Return three numbers below 2**21 as one of 64 bits."""
    return np.uint64(red) | np.uint64(green) << np.uint64(21) | np.uint64(blue) << np.uint64(42)


@compiled
def _rotate(planes: NDArray[np.uint8], cosine: float, sine: float, rotated: NDArray[np.uint8]) -> None:
    u64 = np.uint64
    size = planes.shape[1]
    # A black frame of a pixel and more, so that neighbours need not be tried one by one.
    side = size + 3
    framed = np.zeros((side, side), u64)
    for y in range(size):
        for x in range(size):
            framed[y + 1, x + 1] = _packed(planes[0, y, x], planes[1, y, x], planes[2, y, x])
    pixels = framed.reshape(-1)
    half = _packed(_HALF, _HALF, _HALF)
    # The point of the unturned picture that comes to lie at (x, y), in the frame, as 32.32 bits; y points downwards.
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
