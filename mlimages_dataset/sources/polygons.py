"""Polygons as masks of run lengths: the pixels that COCO's own tools give them.

https://github.com/cocodataset/cocoapi/blob/master/common/maskApi.c (rleFrPoly, rleMerge): edges are drawn on a grid
five times as fine; down the middle of each column of pixels, each crossing of the border begins or ends a run.

Legend: K points of a polygon; M points of the fine grid along its border; B borders of runs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mlimages_dataset.core.compiled import compiled
from mlimages_dataset.sources.rle import mask_of_counts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_SCALE = 5
_LEAST_POINTS = 3
_NUMBERS = {int, float}
"""The types of numbers in JSON; `bool` is none."""
_MOST_BORDER = 1 << 22
"""Points of a border that are drawn: one of a picture of 100,000 pixels a side has fewer."""
_MOST_SIDE = 1 << 20


@dataclass(frozen=True, slots=True)
class Polygons:
    """The outline of a thing in an image: all that lies in any of some polygons.

    Attributes:
        rings: the points of each polygon in pixels from the image's left upper corner: x, y, x, y, ...
        width: of the image.
        height: of the image.
    """

    rings: tuple[tuple[float, ...], ...]
    width: float
    height: float

    def mask(self) -> str:
        """Return the mask as `rle.mask_text` does; empty where the polygons or the image's size are none."""
        sides = (self.height, self.width)
        if not (self.rings and all(0 < side <= _MOST_SIDE and float(side).is_integer() for side in sides)):
            return ""
        height, width = map(int, sides)
        runs = [_runs(points, height, width) for ring in self.rings if (points := _points(ring)) is not None]
        if len(runs) < len(self.rings):
            return ""
        return mask_of_counts(_counts(np.concatenate(runs), height * width), height, width)


def rings_of(segmentation: object) -> tuple[tuple[float, ...], ...]:
    """Return the polygons that COCO's `segmentation` lists; none where one of them is no list of numbers."""
    if not isinstance(segmentation, list):
        return ()
    is_one = bool(segmentation) and not isinstance(segmentation[0], list)  # as some tools write it
    rings = [segmentation] if is_one else segmentation
    good = all(isinstance(ring, list) and set(map(type, ring)) <= _NUMBERS for ring in rings)
    return tuple(map(tuple, rings)) if good else ()


def _points(ring: Sequence[float]) -> NDArray[np.float64] | None:
    """Return the points of a polygon, float64, shape (K, 2); None where it has no area or would be drawn for ever."""
    if len(ring) % 2 or len(ring) < 2 * _LEAST_POINTS:
        return None
    try:
        points = np.array(ring, np.float64).reshape(-1, 2)
    except OverflowError:  # an integer of hundreds of digits
        return None
    edges = np.diff(points, axis=0, append=points[:1])
    length = np.abs(edges).max(axis=1).sum() * _SCALE
    return points if length < _MOST_BORDER and np.abs(points).max() < _MOST_BORDER else None  # NaN is neither


def _runs(points: NDArray[np.float64], height: int, width: int) -> NDArray[np.int64]:
    """Return begin and end of each run of pixels in a polygon, down the columns, int64, shape (B / 2, 2).

    Args:
        points: of the polygon, shape (K, 2).
        height: of the image.
        width: of the image.
    """
    borders = np.sort(_borders(np.trunc(points * _SCALE + 0.5).astype(np.int64), height, width))
    if len(borders) % 2:  # a border that leaves the image ends with it
        borders = np.append(borders, height * width)
    return borders.reshape(-1, 2)


@compiled
def _borders(corners: NDArray[np.int64], height: int, width: int) -> NDArray[np.int64]:
    """Return the pixels at which columns begin or end to be in a polygon, by their places down the columns, shape (B,).

    Args:
        corners: of the polygon on the fine grid, shape (K, 2).
        height: of the image.
        width: of the image.
    """
    found = np.empty(np.abs(corners[1:, 0] - corners[:-1, 0]).sum() + abs(corners[0, 0] - corners[-1, 0]), np.int64)
    n = 0
    last_x, last_y = corners[0]
    for k in range(len(corners)):
        begin, end = corners[k], corners[(k + 1) % len(corners)]
        main = 0 if abs(end[0] - begin[0]) >= abs(end[1] - begin[1]) else 1
        turned = begin[main] > end[main]  # an edge is drawn upwards along the side that is longer
        low, high = (end, begin) if turned else (begin, end)
        steps = high[main] - low[main]
        rise = (high[1 - main] - low[1 - main]) / steps if steps else 0.0
        for step in range(steps + 1):
            at = steps - step if turned else step
            along, beside = low[main] + at, int(low[1 - main] + rise * at + 0.5)
            x, y = (along, beside) if main == 0 else (beside, along)
            if x != last_x:
                column = ((x if x < last_x else x - 1) + 0.5) / _SCALE - 0.5
                row = (min(y, last_y) + 0.5) / _SCALE - 0.5
                if column == np.floor(column) and 0 <= column <= width - 1:
                    found[n] = int(column) * height + int(np.ceil(min(max(row, 0.0), float(height))))
                    n += 1
            last_x, last_y = x, y
    return found[:n]


def _counts(runs: NDArray[np.int64], pixels: int) -> NDArray[np.int64]:
    """Return the run lengths of all that lies in any of some runs, zeros first.

    Args:
        runs: begin and end of each, shape (B / 2, 2); they may overlap.
        pixels: of the image.
    """
    begins, ends = np.sort(runs[runs[:, 0] < runs[:, 1]], axis=0).T
    return _joined(begins, ends, pixels)


@compiled
def _joined(begins: NDArray[np.int64], ends: NDArray[np.int64], pixels: int) -> NDArray[np.int64]:
    """Return `_counts` of runs whose begins and ends are each in ascending order."""
    counts = np.empty(2 * len(begins) + 1, np.int64)
    n = last = begin = 0
    for k in range(len(begins)):
        # The k-th begin opens a run of its own if k runs ended before it: touching ones are one.
        if k == 0 or begins[k] > ends[k - 1]:
            if k > 0:
                last = ends[k - 1]
                counts[n] = last - begin
                n += 1
            begin = begins[k]
            counts[n] = begin - last
            n += 1
    if n:
        last = ends[-1]
        counts[n] = last - begin
        n += 1
    if pixels > last:
        counts[n] = pixels - last
        n += 1
    return counts[:n]
