"""Rows of label tables in batches, checked against a vocabulary."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlimages_dataset.core.errors import DataError
from mlimages_dataset.tables.arrays import numpy_of
from mlimages_dataset.tables.label_columns import columns_of
from mlimages_dataset.tables.parquet import scan_table, schema_of
from mlimages_dataset.tables.schemas import ANNOTATIONS, LABELS, PREDICTIONS, REGIONS, Origin

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pyarrow as pa

    from mlimages_dataset.core.locations import Location
    from mlimages_dataset.tables.label_columns import LabelColumns


def label_batches(
    part: Location, n_classes: int, *, columns: Sequence[str] = ()
) -> Iterator[tuple[pa.RecordBatch, LabelColumns]]:
    """Yield rows of a `labels`, `annotations` or `predictions` table with the columns of their labels.

    Args:
        part: a file of the table.
        n_classes: classes of the vocabulary.
        columns: columns of the rows to read, beside the labels; empty for all.

    Raises:
        UsageError, SchemaError, DataError: as `read_table`.
        DataError: a class index is not in 0..n_classes-1, or a confidence or an origin is outside its range.
    """
    wanted = [*columns, "labels"] if columns else ()
    for batch in scan_table(part, schema_of(part, (LABELS, ANNOTATIONS, PREDICTIONS)), columns=wanted):
        remedy = "name the vocabulary that the table was built with"
        yield batch, checked_columns(batch.column("labels"), n_classes, part, remedy=remedy)


def region_batches(part: Location, n_classes: int) -> Iterator[pa.RecordBatch]:
    """Yield rows of a `regions` table.

    Raises:
        UsageError, SchemaError, DataError: as `read_table`.
        DataError: a class index is not in 0..n_classes-1, or a confidence, an origin or a side of a box is outside its
            range.
    """
    ranges = {
        "class_index": ("a class index", n_classes - 1),
        "origin": ("an origin", len(Origin) - 1),
        "confidence": ("a confidence", 1),
        **dict.fromkeys(("xmin", "ymin", "xmax", "ymax"), ("a side of a box", 1)),
    }
    for batch in scan_table(part, REGIONS):
        for name, (what, most) in ranges.items():
            values = numpy_of(batch.column(name))
            if len(values) and not 0 <= values.min() <= values.max() <= most:  # NaN fails every comparison
                remedy = "rebuild the table, or name the vocabulary that it was built with"
                raise DataError(f"{what} is not in 0..{most}", where=part, remedy=remedy)
        yield batch


def checked_columns(
    labels: pa.ListArray,
    n_classes: int,
    where: Location,
    *,
    remedy: str = "build it again with the vocabulary that you pass now",
) -> LabelColumns:
    """Return the columns of a table's `labels`, checked against a vocabulary of `n_classes`.

    Raises:
        DataError: a class index is not in 0..n_classes-1, or a confidence or an origin is outside its range.
    """
    columns = columns_of(labels)
    try:
        columns.check(n_classes)
    except (IndexError, ValueError) as error:
        raise DataError(str(error), where=where, remedy=remedy) from error
    return columns
