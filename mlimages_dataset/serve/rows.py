"""Pages of images: asks the index which rows match a filter, and what these are.

A page is asked for by the row that it follows, never by how many rows to skip: the last page costs what the first does.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb

from mlimages_dataset.core.errors import DataError, UsageError
from mlimages_dataset.core.locations import reason
from mlimages_dataset.serve.filters import Cursor, Filter
from mlimages_dataset.serve.index import NO_STORE
from mlimages_dataset.tables.label_search import row_at
from mlimages_dataset.tables.schemas import Origin

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pyarrow as pa

    from mlimages_dataset.serve.build import ServedBuild
    from mlimages_dataset.serve.index import LabelIndex

PAGE_ROWS = 48
_FIRST = Cursor()
_COMPARED_CHUNKS = 2
_COMPARED_ROWS = 10_000
"""Images of a category whose other labels are counted, at most, and in how many chunks."""


@dataclass(frozen=True, slots=True)
class ImageRow:
    """One row of the label tables.

    Attributes:
        row: its number over all tables.
        image_id, location, source: as the table states them.
        split: the table.
        store: the number of the store that has its picture; None if none has.
        picture: the picture's number there.
    """

    row: int
    image_id: str
    location: str
    source: str
    split: str
    store: int | None
    picture: int


@dataclass(frozen=True, slots=True)
class Page:
    """A page of rows, ascending.

    Attributes:
        rows: the rows.
        earlier, later: whether rows in front of them, and behind them, match too.
    """

    rows: tuple[ImageRow, ...]
    earlier: bool
    later: bool


@dataclass(frozen=True, slots=True)
class Chunk:
    """Consecutive rows of one part, which the index holds together."""

    number: int
    split: str
    path: str
    first: int
    first_in_part: int
    n: int


@dataclass(frozen=True, slots=True)
class ImageCount:
    """The images of a category that are in one split and have it from one origin."""

    split: str
    origin: Origin
    present: bool
    images: int


class Rows:
    """The rows of a build's label tables; threads may share it.

    Attributes:
        sources: the names of the sources, by number.
        splits: the splits, in order.
        n: number of rows.
        stores: the stores of pictures, by number.
    """

    def __init__(self, index: LabelIndex, build: ServedBuild) -> None:
        self._connection = index.connection
        self._build = build
        self.stores = index.stores
        self._chunks = [Chunk(*row) for row in self._all("SELECT * FROM chunks ORDER BY chunk")]
        self.sources: list[str] = [name for (name,) in self._all("SELECT name FROM sources ORDER BY source")]
        self.splits = list(build.parts)
        self.n = sum(chunk.n for chunk in self._chunks)

    def page(self, chosen: Filter, cursor: Cursor = _FIRST, size: int = PAGE_ROWS) -> Page:
        """Return a page of the rows that match."""
        backwards = cursor.before is not None
        edge = cursor.before if backwards else cursor.after
        numbers = self._numbers(chosen, edge, size + 1, backwards=backwards)
        more = len(numbers) > size
        shown = sorted(numbers[:size])
        if backwards:
            return Page(self.rows(shown), more, bool(shown))
        earlier = bool(shown) and cursor.after is not None
        return Page(self.rows(shown), earlier, more)

    def count(self, chosen: Filter) -> int | None:
        """Return how many rows match; None where it would take long to tell."""
        if chosen.asks_for_labels:
            if chosen.category is None or chosen.below:
                return None
            condition, values = self._of_labels(chosen)
            return int(self._all(f"SELECT count(*) FROM labels WHERE {condition}", values)[0][0])
        condition, values = self._of_images(chosen)
        return int(self._all(f"SELECT count(*) FROM images WHERE {condition}", values)[0][0])

    def rows(self, numbers: Sequence[int]) -> tuple[ImageRow, ...]:
        """Return rows by ascending number; numbers that no row has are left out."""
        found = self._all(
            "SELECT rowid, image_id, location, source, store, picture FROM images "
            "WHERE rowid IN (SELECT unnest(?::BIGINT[])) ORDER BY rowid",
            [list(numbers)],
        )
        return tuple(self._row(*one) for one in found)

    def rows_of_id(self, image_id: str) -> tuple[ImageRow, ...]:
        """Return the rows of an image, ascending: several if several sources have it."""
        found = self._all("SELECT rowid FROM images WHERE image_id = ? ORDER BY rowid", [image_id])
        return self.rows([row for (row,) in found])

    def table(self, row: ImageRow) -> pa.Table:
        """Return the row as its label table has it.

        Raises:
            DataError: the table has changed since it was indexed, or is damaged.
        """
        chunk = next(one for one in self._chunks if one.first <= row.row < one.first + one.n)
        try:
            table = row_at(Path(chunk.path), row.row - chunk.first + chunk.first_in_part)
        except UsageError as error:
            remedy = "check that it is there, and start again"
            raise DataError(f"cannot be read ({error.what})", where=chunk.path, remedy=remedy) from error
        if table["image_id"].to_pylist() != [row.image_id]:
            raise DataError("the table has changed since this page was started", where=chunk.path, remedy="start again")
        return table

    def counts(self, category: int) -> list[ImageCount]:
        """Return how many images have a category, by split, origin and presence."""
        found = self._all(
            "SELECT split, origin, present, sum(counts.n) FROM counts JOIN chunks USING (chunk) "
            "WHERE class_index = ? GROUP BY ALL ORDER BY ALL",
            [category],
        )
        return [ImageCount(split, Origin(origin), present, int(n)) for split, origin, present, n in found]

    def images_of_classes(self, split: str = "") -> dict[int, int]:
        """Return how many images of a split, or of all, have each category present; those without any are left out."""
        found = self._all(
            "SELECT class_index, sum(counts.n)::BIGINT FROM counts JOIN chunks USING (chunk) "
            "WHERE present AND (split = $split OR $split = '') GROUP BY class_index",
            {"split": split},
        )
        return dict(found)

    def companions(self, category: int) -> tuple[int, list[tuple[int, int]]]:
        """Return of how many images with a category the labels were counted, and how many have each other category.

        Only some of the category's images are counted: those of the chunks that have the most of them. The most
        frequent categories come first.
        """
        chunks = self._all(
            "SELECT chunk FROM counts WHERE class_index = ? AND present "
            f"GROUP BY chunk ORDER BY sum(n) DESC, chunk LIMIT {_COMPARED_CHUNKS}",
            [category],
        )
        if not chunks:
            return 0, []
        inside = f"chunk IN ({', '.join(str(chunk) for (chunk,) in chunks)}) AND confidence > 0"
        some = f"SELECT row FROM labels WHERE class_index = ? AND {inside} ORDER BY row LIMIT {_COMPARED_ROWS}"
        found = self._all(
            f"SELECT class_index, count(*) AS n FROM labels SEMI JOIN ({some}) USING (row) "
            f"WHERE {inside} GROUP BY class_index ORDER BY n DESC, class_index",
            [category],
        )
        n_of = dict(found)
        return n_of.pop(category), list(n_of.items())

    def _numbers(self, chosen: Filter, edge: int | None, most: int, *, backwards: bool) -> list[int]:
        """Return the numbers of matching rows behind the edge, or in front of it: the nearest first, at most `most`."""
        if not chosen.asks_for_labels:
            condition, values = self._of_images(chosen)
            return self._nearest("rowid", "images", condition, values, edge, most, backwards=backwards)
        condition, values = self._of_labels(chosen)
        if chosen.category is not None and not chosen.below:
            # A row has a category once: DISTINCT would hold millions of rows in memory.
            return self._nearest("row", "labels", condition, values, edge, most, backwards=backwards)
        found: list[int] = []
        for chunk in self._chunks_from(edge, backwards=backwards):
            inside = f"{condition} AND chunk = {chunk.number}"
            found += self._nearest(
                "DISTINCT row", "labels", inside, values, edge, most - len(found), backwards=backwards
            )
            if len(found) >= most:
                break
        return found

    def _nearest(  # noqa: PLR0917 - one statement in its parts
        self, row: str, table: str, condition: str, values: list[Any], edge: int | None, most: int, *, backwards: bool
    ) -> list[int]:
        sign, order = ("<", "DESC") if backwards else (">", "ASC")
        if edge is not None:
            condition, values = f"{condition} AND {row.removeprefix('DISTINCT ')} {sign} ?", [*values, edge]
        sql = f"SELECT {row} AS found FROM {table} WHERE {condition} ORDER BY found {order} LIMIT {most}"
        return [number for (number,) in self._all(sql, values)]

    def _chunks_from(self, edge: int | None, *, backwards: bool) -> list[Chunk]:
        if backwards:
            return [chunk for chunk in reversed(self._chunks) if edge is None or chunk.first < edge]
        return [chunk for chunk in self._chunks if edge is None or chunk.first + chunk.n > edge]

    def _of_labels(self, chosen: Filter) -> tuple[str, list[Any]]:
        """Return the condition on the table `labels`, and its values."""
        condition: list[str] = ["true"]
        values: list[Any] = []
        if chosen.category is not None and chosen.below:
            condition.append("class_index IN (SELECT unnest(?::INTEGER[]))")
            values.append(self._build.subtree(chosen.category))
        elif chosen.category is not None:
            condition.append("class_index = ?")
            values.append(chosen.category)
        if chosen.origin is not None:
            condition.append(f"origin = {int(chosen.origin)}")
        condition.append("confidence > 0" if chosen.least is None else "confidence >= ?::FLOAT")
        values += [] if chosen.least is None else [chosen.least]
        if chosen.most is not None:
            condition.append("confidence <= ?::FLOAT")
            values.append(chosen.most)
        if chosen.pictures:
            condition.append("pictured")
        if chosen.split is not None:
            numbers = [chunk.number for chunk in self._chunks if chunk.split == chosen.split]
            condition.append("chunk BETWEEN ? AND ?")
            values += [numbers[0], numbers[-1]] if numbers else [1, 0]
        return self._of_source(chosen, condition, values)

    def _of_images(self, chosen: Filter) -> tuple[str, list[Any]]:
        """Return the condition on the table `images`, and its values."""
        condition: list[str] = ["true"]
        values: list[Any] = []
        if chosen.pictures:
            condition.append(f"store <> {NO_STORE}")
        if chosen.split is not None:
            chunks = [chunk for chunk in self._chunks if chunk.split == chosen.split]
            condition.append("rowid BETWEEN ? AND ?")
            values += [chunks[0].first, chunks[-1].first + chunks[-1].n - 1] if chunks else [1, 0]
        return self._of_source(chosen, condition, values)

    def _of_source(self, chosen: Filter, condition: list[str], values: list[Any]) -> tuple[str, list[Any]]:
        if chosen.source is not None:
            condition.append("source = ?")
            values.append(self.sources.index(chosen.source) if chosen.source in self.sources else -1)
        return " AND ".join(condition), values

    def _row(self, row: int, image_id: str, location: str, source: int, store: int, picture: int) -> ImageRow:  # noqa: PLR0917
        split = next(one.split for one in self._chunks if one.first <= row < one.first + one.n)
        kept = None if store == NO_STORE else store
        return ImageRow(row, image_id, location, self.sources[source], split, kept, picture)

    def _all(self, sql: str, values: Sequence[Any] | Mapping[str, Any] = ()) -> list[tuple[Any, ...]]:
        try:
            return self._connection.cursor().execute(sql, values).fetchall()
        except duckdb.Error as error:
            what = f"the index of the labels cannot be asked ({reason(error)})"
            raise DataError(what, where=self._build.folder, remedy="free memory, or remove .cache-serve-*") from error
