"""Placeholders found by their number: the same bytes under many different URLs are no picture of any of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mlimages_dataset.augment.splits import draws_of
from mlimages_dataset.images.slices import digests_of
from mlimages_dataset.tables.database import database

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from mlimages_dataset.core.locations import Location
    from mlimages_dataset.images.lists import ImageList


def repeated_digests(
    folder: Location, numbers: Sequence[int], images: ImageList, *, part_rows: int, least: int, scratch: Path
) -> frozenset[str]:
    """Return the digests of pictures that came from `least` different URLs or more.

    Rows that were refused for this reason before count as well.

    Args:
        folder: a folder of images, all of whose parts are written.
        numbers: of its parts, ascending.
        images: the list that was downloaded.
        part_rows: rows of each part but the last.
        least: URLs from which on a picture counts as a placeholder.
        scratch: a folder of this machine for what does not fit into memory.
    """
    schema = pa.schema([("digest", pa.string())])
    batches = (
        pa.record_batch([pa.array(digests_of(folder, number), pa.string())], schema=schema) for number in numbers
    )
    with database(memory_limit="1GB", temp_directory=str(scratch)) as connection:
        connection.register("digests", pa.RecordBatchReader.from_batches(schema, batches))
        often = connection.execute(
            "SELECT digest FROM digests WHERE digest != '' GROUP BY digest HAVING count(*) >= ?", [least]
        ).fetchall()
    if not often:
        return frozenset()
    digests = sorted(digest for (digest,) in often)
    rows, of_row = [], []
    for number in numbers:
        found = pa.array(digests_of(folder, number), pa.string())
        which = pc.index_in(found, pa.array(digests)).fill_null(-1).to_numpy()
        at = np.flatnonzero(which >= 0)
        rows.append(number * part_rows + at)
        of_row.append(which[at])
    counts = _count_urls(images, np.concatenate(rows), np.concatenate(of_row), len(digests))
    return frozenset(digests[at] for at in np.flatnonzero(counts >= least))


def _count_urls(
    images: ImageList, rows: NDArray[np.int64], group: NDArray[np.int64], n_groups: int
) -> NDArray[np.int64]:
    """Return how many different URLs the rows of each group have, shape (n_groups,).

    One URL that the list names many times is no sign of a placeholder. A row without a URL counts as one.

    Args:
        images: the list.
        rows: numbers of rows of the list, ascending, shape (R,).
        group: of each row, shape (R,).
        n_groups: the number of groups.
    """
    # Hashes instead of URLs: a placeholder may have millions. A row without one has its own number.
    hashes = np.concatenate(
        [
            np.where(pc.equal(batch, "").to_numpy(zero_copy_only=False), np.uint64(0), draws_of(batch, ""))
            for batch in images.locations_of(rows)
        ]
    )
    hashes = np.where(hashes == 0, rows.astype(np.uint64), hashes)
    order = np.lexsort((hashes, group))
    group, hashes = group[order], hashes[order]
    new = np.append(True, (group[1:] != group[:-1]) | (hashes[1:] != hashes[:-1]))
    return np.bincount(group[new], minlength=n_groups)
