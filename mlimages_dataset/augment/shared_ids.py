"""Images whose id several rows of tables have: of several collections, or of one that was read twice.

Rows are by image and source. Whether two rows of one id are of one picture, only their publisher knows; whoever joins
tables is told how many there are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa

from mlimages_dataset.tables.parquet import scan_table, schema_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mlimages_dataset.core.locations import Location
    from mlimages_dataset.tables.schemas import TableSchema

LISTED_IDS = 5
_ROWS = pa.schema([("image_id", pa.string()), ("source", pa.string())])
_COUNTED = """
    SELECT count(*), count(*) FILTER (WHERE sources > 1), count(*) FILTER (WHERE rows > sources) FROM shared
"""
_LISTED = "SELECT image_id, first, last FROM shared ORDER BY image_id LIMIT ?"
_SHARED = """
    CREATE TEMP TABLE shared AS
    SELECT image_id, count(DISTINCT source) AS sources, count(*) AS rows, min(source) AS first, max(source) AS last
    FROM rows GROUP BY image_id HAVING count(*) > 1
"""


@dataclass(frozen=True, slots=True)
class SharedIds:
    """Ids that several rows have.

    Attributes:
        ids: how many there are.
        of_several_sources: how many ids rows of several sources have.
        within_a_source: how many ids several rows of one source have.
        first: the first of either, with two of their sources.
    """

    ids: int = 0
    of_several_sources: int = 0
    within_a_source: int = 0
    first: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """Return a sentence for each kind that there is."""
        such = f", such as {', '.join(self.first)}" if self.first else ""
        found = []
        if self.of_several_sources:
            found.append(
                f"{self.of_several_sources:,} image ids stand in several sources: their rows are kept apart by source, "
                f"and loaders join each with the picture of that id{such}"
            )
        if self.within_a_source:
            found.append(
                f"{self.within_a_source:,} image ids have several rows of one source, which nothing keeps apart{such}"
            )
        return found


def shared_ids(parts: Sequence[Location], accepted: Sequence[TableSchema], scratch: Location) -> SharedIds:
    """Return which ids several rows of some tables have, in bounded memory.

    Args:
        parts: the tables.
        accepted: their schemas, any of these.
        scratch: the folder for intermediate results.

    Raises:
        UsageError, SchemaError, DataError: as `read_table`.
    """
    from mlimages_dataset.augment.runs import duckdb_connection  # noqa: PLC0415 - DuckDB takes 0.1 s, and few need it

    with duckdb_connection(scratch) as connection:
        connection.register("rows", pa.RecordBatchReader.from_batches(_ROWS, _rows(parts, accepted)))
        connection.execute(_SHARED)
        ((ids, several, within),) = connection.sql(_COUNTED).fetchall()
        listed = connection.execute(_LISTED, [LISTED_IDS]).fetchall()
        found = tuple(f"{image} ({' and '.join(dict.fromkeys(sources))})" for image, *sources in listed)
        return SharedIds(ids, several, within, found)


def _rows(parts: Sequence[Location], accepted: Sequence[TableSchema]) -> Iterator[pa.RecordBatch]:
    for part in parts:
        yield from scan_table(part, schema_of(part, accepted), columns=_ROWS.names)
