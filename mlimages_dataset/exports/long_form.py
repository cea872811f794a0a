"""CSV with one row per label.

Legend: L labels in N images.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from pyarrow import csv

from mlimages_dataset.exports.counts import ExportCounts, summed
from mlimages_dataset.exports.publication import ORIGIN_NAMES
from mlimages_dataset.tables.batches import label_batches
from mlimages_dataset.tables.files import Receipt, whole_file
from mlimages_dataset.tables.schemas import LONG_FORM

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlimages_dataset.exports.writing import Export, Job, PartWritten, Written
    from mlimages_dataset.tables.label_columns import LabelColumns


def write(export: Export) -> Written:
    """Write `train.csv` and `val.csv`."""
    text = functools.partial(_write_part, wnids=export.wnids)
    head = pa.BufferOutputStream()
    csv.write_csv(LONG_FORM.empty_table(), head)
    return export.joined(text, "{}.csv", head.getvalue().to_pybytes())


def long_form(rows: pa.RecordBatch, columns: LabelColumns, wnids: pa.StringArray) -> tuple[pa.Table, ExportCounts]:
    """Return one row per label in the columns of `LONG_FORM`, L rows, and the counts."""
    images = pa.array(columns.images)
    table = pa.Table.from_arrays(
        [
            rows.column("image_id").take(images),
            wnids.take(pa.array(columns.class_index)),
            pa.array(columns.class_index),
            pa.array(columns.confidence),
            pa.array(ORIGIN_NAMES).take(pa.array(columns.origin)),
            rows.column("location").take(images),
        ],
        schema=LONG_FORM,
    )
    without = int((np.diff(columns.offsets) == 0).sum())
    return table, ExportCounts(len(columns) - without, len(table), images_without_labels=without)


def _write_part(job: Job, *, wnids: Sequence[str]) -> PartWritten:
    """Write a part's lines of CSV, without the header."""
    part, path = job
    names = pa.array(wnids, pa.string())
    found = []
    with whole_file(path) as sink:
        for rows, columns in label_batches(part, len(wnids)):
            table, counts = long_form(rows, columns, names)
            csv.write_csv(table, pa.PythonFile(sink, mode="w"), csv.WriteOptions(include_header=False))
            found.append(counts)
    return Receipt(path, -1, sink.size, sink.digest.hexdigest(), ""), summed(found)
