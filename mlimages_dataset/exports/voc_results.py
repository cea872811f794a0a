"""Boxes that a detector found as Pascal VOC's files of results: `comp4_det_SET_CLASS.txt`.

http://host.robots.ox.ac.uk/pascal/VOC/voc2012/devkit_doc.pdf, section 8.2. A line is image, score, xmin, ymin, xmax,
ymax, in the pixels that `sources.voc` reads. A class is called by the id of the class list that it comes from, by VOC's
where it is in several; a category of no list by its wnid.

Boxes are in pixels here, so the images' sizes are needed: of the `images` tables beside pictures.
"""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mlimages_dataset.core.errors import DataError, UsageError
from mlimages_dataset.exports.counts import ExportCounts, summed
from mlimages_dataset.exports.sizes import size_tables, sizes_of_part
from mlimages_dataset.exports.writing import UNSAYABLE, region_parts
from mlimages_dataset.sources.voc import Voc
from mlimages_dataset.sources.voc_results import part_of_file_name
from mlimages_dataset.tables.batches import region_batches
from mlimages_dataset.tables.files import Receipt, whole_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from mlimages_dataset.exports.sizes import Size
    from mlimages_dataset.exports.writing import Export, Written
    from mlimages_dataset.tables.files import HashingFile
    from mlimages_dataset.vocab.vocabulary import Vocabulary

_MOST_CLASSES = 500
"""A file of each class is open while the boxes are read."""
_DIGITS = 3
_SIDES = ("xmin", "ymin", "xmax", "ymax")


def write(export: Export) -> Written:
    """Write the files of the classes that have boxes.

    Raises:
        UsageError: the name of the image set cannot be part of a file's name.
    """
    if part_of_file_name(export.image_set) != export.image_set:
        what = f"the image set {export.image_set!r} cannot be part of a file's name"
        raise UsageError(what, remedy="call it test, for instance")
    tables = size_tables(export)
    names = _names(export.vocabulary)
    paths = [export.at.out / f"comp4_det_{export.image_set}_{name}.txt" for name in names]
    files: dict[int, HashingFile] = {}
    counts = []
    with contextlib.ExitStack() as stack:

        def file_of(index: int) -> HashingFile:
            if index not in files:
                if len(files) == _MOST_CLASSES:
                    raise DataError(
                        f"boxes of more than {_MOST_CLASSES} classes, each of which would be a file",
                        remedy="export them as coco",
                    )
                files[index] = stack.enter_context(whole_file(paths[index]))
            return files[index]

        for part in region_parts(export):
            sizes = sizes_of_part(part, tables)
            for batch in region_batches(part, len(names)):
                counts.append(_write_batch(batch, sizes, file_of))
                export.at.engine.progress(counts[-1].seen)
    receipts = [
        Receipt(paths[index], -1, file.size, file.digest.hexdigest(), "") for index, file in sorted(files.items())
    ]
    return receipts, summed(counts)


def _names(vocabulary: Vocabulary) -> list[str]:
    """Return what each category is called, as a part of a file's name, each differently."""
    rows = sorted(vocabulary.mapping, key=lambda row: (row.is_broader, row.source != Voc.name))
    names = [category.wnid for category in vocabulary.categories]
    for row in reversed([row for row in rows if row.class_index >= 0]):
        names[row.class_index] = row.source_id
    parts = list(map(part_of_file_name, names))
    times = Counter(map(os.path.normcase, parts))  # on Windows, names that differ by case only are one file
    return [
        part if times[os.path.normcase(part)] == 1 else part_of_file_name(f"{part}_{category.wnid}")
        for part, category in zip(parts, vocabulary.categories, strict=True)
    ]


def _write_batch(
    batch: pa.RecordBatch, sizes: Mapping[str, Size], file_of: Callable[[int], HashingFile]
) -> ExportCounts:
    """Write the lines of a batch into the files of their classes."""
    ids = batch.column("image_id")
    images = ids.unique()
    unsized = pc.invert(pc.is_in(images, pa.array(list(sizes), pa.string())))
    unsayable = pc.match_substring_regex(images, UNSAYABLE)
    kept = batch.filter(pc.is_in(ids, images.filter(pc.invert(pc.or_(unsized, unsayable)))))
    for index, rows in _by_class(kept):
        file_of(index).write(_lines(rows, sizes))
    return ExportCounts(
        images=pc.count_distinct(kept.column("image_id")).as_py(),
        regions=kept.num_rows,
        unsized_images=pc.sum(unsized).as_py() or 0,
        unsayable_images=pc.sum(pc.and_not(unsayable, unsized)).as_py() or 0,
        unsaid_masks=pc.sum(pc.not_equal(kept.column("mask"), "")).as_py() or 0,
    )


def _by_class(batch: pa.RecordBatch) -> Iterator[tuple[int, pa.RecordBatch]]:
    """Yield the rows of each class, in their order."""
    labels = batch.column("class_index").to_numpy()
    for index in np.unique(labels).tolist():
        yield index, batch.filter(pa.array(labels == index))


def _lines(rows: pa.RecordBatch, sizes: Mapping[str, Size]) -> bytes:
    """Return the lines of a file of results: nothing is quoted, as readers divide them at blanks only."""
    size = np.array([sizes[name] for name in rows.column("image_id").to_pylist()], np.float64)
    sides = [
        pa.array(np.round(rows.column(side).to_numpy().astype(np.float64) * size[:, at % 2], _DIGITS))
        for at, side in enumerate(_SIDES)
    ]
    numbers = [pc.cast(column, pa.string()) for column in (rows.column("confidence"), *sides)]
    lines = pc.binary_join_element_wise(rows.column("image_id"), *numbers, " ")
    return "".join(f"{line}\n" for line in lines.to_pylist()).encode()
