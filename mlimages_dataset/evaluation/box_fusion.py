"""One set of boxes from those of several detectors, or of one at several sizes of the pictures.

* Weighted box fusion (Solovyev et al. 2021, https://arxiv.org/abs/1910.13302, section 3): boxes of one object become
  their mean, weighted by score; its score is lower the fewer of the detectors found the object.
* Suppression: of boxes that overlap, the surest stays as it is.

Peng et al. 2020 (5.6) ensemble three networks and do not say how.

Legend: T tables, D boxes of all of them.
"""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mlimages_dataset.core.compiled import compiled
from mlimages_dataset.core.errors import UsageError
from mlimages_dataset.evaluation.detection import nearest
from mlimages_dataset.tables.confidences import of_a_model
from mlimages_dataset.tables.equal_boxes import SIDES
from mlimages_dataset.tables.schemas import REGION_FLAGS, REGIONS, Origin

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


class FusionMethod(enum.Enum):
    """What becomes of boxes of one class that overlap."""

    WEIGHTED = "weighted"
    """Their mean, weighted by score."""
    SUPPRESSION = "suppression"
    """The surest of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fusion:
    """How boxes are put together.

    Attributes:
        method: what becomes of boxes that overlap.
        overlap: boxes of a class are of one object if their intersection over union is above this; 0.55 is that of
            Solovyev et al.
        weights: of the tables; empty for equal ones. Only their ratios matter.
        most: boxes kept of an image, the surest; 0 for all.
    """

    method: FusionMethod = FusionMethod.WEIGHTED
    overlap: float = 0.55
    weights: tuple[float, ...] = ()
    most: int = 0

    def __post_init__(self) -> None:
        """Check every field.

        Raises:
            UsageError: the overlap is not in 0..1, a weight is not above 0, or `most` is below 0.
        """
        if not 0 <= self.overlap <= 1:
            raise UsageError(f"an overlap of {self.overlap}", remedy="give a share from 0 to 1")
        for weight in self.weights:
            if not (math.isfinite(weight) and weight > 0):
                raise UsageError(f"a weight of {weight}", remedy="give weights above 0")
        if self.most < 0:
            raise UsageError(f"{self.most} boxes of an image", remedy="give a number above 0, or 0 for all")

    def of(self, n_tables: int) -> NDArray[np.float64]:
        """Return the weight of each table, shape (T,): their mean is 1, or for suppression the largest.

        Raises:
            UsageError: there are not as many weights as tables.
        """
        weights = np.array(self.weights or (1.0,) * n_tables)
        if len(weights) != n_tables:
            raise UsageError(f"{len(weights)} weights for {n_tables} tables", remedy="give one weight for each table")
        return np.asarray(weights / (weights.mean() if self.method is FusionMethod.WEIGHTED else weights.max()))


def fused(tables: Sequence[pa.Table], fusion: Fusion, *, source: str) -> pa.Table:
    """Return one `regions` table from several of the same pictures, the rows of an image by falling score.

    Args:
        tables: `regions` tables of detectors, in any order of rows; a detector whose table has no row of an image found
            nothing in it.
        fusion: how.
        source: value of the column `source`.

    Raises:
        UsageError: there is no table, or not as many weights as tables.
    """
    if not tables:
        raise UsageError("no table", remedy="name tables of `predict`")
    weights = fusion.of(len(tables))
    rows = pa.concat_tables([table.select(_READ) for table in tables]).combine_chunks()
    names = pc.unique(rows["image_id"])
    names = names.take(pc.sort_indices(names))
    image = pc.index_in(rows["image_id"], names).to_numpy().astype(np.int64)
    label = rows["class_index"].to_numpy().astype(np.int64)
    of_table = np.repeat(weights, [len(table) for table in tables])
    score = rows["confidence"].to_numpy().astype(np.float64) * of_table
    sides = np.stack([rows[side].to_numpy() for side in SIDES], axis=1).astype(np.float64)
    order = np.lexsort((*sides.T[::-1], -score, label, image))  # of equal scores, by the sides: not by the table
    image, label, score, sides = image[order], label[order], score[order], sides[order]
    group = np.flatnonzero(np.diff(image, prepend=-1).astype(bool) | np.diff(label, prepend=-1).astype(bool))
    weighted = fusion.method is FusionMethod.WEIGHTED
    boxes, total, count = _put_together(sides, score, np.append(group, len(order)), fusion.overlap, weighted)
    made = np.flatnonzero(count)
    n_tables = float(len(tables))
    found = total[made] / np.maximum(count[made], n_tables) if weighted else total[made]
    kept = np.lexsort((label[made], -found, image[made]))
    kept = kept[_rank_in(image[made][kept]) < fusion.most] if fusion.most else kept
    return _table(names, image[made][kept], label[made][kept], boxes[made][kept], found[kept], source)


_READ = ("image_id", "class_index", *SIDES, "confidence")


def _rank_in(groups: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the place of each row among those of its group, from 0; groups ascend."""
    starts = np.searchsorted(groups, groups)
    return np.arange(len(groups)) - starts


def _table(  # noqa: PLR0917 - columns in their order
    names: pa.StringArray,
    image: NDArray[np.int64],
    label: NDArray[np.int64],
    sides: NDArray[np.float64],
    score: NDArray[np.float64],
    source: str,
) -> pa.Table:
    n = len(image)
    columns = {
        "image_id": names.take(pa.array(image)),
        "source": pa.repeat(source, n),
        "class_index": label.astype(np.int32),
        **{side: sides[:, k].astype(np.float32) for k, side in enumerate(SIDES)},
        "confidence": of_a_model(score),
        "origin": np.full(n, Origin.MODEL_PREDICTION, np.uint8),
        **{flag: np.zeros(n, np.bool_) for flag in REGION_FLAGS},
        "mask": pa.repeat("", n),
    }
    return pa.table(columns, schema=REGIONS.arrow)


@compiled
def _put_together(
    sides: NDArray[np.float64],
    score: NDArray[np.float64],
    starts: NDArray[np.int64],
    overlap: float,
    weighted: bool,  # noqa: FBT001 - compiled code takes arguments by place
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """Return boxes, the sum of their scores and how many each is made of, 0 for a row without one, D rows each.

    Args:
        sides: by image and class, the surest first, shape (D, 4).
        score: shape (D,).
        starts: the first row of each image and class, and D.
        overlap: boxes with more are of one object.
        weighted: the mean of an object's boxes, weighted by score; otherwise the surest.
    """
    boxes, sums = np.zeros_like(sides), np.zeros_like(sides)
    total, count = np.zeros(len(sides)), np.zeros(len(sides), np.int64)
    nobody = np.zeros(len(sides), np.bool_)
    for n in range(len(starts) - 1):
        first = end = starts[n]
        for d in range(starts[n], starts[n + 1]):
            at, share = nearest(sides[d], boxes, nobody, first, end, 0.0, True)
            if at >= 0 and share > overlap:
                if not weighted:
                    continue
            else:
                at = end
                end += 1
                boxes[at] = sides[d]
            total[at] += score[d]
            count[at] += 1
            sums[at] += score[d] * sides[d]
            if count[at] > 1:
                boxes[at] = sums[at] / total[at]
    return boxes, total, count
