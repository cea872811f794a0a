"""Two tables of labels in pieces, each of which has all rows of the same images in both tables.

If the files hold ranges of image ids that overlap little, as `annotate` writes them, a piece is a range of ids, and
only the row groups that overlap it are read. Else the rows of both tables are first copied to files by a hash of the
id, and a piece is the rows of some hashes.

Legend: N images.
"""

from __future__ import annotations

import collections
import contextlib
import functools
import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mlimages_dataset.augment.pair_counting import CategoryLists
from mlimages_dataset.augment.splits import draws_of
from mlimages_dataset.tables.batches import checked_columns
from mlimages_dataset.tables.files import PARTIAL_PREFIX
from mlimages_dataset.tables.parquet import (
    RowGroup,
    mapped_batch,
    mapped_writer,
    read_row_groups,
    row_groups,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from mlimages_dataset.core.locations import Location
    from mlimages_dataset.pipeline.engine import Mapper
    from mlimages_dataset.tables.label_columns import LabelColumns
    from mlimages_dataset.tables.schemas import TableSchema

_MOST_READ = 2.0
"""Times that rows may be read on average, before it is cheaper to copy them by a hash."""
_COPIED = pa.schema([pa.field("image_id", pa.string()), pa.field("classes", pa.list_(pa.int32()))])


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two tables.

    Attributes:
        name: of its copies.
        parts: its files.
        schema: of its files.
        chosen: returns which labels count.
        n_classes: categories of the vocabulary.
    """

    name: str
    parts: tuple[Location, ...]
    schema: TableSchema
    chosen: Callable[[LabelColumns], NDArray[np.bool_]]
    n_classes: int


@dataclass(frozen=True, slots=True)
class Rows:
    """Ids of N images, and the categories that count of each."""

    ids: pa.StringArray
    categories: CategoryLists

    @classmethod
    def joined(cls, several: Sequence[Rows]) -> Rows:
        """Return the rows of all."""
        ids = pa.chunked_array([rows.ids for rows in several], pa.string()).combine_chunks()
        return cls(ids, CategoryLists.joined([rows.categories for rows in several]))


class Piece(Protocol):
    """The rows of some images in both tables."""

    def left(self) -> Rows:
        """Return those of the first table."""

    def right(self) -> Rows:
        """Return those of the second table."""


@contextlib.contextmanager
def pieces(left: Side, right: Side, images: int, out: Location, mapper: Mapper) -> Iterator[list[Piece]]:
    """Yield pieces with about `images` rows of the larger table each; copies in `out` are removed after the block.

    Raises:
        UsageError, SchemaError, DataError: as `read_table`, now or when a piece is read.
    """
    groups = [row_groups(side.parts, side.schema, "image_id") for side in (left, right)]
    found = _ranges(left, right, groups[0], groups[1], images)
    if found is not None:
        yield found
        return
    n_pieces = 1 + max(sum(group.rows for group in of_side) for of_side in groups) // images
    with (
        _copies(left, _grouped(groups[0], images), n_pieces, out, mapper) as lefts,
        _copies(right, _grouped(groups[1], images), n_pieces, out, mapper) as rights,
    ):
        yield [_Bucket(number, lefts, rights) for number in range(n_pieces)]


@dataclass(frozen=True, slots=True)
class _Range:
    """The images whose ids are above one and not above another; None is no bound."""

    above: str | None
    upto: str | None
    sides: tuple[Side, Side]
    groups: tuple[tuple[RowGroup, ...], tuple[RowGroup, ...]]

    def left(self) -> Rows:
        return self._rows(0)

    def right(self) -> Rows:
        return self._rows(1)

    def _rows(self, number: int) -> Rows:
        side = self.sides[number]
        found = [_no_rows()]
        for part, groups in itertools.groupby(self.groups[number], key=lambda group: group.part):
            several = list(groups)
            table = read_row_groups(part, side.schema, several, columns=("image_id", "labels"))
            if not all(self._holds(group) for group in several):
                table = table.filter(self._within(table["image_id"]))
            found += _rows_of(table, side, part)
        return Rows.joined(found)

    def _holds(self, group: RowGroup) -> bool:
        return (self.above is None or group.lowest > self.above) and (self.upto is None or group.highest <= self.upto)

    def _within(self, ids: pa.ChunkedArray) -> pa.ChunkedArray:
        above = pc.is_valid(ids) if self.above is None else pc.greater(ids, self.above)
        return above if self.upto is None else pc.and_(above, pc.less_equal(ids, self.upto))


def _ranges(
    left: Side, right: Side, lefts: Sequence[RowGroup], rights: Sequence[RowGroup], images: int
) -> list[Piece] | None:
    """Return pieces by ranges of ids, or None if row groups would be read too often."""
    every = sorted([(group, 0) for group in lefts] + [(group, 1) for group in rights], key=lambda each: each[0].lowest)
    rows, read = sum(group.rows for group, _ in every), 0
    pending = collections.deque(every)
    met: list[tuple[RowGroup, int]] = []
    found: list[Piece] = []
    bounds: list[str | None] = [None, *_bounds(every, images), None]
    for above, upto in itertools.pairwise(bounds):
        met = [(group, side) for group, side in met if above is None or group.highest > above]
        while pending and (upto is None or pending[0][0].lowest <= upto):
            met.append(pending.popleft())
        read += sum(group.rows for group, _ in met)
        if read > _MOST_READ * rows:
            return None
        of_sides = [tuple(sorted(group for group, side in met if side == number)) for number in (0, 1)]
        found.append(_Range(above, upto, (left, right), (of_sides[0], of_sides[1])))
    return found


def _bounds(every: Sequence[tuple[RowGroup, int]], images: int) -> list[str]:
    """Return the highest ids of pieces with about `images` rows of one of the tables, without that of the last."""
    rows, bounds = [0, 0], []
    ascending = sorted(every, key=lambda each: each[0].highest)
    for group, side in ascending:
        rows[side] += group.rows
        if max(rows) >= images and group.highest != ascending[-1][0].highest:
            bounds.append(group.highest)
            rows = [0, 0]
    return list(dict.fromkeys(bounds))


@dataclass(frozen=True, slots=True)
class _Bucket:
    """The images whose hash has one remainder."""

    number: int
    lefts: tuple[Location, ...]
    rights: tuple[Location, ...]

    def left(self) -> Rows:
        return self._rows(self.lefts)

    def right(self) -> Rows:
        return self._rows(self.rights)

    def _rows(self, paths: tuple[Location, ...]) -> Rows:
        found = [_no_rows()]
        for path in paths:
            batch = mapped_batch(path, self.number)
            offsets = batch.column(1).offsets.to_numpy().astype(np.int64)
            classes = batch.column(1).flatten().to_numpy()
            found.append(Rows(batch.column(0), CategoryLists(offsets - offsets[0], classes)))
        return Rows.joined(found)


@contextlib.contextmanager
def _copies(
    side: Side, several: Sequence[list[RowGroup]], n_pieces: int, out: Location, mapper: Mapper
) -> Iterator[tuple[Location, ...]]:
    """Yield files in `out` with the rows of a table by the hash of their ids; they are removed after the block."""
    written = tuple(out / f"{PARTIAL_PREFIX}{side.name}-{number:05d}.arrow" for number in range(len(several)))
    work = functools.partial(_copy, side=side, n_pieces=n_pieces)
    try:
        collections.deque(mapper(work, zip(several, written, strict=True)), maxlen=0)
        yield written
    finally:
        for path in written:
            path.unlink(missing_ok=True)


def _grouped(groups: Sequence[RowGroup], images: int) -> list[list[RowGroup]]:
    """Return the row groups in lists of about `images` rows."""
    found: list[list[RowGroup]] = []
    rows = images
    for group in groups:
        if rows >= images:
            found.append([])
            rows = 0
        found[-1].append(group)
        rows += group.rows
    return found


def _copy(job: tuple[list[RowGroup], Location], *, side: Side, n_pieces: int) -> None:
    """Write the rows of some row groups into a file of one batch for each hash."""
    groups, out = job
    found = [_no_rows()]
    for part, of_part in itertools.groupby(groups, key=lambda group: group.part):
        table = read_row_groups(part, side.schema, list(of_part), columns=("image_id", "labels"))
        found += _rows_of(table, side, part)
    rows = Rows.joined(found)
    hashes = draws_of(rows.ids, "") % np.uint64(n_pieces)
    # numpy sorts 16 bits by their digits, in linear time.
    order = np.argsort(hashes.astype(np.uint16 if n_pieces < 1 << 16 else np.uint64), kind="stable")
    ends = np.cumsum(np.bincount(hashes.astype(np.int64), minlength=n_pieces)).tolist()
    lists = rows.categories.at(order)
    classes = pa.ListArray.from_arrays(pa.array(lists.offsets.astype(np.int32)), pa.array(lists.classes))
    batch = pa.record_batch([rows.ids.take(pa.array(order)), classes], schema=_COPIED)
    with mapped_writer(out, _COPIED, lasting=False) as writer:
        for start, end in itertools.pairwise([0, *ends]):
            writer.write_batch(batch.slice(start, end - start))


def _rows_of(table: pa.Table, side: Side, part: Location) -> list[Rows]:
    found = []
    for batch in table.to_batches():
        labels = checked_columns(batch.column("labels"), side.n_classes, part)
        found.append(Rows(batch.column("image_id"), CategoryLists.of(labels, side.chosen(labels))))
    return found


def _no_rows() -> Rows:
    return Rows(pa.array([], pa.string()), CategoryLists(np.zeros(1, np.int64), np.empty(0, np.int32)))
