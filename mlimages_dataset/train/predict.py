"""Probabilities to rows of the `predictions` table, which co-occurrence and labels read.

Legend: B images in a batch, C classes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from mlimages_dataset.augment.confidences import of_a_model
from mlimages_dataset.schemas import LABEL, PREDICTIONS, Origin

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor


def prediction_rows(
    probabilities: Tensor, image_ids: Sequence[str], locations: Sequence[str], *, source: str, above: float
) -> pa.Table:
    """Return the rows of the `predictions` table for some images, those without any probable class included.

    Args:
        probabilities: float32, shape (B, C).
        image_ids: of the images.
        locations: of the images.
        source: the table's column.
        above: classes with a higher probability are listed.
    """
    values = probabilities.cpu().numpy()
    rows, classes = np.nonzero(values > above)  # by row, then by class
    offsets = np.searchsorted(rows, np.arange(len(values) + 1))
    labels = pa.StructArray.from_arrays(
        [
            pa.array(classes.astype(np.int32)),
            pa.array(of_a_model(values[rows, classes])),
            pa.array(np.full(len(rows), int(Origin.MODEL_PREDICTION), np.uint8)),
        ],
        fields=list(LABEL),
    )
    columns = [
        pa.array(image_ids, pa.string()),
        pa.array([source] * len(values), pa.string()),
        pa.array(locations, pa.string()),
        pa.ListArray.from_arrays(
            pa.array(offsets.astype(np.int32)), labels, type=PREDICTIONS.arrow.field("labels").type
        ),
    ]
    return pa.table(columns, schema=PREDICTIONS.arrow)
