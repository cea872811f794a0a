"""Masks as COCO writes them: run lengths down the columns, as a list or as the text that its own tools make.

https://github.com/cocodataset/cocoapi/blob/master/common/maskApi.c (rleToString)
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from mlimages_dataset.core.compiled import compiled

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

_MOST_PIXELS = 1 << 62


def mask_text(segmentation: Mapping[str, Any]) -> str:
    """Return a mask of run lengths as JSON, its counts in COCO's compressed form; empty for what is no such mask."""
    size, counts = segmentation.get("size"), segmentation.get("counts")
    if not (isinstance(size, list) and len(size) == 2 and all(map(_is_count, size))):  # noqa: PLR2004 - height, width
        return ""
    if isinstance(counts, list) and all(map(_is_count, counts)):
        is_whole = sum(counts) == size[0] * size[1] < _MOST_PIXELS
        counts = compressed(np.array([int(count) for count in counts], np.int64)) if is_whole else ""
    if not isinstance(counts, str) or not counts:
        return ""
    return _text(counts, int(size[0]), int(size[1]))


def mask_of_counts(counts: NDArray[np.int64], height: int, width: int) -> str:
    """Return a mask of run lengths as `mask_text` does."""
    return _text(compressed(counts), height, width)


def _text(counts: str, height: int, width: int) -> str:
    return json.dumps({"size": [height, width], "counts": counts}, separators=(",", ":"))


def _is_count(value: object) -> bool:
    whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
    return whole and not isinstance(value, bool) and value >= 0  # type: ignore[operator]  # a number


def compressed(counts: NDArray[np.int64]) -> str:
    """Return run lengths as COCO's text: from the fourth on the difference to the one two before, six bits a sign."""
    return bytes(_signs(counts)).decode("ascii")


@compiled
def _signs(counts: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Return the signs of `compressed`: of 64 bits there are 13 at most."""
    signs = np.empty(13 * len(counts), np.uint8)
    n = 0
    for at in range(len(counts)):
        rest = counts[at] - (counts[at - 2] if at > 2 else 0)  # noqa: PLR2004 - as in maskApi.c
        more = True
        while more:
            bits = rest & 0x1F
            rest >>= 5
            more = rest != (-1 if bits & 0x10 else 0)
            signs[n] = 48 + (bits | (0x20 if more else 0))
            n += 1
    return signs[:n]
