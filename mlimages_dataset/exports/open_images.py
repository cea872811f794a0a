"""Regions as Open Images' CSV of boxes, in the columns of V6.

https://storage.googleapis.com/openimages/web/download_v7.html

A category is named by its first Open Images id, or by its wnid where it has none. A flag is 1 or 0, where 0 says that
it is not stated; clicks are -1, as where nobody clicked. The format cannot say difficult and crowd, nor masks.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from mlimages_dataset.exports.counts import ExportCounts, summed
from mlimages_dataset.exports.writing import region_parts
from mlimages_dataset.tables.batches import region_batches
from mlimages_dataset.tables.files import Receipt, whole_file

if TYPE_CHECKING:
    from mlimages_dataset.exports.writing import Export, Job, PartWritten, Written
    from mlimages_dataset.vocab.vocabulary import Vocabulary

BOXES_FILE = "boxes.csv"
_FLAGS = {
    "IsOccluded": "occluded",
    "IsTruncated": "truncated",
    "IsGroupOf": "group_of",
    "IsDepiction": "depiction",
    "IsInside": "inside",
}
_SIDES = {"XMin": "xmin", "XMax": "xmax", "YMin": "ymin", "YMax": "ymax"}
_CLICKS = tuple(f"XClick{number}{axis}" for axis in "XY" for number in range(1, 5))


def write(export: Export) -> Written:
    """Write `boxes.csv`."""
    header = ",".join(["ImageID,Source,LabelName,Confidence", *_SIDES, *_FLAGS, *_CLICKS])
    work = functools.partial(_write_part, names=_names(export.vocabulary))
    region_parts(export)
    return export.joined(work, BOXES_FILE, f"{header}\n".encode())


def _names(vocabulary: Vocabulary) -> pa.StringArray:
    return pa.array([category.mids[0] if category.mids else category.wnid for category in vocabulary.categories])


def _write_part(job: Job, *, names: pa.StringArray) -> PartWritten:
    """Write a part's lines, without the header."""
    part, path = job
    found = []
    last = ""
    with whole_file(path) as sink:
        for batch in region_batches(part, len(names)):
            table = _rows(batch, names)
            csv.write_csv(table, pa.PythonFile(sink, mode="w"), csv.WriteOptions(include_header=False))
            ids = batch.column("image_id")
            found.append(
                ExportCounts(
                    images=pc.count_distinct(ids).as_py() - (ids[0].as_py() == last),
                    regions=batch.num_rows,
                    unsaid_masks=pc.sum(pc.not_equal(batch.column("mask"), "")).as_py(),
                    unsaid_flags=pc.sum(pc.or_(batch.column("difficult"), batch.column("crowd"))).as_py(),
                )
            )
            last = ids[-1].as_py()
    return Receipt(path, -1, sink.size, sink.digest.hexdigest(), ""), summed(found)


def _rows(batch: pa.RecordBatch, names: pa.StringArray) -> pa.Table:
    """Return regions in the columns of the format."""
    return pa.table(
        {
            "ImageID": batch.column("image_id"),
            "Source": batch.column("source"),
            "LabelName": names.take(batch.column("class_index")),
            "Confidence": batch.column("confidence"),
            **{column: batch.column(side) for column, side in _SIDES.items()},
            **{column: pc.cast(batch.column(flag), pa.int8()) for column, flag in _FLAGS.items()},
            **dict.fromkeys(_CLICKS, pa.array(np.full(batch.num_rows, -1, np.int8))),
        }
    )
