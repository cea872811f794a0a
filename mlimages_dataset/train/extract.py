"""Pooled features as rows of the `features` table (Wu et al. 2019, section 5.2: 2,048 per image for ResNet-101).

Legend: B images in a batch, D features.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from mlimages_dataset.tables.schemas import TableSchema

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor


def features_schema(n_features: int) -> TableSchema:
    """Return the schema of the `features` table of D features: image_id and features, a list of exactly D float32."""
    numbers = pa.list_(pa.field("element", pa.float32(), nullable=False), n_features)
    fields = [pa.field("image_id", pa.string(), nullable=False), pa.field("features", numbers, nullable=False)]
    return TableSchema("features", 1, pa.schema(fields))


def feature_rows(features: Tensor, image_ids: Sequence[str]) -> pa.Table:
    """Return the rows of the `features` table for some images.

    Args:
        features: floating point, shape (B, D).
        image_ids: of the images.
    """
    values = features.float().cpu().numpy()
    schema = features_schema(values.shape[1])
    lists = pa.FixedSizeListArray.from_arrays(
        pa.array(np.ascontiguousarray(values).reshape(-1)), type=schema.arrow.field("features").type
    )
    return pa.table([pa.array(image_ids, pa.string()), lists], schema=schema.arrow)
