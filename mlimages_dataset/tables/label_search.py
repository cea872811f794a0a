"""The rows of one image, and the images of one category, in tables of labels: as little is read as tells it.

Row groups whose statistics exclude an image are not read. Of the others, the column that is searched is read first,
and the rest only where it holds what is looked for, so memory is bounded by a row group.
"""

from __future__ import annotations

import functools
import itertools
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mlimages_dataset.tables.checks import checked
from mlimages_dataset.tables.label_columns import columns_of
from mlimages_dataset.tables.parquet import open_table, overlaps, parquet_errors, scan_table, statistics_of
from mlimages_dataset.tables.schemas import LABELS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    from mlimages_dataset.core.locations import Location

_SEARCHED = LABELS.only(["image_id", "labels"])
_CLASS_INDEX = "labels.list.element.class_index"
"""The path of the class indices in a file."""
_CONFIDENCE = "labels.list.element.confidence"
_READERS = 2
"""Parts that are counted at the same time: each holds a row group in memory."""


def rows_of_image(parts: Iterable[Location], image_id: str) -> pa.Table:
    """Return the rows of an image in parts of a `labels` table, one per source; none if it is not there.

    Raises:
        UsageError, SchemaError, DataError: as `read_table`.
    """
    return pa.concat_tables(
        [LABELS.arrow.empty_table(), *(rows for part in parts for rows in _rows_in(part, image_id))]
    )


def _rows_in(part: Location, image_id: str) -> Iterator[pa.Table]:
    with open_table(part, LABELS) as parquet, parquet_errors(part):
        for group in range(parquet.num_row_groups):
            if not overlaps(statistics_of(parquet.metadata.row_group(group), "image_id"), image_id, image_id):
                continue
            ids = parquet.read_row_group(group, columns=["image_id"])["image_id"]
            if pc.any(pc.equal(ids, image_id)).as_py():
                found = parquet.read_row_group(group).filter(pc.equal(ids, image_id))
                yield checked(found, LABELS, where=part)


def row_at(part: Location, number: int) -> pa.Table:
    """Return the row of a `labels` table at a place, counted from 0, if there is one; errors as `rows_of_image`."""
    with open_table(part, LABELS) as parquet, parquet_errors(part):
        for group in range(parquet.num_row_groups):
            rows = parquet.metadata.row_group(group).num_rows
            if number < rows:
                found = parquet.read_row_group(group).slice(number, 1)
                return checked(found, LABELS, where=part)
            number -= rows
    return LABELS.arrow.empty_table()


def images_with(parts: Iterable[Location], class_index: int, most: int) -> list[str]:
    """Return the ids of the first images in which a category is present; errors as `rows_of_image`."""
    ids = itertools.chain.from_iterable(
        table["image_id"].filter(pa.array(present)).to_pylist()
        for part in parts
        for table, present in _groups_with(part, class_index)
    )
    return list(itertools.islice(ids, most))


def count_with(parts: Iterable[Location], class_index: int) -> int:
    """Return the number of rows in which a category is present; errors as `rows_of_image`."""
    with ThreadPoolExecutor(_READERS) as pool:
        return sum(pool.map(functools.partial(_count_in, class_index=class_index), parts))


def _count_in(part: Location, class_index: int) -> int:
    """Return the number of rows of a part in which a category is present: a row lists it once."""
    n = 0
    with open_table(part, LABELS) as parquet, parquet_errors(part):
        for group in range(parquet.num_row_groups):
            labels = _labels_of(parquet.read_row_group(group, columns=[_CLASS_INDEX, _CONFIDENCE]))
            chosen = labels.field("class_index").to_numpy() == class_index
            n += int(np.count_nonzero(labels.field("confidence").to_numpy()[chosen] > 0))
    return n


def _labels_of(rows: pa.Table) -> pa.StructArray:
    """Return the labels of all rows, one after the other, with those of their fields that were read."""
    return pc.list_flatten(rows["labels"].combine_chunks())


def ids_below(parts: Iterable[Location], name: str, most: int) -> list[str]:
    """Return the first ids of images in folders that are called `name` there; errors as `rows_of_image`."""
    batches = (batch[0] for part in parts for batch in scan_table(part, LABELS, columns=["image_id"]))
    found = itertools.chain.from_iterable(ids.filter(pc.ends_with(ids, f"/{name}")).to_pylist() for ids in batches)
    return list(itertools.islice(found, most))


def _groups_with(part: Location, class_index: int) -> Iterator[tuple[pa.Table, NDArray[np.bool_]]]:
    """Yield row groups that list a category, with the rows in which it is present, bool, shape (N,)."""
    with open_table(part, LABELS) as parquet, parquet_errors(part):
        for group in range(parquet.num_row_groups):
            labels = _labels_of(parquet.read_row_group(group, columns=[_CLASS_INDEX]))
            if not (labels.field("class_index").to_numpy() == class_index).any():
                continue
            table = parquet.read_row_group(group, columns=_SEARCHED.arrow.names).combine_chunks()
            for batch in checked(table, _SEARCHED, where=part).to_batches():
                columns = columns_of(batch.column("labels"))
                present = np.zeros(len(columns), bool)
                present[columns.images[(columns.class_index == class_index) & (columns.confidence > 0)]] = True
                yield pa.Table.from_batches([batch]), present
