"""Label tables and data sets for tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from mlimages_dataset.loaders.orders import RowsOfClass
from mlimages_dataset.loaders.transforms import eval_transform
from mlimages_dataset.tables.parquet import write_table
from mlimages_dataset.tables.schemas import LABELS
from tests.images.folders import picture

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

SMALL = eval_transform(16)

Row = tuple[str, str, str, "Mapping[int, float]"]
"""image_id, source, location, and the confidence of each listed class."""


def write_labels(path: Path, rows: Sequence[Row]) -> Path:
    """Write a part of a `labels` table, and return its folder."""
    listed = [
        [{"class_index": c, "confidence": labels[c], "origin": c % 4} for c in sorted(labels)] for *_, labels in rows
    ]
    ids, sources, locations = ([row[at] for row in rows] for at in range(3))
    write_table(path, pa.table([ids, sources, locations, listed], schema=LABELS.arrow), LABELS, {})
    return path.parent


def pictures(n: int) -> dict[str, bytes]:
    """Return small pictures by id."""
    return {f"picture-{k:04d}": picture(k, 24, 20) for k in range(n)}


def rows_of_class(present: NDArray[np.bool_]) -> RowsOfClass:
    """Return where each class is, of a dense matrix, shape (N, C)."""
    of_class = [np.flatnonzero(column) for column in present.T]
    offsets = np.concatenate(([0], np.cumsum([len(rows) for rows in of_class])))
    return RowsOfClass(offsets, np.concatenate([np.zeros(0, np.int32), *of_class]).astype(np.int32))


class Matrix:
    """A data set by its dense matrix of present classes, shape (N, C), as samplers see it."""

    def __init__(self, present: NDArray[np.bool_]) -> None:
        self.present = present

    def __len__(self) -> int:
        return len(self.present)

    @property
    def rows_of_class(self) -> RowsOfClass:
        """In which rows each class is present."""
        return rows_of_class(self.present)


def long_tailed(n: int, n_classes: int, seed: int = 0) -> Matrix:
    """Return a matrix in which class c is in about 1 / (c + 1) of the rows, and the last class in none."""
    share = 1 / np.arange(1, n_classes + 1)
    share[-1] = 0
    return Matrix(np.random.default_rng(seed).random((n, n_classes)) < share)
