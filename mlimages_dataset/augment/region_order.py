"""The one order of the rows of a `regions` table: by image id, then by all other columns in the table's order.

Legend: R rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mlimages_dataset.core.compiled import compiled
from mlimages_dataset.sources.source import BOX
from mlimages_dataset.tables.arrays import arrow_of, numpy_of
from mlimages_dataset.tables.schemas import REGION_FLAGS

if TYPE_CHECKING:
    from numpy.typing import NDArray


COMPILED_ROWS = 1 << 16
"""The least rows that a compiled loop sorts: where no machine code is kept, it takes seconds to make."""


def in_order(regions: pa.Table) -> pa.Table:
    """Return the rows of a `regions` table of one source in their order, so that it depends on nothing else.

    Args:
        regions: the columns of `REGIONS`, but perhaps `source`; sides and confidences are 0 or more.
    """
    image, order = _by_image(regions["image_id"])
    keys = _keys(regions)
    if len(order) < COMPILED_ROWS:
        order = order[np.lexsort((*keys[::-1, order], image))]
    else:
        _sort_within(image, keys, order)
    return _taken(regions, order)


def by_image(table: pa.Table) -> pa.Table:
    """Return the rows of a table by ascending `image_id`; those of an image stay in their order."""
    return _taken(table, _by_image(table["image_id"])[1])


def _by_image(image_ids: pa.ChunkedArray) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Return each row's image as its place among the images, ascending, and which row that is, shapes (R,).

    Ids are compared by their bytes in UTF-8.
    """
    runs = pc.run_end_encode(image_ids.combine_chunks())
    ids, lengths = runs.values, np.diff(numpy_of(runs.run_ends), prepend=0)
    if pc.all(pc.less(ids[:-1], ids[1:]), min_count=0).as_py():  # as in published files, which need no sorting
        return np.repeat(np.arange(len(ids), dtype=np.int32), lengths), np.arange(len(image_ids))
    encoded = ids.dictionary_encode()
    place = np.empty(len(encoded.dictionary), np.int32)
    place[numpy_of(pc.sort_indices(encoded.dictionary))] = np.arange(len(place))
    image = np.repeat(place[numpy_of(encoded.indices)], lengths)
    order = np.argsort(image, kind="stable")
    return image[order], order


def _taken(table: pa.Table, order: NDArray[np.int64]) -> pa.Table:
    return table if _ascends(order) else table.take(arrow_of(order))


def _keys(regions: pa.Table) -> NDArray[np.int64]:
    """Return what is compared of each row after its image, the first first, shape (4, R)."""
    sides = [_whole(regions[side]) for side in BOX]
    last = _whole(regions["origin"])
    for flag in REGION_FLAGS:
        last = 2 * last + _whole(regions[flag])
    return np.stack(
        [
            (_whole(regions["class_index"]) << 32) + sides[0],
            (sides[1] << 32) + sides[2],
            (sides[3] << 32) + _whole(regions["confidence"]),
            (last << 32) + _ranks_of_masks(regions["mask"]),
        ]
    )


def _ranks_of_masks(masks: pa.ChunkedArray) -> NDArray[np.int64]:
    if not pc.max(pc.binary_length(masks)).as_py():  # nearly all boxes have none
        return np.zeros(len(masks), np.int64)
    return numpy_of(pc.rank(masks, tiebreaker="dense")).astype(np.int64)


def _whole(column: pa.ChunkedArray) -> NDArray[np.int64]:
    """Return whole numbers in the order of a column's values, shape (R,): of float32s, of 0 or more, their bits."""
    array = column.combine_chunks()
    if pa.types.is_boolean(array.type):
        array = array.cast(pa.uint8())
    values = numpy_of(array)
    return (values.view(np.int32) if values.dtype == np.float32 else values).astype(np.int64)


def _ascends(numbers: NDArray[np.signedinteger]) -> bool:
    return bool((numbers[1:] >= numbers[:-1]).all())


@compiled
def _sort_within(image: NDArray[np.int32], keys: NDArray[np.int64], order: NDArray[np.int64]) -> None:
    """Sort the numbers of rows by their keys within each image, by insertion at shrinking distances.

    Args:
        image: of each place, ascending, shape (R,).
        keys: of each row, shape (K, R).
        order: the row at each place, shape (R,).
    """
    start = 0
    while start < len(order):
        stop = start + 1
        while stop < len(order) and image[stop] == image[start]:
            stop += 1
        gap = 1
        while 4 * gap < stop - start:
            gap = gap * 9 // 4 + 1
        while gap > 0:
            for x in range(start + gap, stop):
                moving = order[x]
                y = x
                while y >= start + gap and _less(keys, moving, order[y - gap]):
                    order[y] = order[y - gap]
                    y -= gap
                order[y] = moving
            gap = gap * 4 // 9
        start = stop


@compiled
def _less(keys: NDArray[np.int64], left: int, right: int) -> bool:
    for key in range(keys.shape[0]):
        if keys[key, left] != keys[key, right]:
            return bool(keys[key, left] < keys[key, right])
    return False
