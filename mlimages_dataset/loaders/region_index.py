"""Which boxes are in which picture: a `regions` table as arrays on mapped memory, beside the catalogue of its pictures.

Equal boxes of an image are one box with several labels (Peng et al. 2020, section 4.1: Open Images repeats a box for
each of its labels). The files lie in this machine's cache, in a folder named by a digest of what they were made from.

Legend: N images, K boxes, L labels of boxes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mlimages_dataset.core.errors import DataError
from mlimages_dataset.loaders.catalogue import open_catalogue
from mlimages_dataset.loaders.catalogue.opening import cached_folder, digests_of
from mlimages_dataset.tables.batches import region_batches
from mlimages_dataset.tables.equal_boxes import SIDES, objects_of
from mlimages_dataset.tables.label_columns import LabelColumns, array_of
from mlimages_dataset.tables.parquet import read_table, table_parts, write_table
from mlimages_dataset.tables.schemas import LABELS, REGIONS, Origin

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from mlimages_dataset.core.locations import Location
    from mlimages_dataset.loaders.catalogue import Catalogue

FORMAT = "regions 1"
_LABELS = "labels"
_ARRAYS = ("first_box", "sides", "first_label", "class_index", "special")


@dataclass(frozen=True, slots=True)
class Boxes:
    """The boxes of one image.

    Attributes:
        sides: xmin, ymin, xmax, ymax as shares of the image's width and height, float32, shape (k, 4).
        box: the box of each label, int64, ascending, shape (l,).
        class_index: int32, shape (l,).
        special: whether a metric neither demands the object nor forbids it (difficult, a group, a crowd), shape (l,).
    """

    sides: NDArray[np.float32]
    box: NDArray[np.int64]
    class_index: NDArray[np.int32]
    special: NDArray[np.bool_]


class RegionIndex:
    """The boxes of a catalogue's rows.

    Args:
        folder: the folder of its files.
        rows: the image of each row of the catalogue, int64, shape (rows,).
    """

    def __init__(self, folder: Path, rows: NDArray[np.int64]) -> None:
        self._folder = folder
        self._rows = rows
        self._first_box, self._sides, self._first_label, self._class_index, self._special = (
            np.load(folder / f"{name}.npy", mmap_mode="r") for name in _ARRAYS
        )

    def __reduce__(self) -> tuple[type[RegionIndex], tuple[Path, NDArray[np.int64]]]:
        return type(self), (self._folder, self._rows)  # workers map the same files

    def n_plain_labels(self) -> int:
        """Return how many labels of boxes of all rows are demanded by a metric, that is, not special."""
        starts, stops = (self._first_label[self._first_box[self._rows + end]] for end in (0, 1))
        plain_before = np.concatenate([[0], np.cumsum(~self._special)])
        return int((plain_before[stops] - plain_before[starts]).sum())

    def boxes(self, row: int) -> Boxes:
        """Return the boxes of a row."""
        image = self._rows[row]
        first, stop = self._first_box[image : image + 2].tolist()
        starts = self._first_label[first : stop + 1]
        labels = slice(int(starts[0]), int(starts[-1]))
        return Boxes(
            np.array(self._sides[first:stop]),
            np.repeat(np.arange(stop - first), np.diff(starts)),
            np.array(self._class_index[labels]),
            np.array(self._special[labels]),
        )


def open_regions(
    images: Sequence[Location],
    regions: Location,
    *,
    n_classes: int,
    ancestors: bool = False,
    cache: str | Path | None = None,
) -> tuple[Catalogue, RegionIndex]:
    """Return the catalogue of the pictures that have boxes, and their boxes; both are made if the cache has none.

    Args:
        images: as for `open_catalogue`.
        regions: a folder of parts of a `regions` table, or one part.
        n_classes: the number of classes.
        ancestors: also take the boxes that `mlimages-build` added for categories above those stated.
        cache: the folder to keep them in; None for the user's cache.

    Raises:
        UsageError, DataError, SchemaError: as `open_catalogue`; or no box can be used.
    """
    parts = [regions] if regions.is_file() else table_parts(regions)
    made_of = [FORMAT, n_classes, ancestors, *digests_of(parts, regions)]
    folder = cached_folder("regions", made_of, cache, lambda made: _write(made, parts, n_classes, ancestors=ancestors))
    catalogue = open_catalogue(images, folder / _LABELS, n_classes=n_classes, cache=cache)
    return catalogue, RegionIndex(folder, _images_of_rows(catalogue, folder / _LABELS / "part-00000.parquet"))


def _images_of_rows(catalogue: Catalogue, labels: Path) -> NDArray[np.int64]:
    """Return the number of each row's image among those of the index."""
    known = read_table(labels, LABELS)["image_id"].combine_chunks()
    ids = pa.array([catalogue.image_id(row) for row in range(len(catalogue))], pa.string())
    numbers: NDArray[np.int64] = pc.index_in(ids, value_set=known).to_numpy(zero_copy_only=False).astype(np.int64)
    return numbers


def _write(folder: Path, parts: Sequence[Location], n_classes: int, *, ancestors: bool) -> None:
    """Write the arrays of an index, and the classes of its images as a `labels` table for the catalogue."""
    table = _read(parts, n_classes, ancestors=ancestors)
    image = table["image_id"].combine_chunks().dictionary_encode()
    ids, number = image.dictionary, image.indices.to_numpy().astype(np.int64)
    sides = np.stack([table[side].to_numpy() for side in SIDES], axis=1)
    box = objects_of(number, sides.T)
    index = table["class_index"].to_numpy()
    special = np.logical_or.reduce([table[flag].to_numpy() for flag in _SPECIAL])
    order = np.lexsort((index, box))
    number, sides, index, special = number[order], sides[order], index[order], special[order]
    new_box = np.ones(len(number), np.bool_)
    new_box[1:] = np.diff(box[order]) != 0
    new_label = new_box.copy()
    new_label[1:] |= index[1:] != index[:-1]
    first_row = np.flatnonzero(new_label)
    special = np.logical_and.reduceat(special, first_row)  # stated twice: it counts if one statement is plain
    arrays = {
        "first_box": np.searchsorted(number[new_box], np.arange(len(ids) + 1)),
        "sides": sides[new_box],
        "first_label": np.append(np.flatnonzero(new_box[first_row]), len(first_row)),
        "class_index": index[first_row],
        "special": special,
    }
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
    source = table["source"].combine_chunks()
    (folder / _LABELS).mkdir()
    labels = _classes_of_images(number[first_row], index[first_row], len(ids))
    sources = source.take(pa.array(_first_of_each(image.indices.to_numpy(), len(ids))))
    rows = pa.table([ids, sources, pa.repeat("", len(ids)), labels], schema=LABELS.arrow)
    write_table(folder / _LABELS / "part-00000.parquet", rows, LABELS, {})


_SPECIAL = ("difficult", "group_of", "crowd")


def _first_of_each(number: NDArray[np.int32], n: int) -> NDArray[np.int64]:
    first = np.empty(n, np.int64)
    first[number[::-1]] = np.arange(len(number))[::-1]
    return first


def _classes_of_images(number: NDArray[np.int64], index: NDArray[np.int32], n_images: int) -> pa.ListArray:
    """Return the classes of each image's boxes as labels."""
    pairs = np.unique(np.stack([number, index.astype(np.int64)], axis=1), axis=0)
    offsets = np.searchsorted(pairs[:, 0], np.arange(n_images + 1)).astype(np.int32)
    sure = np.ones(len(pairs), np.float32)
    original = np.full(len(pairs), Origin.ORIGINAL, np.uint8)
    return array_of(LabelColumns(offsets, pairs[:, 1].astype(np.int32), sure, original))


def _read(parts: Sequence[Location], n_classes: int, *, ancestors: bool) -> pa.Table:
    """Return the rows that are learnt: present ones of some extent.

    Raises:
        DataError: there is none.
    """
    columns = ["image_id", "source", "class_index", *SIDES, *_SPECIAL]
    kept = []
    for part in parts:
        for batch in region_batches(part, n_classes):
            wide, high = (pc.greater(batch.column(f"{a}max"), batch.column(f"{a}min")) for a in "xy")
            chosen = pc.and_(pc.and_(wide, high), pc.greater(batch.column("confidence"), 0))
            if not ancestors:
                chosen = pc.and_(chosen, pc.not_equal(batch.column("origin"), Origin.ANCESTOR))
            kept.append(batch.filter(chosen).select(columns))
    schema = pa.schema([REGIONS.arrow.field(name) for name in columns])
    table = pa.Table.from_batches(kept, schema)
    if not table.num_rows:
        raise DataError("no box of it can be learnt", where=parts[0].parent, remedy="name a table of regions")
    return table
