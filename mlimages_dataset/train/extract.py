"""Pooled features as rows of the `features` table (Wu et al. 2019, section 5.2: 2,048 per image for ResNet-101).

Legend: B images in a batch, D features.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from mlimages_dataset.tables.parquet import open_parquet, parquet_errors, read_table, table_parts
from mlimages_dataset.tables.schemas import TableSchema

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from mlimages_dataset.core.locations import Location


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


def read_features(folder: Location) -> tuple[list[str], NDArray[np.float32]]:
    """Return the images of a `features` table and their features, shape (N, D), in the order of its parts.

    Raises:
        UsageError: there is no table.
        SchemaError, DataError: it is another table, or damaged.
    """
    parts = table_parts(folder)
    with parquet_errors(parts[0]), open_parquet(parts[0]) as parquet:
        kinds = [one.type for one in parquet.schema_arrow if one.name == "features"]
    n_features = next((kind.list_size for kind in kinds if isinstance(kind, pa.FixedSizeListType)), 1)
    table = pa.concat_tables(read_table(part, features_schema(n_features)) for part in parts)
    values = table["features"].combine_chunks()
    flat = (values.flatten() if isinstance(values, pa.Array) else pa.array([], pa.float32())).to_numpy()
    return table["image_id"].to_pylist(), flat.reshape(-1, n_features)
