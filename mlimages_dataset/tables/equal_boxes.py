"""Objects of a `regions` table: equal boxes of an image are one, since Open Images repeats a box for each label."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

SIDES = ("xmin", "ymin", "xmax", "ymax")


def objects_of(image: NDArray[np.int64], sides: NDArray[np.float32]) -> NDArray[np.int64]:
    """Return the number of each row's object, ascending by image, then by xmin, ymin, xmax and ymax, shape (R,).

    Args:
        image: number of each row's image, shape (R,).
        sides: in the order of `SIDES`, shape (4, R).
    """
    order = np.lexsort((*sides[::-1], image))
    new = np.ones(len(order), np.bool_)
    new[1:] = (np.diff(image[order]) != 0) | (sides[:, order[1:]] != sides[:, order[:-1]]).any(axis=0)
    number = np.empty(len(order), np.int64)
    number[order] = np.cumsum(new) - 1
    return number
