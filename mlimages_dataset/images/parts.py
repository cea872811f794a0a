"""Parts of a folder of images: rows of an `images` table, and the shard with their saved pictures.

`part-00000.parquet` has a row with a status for each picture of the source, saved or not, and `shard-00000.tar` the
saved pictures in the order of the rows. A part without saved pictures has no shard.
"""

from __future__ import annotations

import collections
import contextlib
import hashlib
import itertools
import re
from collections.abc import Mapping  # noqa: TC003 - the decoder reads it
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeVar

import pyarrow as pa

from mlimages_dataset.core.errors import MLImagesError
from mlimages_dataset.core.locations import as_text
from mlimages_dataset.images.masks import mask_member
from mlimages_dataset.images.shards import ShardWriter, member_name, shard_name, shard_writer
from mlimages_dataset.images.statuses import Status
from mlimages_dataset.pipeline.journal import Finished
from mlimages_dataset.tables.files import Receipt, write_errors
from mlimages_dataset.tables.parquet import BATCH_ROWS, TableWriter, read_table, table_writer
from mlimages_dataset.tables.schemas import IMAGES

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mlimages_dataset.core.locations import Location
    from mlimages_dataset.images.check import Inspection
    from mlimages_dataset.pipeline.journal import Journal
    from mlimages_dataset.tables.files import Inputs

PART_IMAGES = 10_000
"""Rows of a part. A shard of so many ImageNet pictures has 1.1 GB, which is read in seconds."""

_Item = TypeVar("_Item")
_PART_NAME = re.compile(r"part-(\d{5,})\.parquet")


def part_name(number: int) -> str:
    """Return the file name of a part's table."""
    return f"part-{number:05d}.parquet"


@dataclass(frozen=True, slots=True)
class PartCounts:
    """Counts of the rows of some parts; counts of several parts are added with `+`.

    Attributes:
        rows: number of rows by status.
        bytes: total size of the saved pictures.
    """

    rows: Mapping[str, int]
    bytes: int

    @classmethod
    def empty(cls) -> PartCounts:
        """Return counts of zero."""
        return cls({}, 0)

    def __add__(self, other: PartCounts) -> PartCounts:
        return PartCounts(
            dict(collections.Counter(self.rows) + collections.Counter(other.rows)), self.bytes + other.bytes
        )

    @property
    def saved(self) -> int:
        """The number of saved pictures."""
        return self.rows.get(Status.SAVED, 0)

    @property
    def asked(self) -> int:
        """The number of rows."""
        return sum(self.rows.values())

    def summary(self) -> ImagesSummary:
        """Return the counts as a stage's summary, with statuses in the order of `Status`."""
        statuses = {status.value: self.rows[status] for status in Status if self.rows.get(status)}
        return ImagesSummary(images=self.asked, bytes=self.bytes, statuses=statuses)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImagesSummary:
    """What became of pictures.

    Attributes:
        images: number of rows.
        bytes: total size of the saved pictures.
        statuses: number of rows by status.
    """

    images: int
    bytes: int
    statuses: Mapping[str, int]

    def nothing_saved(self) -> str:
        """Return which status led where no picture was saved; empty where one was, or there is no row."""
        if self.statuses.get(Status.SAVED) or not self.statuses:
            return ""
        status, n = max(self.statuses.items(), key=lambda one: one[1])
        return f"nothing was saved: {n:,} of {self.images:,} rows are {status.replace('_', ' ')}"

    def lines(self) -> list[str]:
        """Return the counts, and the size of the pictures."""
        return [
            *(f"{n:>12,}  {status.replace('_', ' ')}" for status, n in self.statuses.items()),
            f"{self.bytes / 1e6:>12,.1f}  MB of pictures",
        ]


@dataclass(frozen=True, slots=True)
class WrittenPart:
    """A finished part.

    Attributes:
        receipts: of its table and its shards.
        rows: number of rows by status.
        bytes: total size of the saved pictures.
    """

    receipts: tuple[Receipt, ...]
    rows: Mapping[str, int]
    bytes: int

    @property
    def counts(self) -> PartCounts:
        """The counts of the part."""
        return PartCounts(self.rows, self.bytes)

    def finished(self) -> Finished:
        """Return the journal's entry of the part."""
        return Finished.of(self)

    @classmethod
    def of(cls, finished: Finished) -> WrittenPart:
        """Return the part of a journal's entry."""
        rows, size = finished.content["rows"], finished.content["bytes"]
        assert isinstance(rows, dict)
        assert isinstance(size, int)
        return cls(finished.receipts, rows, size)


class PartWriter:
    """Writes the rows of one part in order; `written` is set when `part_writer` has closed it."""

    def __init__(self, shard_path: Location, table: TableWriter, shards: contextlib.ExitStack) -> None:
        self._shard_path = shard_path
        self._table = table
        self._shards = shards
        self._shard: ShardWriter | None = None
        self._pending: list[tuple[str, str, str, str, int, int, int, int, str]] = []
        self._counts: collections.Counter[str] = collections.Counter()
        self._bytes = 0
        self._written: WrittenPart | None = None

    @property
    def rows(self) -> int:
        """The number of rows so far."""
        return self._counts.total()

    @property
    def written(self) -> WrittenPart:
        """The finished part."""
        assert self._written is not None
        return self._written

    def save(
        self, image_id: str, content: bytes, found: Inspection, masks: Mapping[str, bytes] = MappingProxyType({})
    ) -> None:
        """Append a picture and its masks, by their tags, to the shard, and the picture's row to the table."""
        if self._shard is None:
            self._shard = self._shards.enter_context(shard_writer(self._shard_path))
        offset = self._shard.add(member_name(image_id, found.suffix), content)
        for tag, mask in masks.items():
            self._shard.add(mask_member(member_name(image_id, ""), tag), mask)
        self._bytes += len(content)
        place = (self._shard_path.name, offset, len(content), found.width, found.height)
        self._append((image_id, Status.SAVED.value, found.detail, *place, hashlib.sha256(content).hexdigest()))

    def refuse(self, image_id: str, why: Inspection) -> None:
        """Append the row of an image that is not saved."""
        # Details quote hosts and archives, whose text need not be valid UTF-8.
        self._append((image_id, why.status.value, as_text(why.detail), "", -1, -1, why.width, why.height, ""))

    def _append(self, row: tuple[str, str, str, str, int, int, int, int, str]) -> None:
        self._pending.append(row)
        self._counts[row[1]] += 1
        if len(self._pending) == BATCH_ROWS:
            self.flush()

    def flush(self) -> None:
        """Write the rows that are still in memory."""
        columns = list(zip(*self._pending, strict=True))
        if columns:
            self._table.write(pa.table(columns, schema=IMAGES.arrow))
        self._pending.clear()

    def close(self, table: Receipt | None) -> None:
        """Set `written`, given the receipt of the table."""
        shard = None if self._shard is None else self._shard.receipt
        receipts = tuple(receipt for receipt in (table, shard) if receipt is not None)
        self._written = WrittenPart(receipts, dict(self._counts), self._bytes)


@contextlib.contextmanager
def part_writer(folder: Location, number: int, inputs: Inputs) -> Iterator[PartWriter]:
    """Yield a writer of a part; when the block ends without an error its shard appears, then its table."""
    with table_writer(folder / part_name(number), IMAGES, inputs) as table:
        with contextlib.ExitStack() as shards:
            writer = PartWriter(folder / shard_name(number), table, shards)
            yield writer
        writer.flush()
    writer.close(table.receipt)


def finished_parts(receipts: Sequence[Receipt]) -> Iterator[tuple[int, WrittenPart]]:
    """Yield number and files of each complete part among some files: a readable table, and a shard if it needs one."""
    by_name = {receipt.path.name: receipt for receipt in receipts}
    for name in sorted(by_name):
        if (matched := _PART_NAME.fullmatch(name)) is None:
            continue
        try:
            table = read_table(by_name[name].path, IMAGES)
        except MLImagesError:  # damaged, with an unchanged size
            continue
        rows = collections.Counter(table["status"].to_pylist())
        number = int(matched[1])
        names = [name, shard_name(number)] if rows[Status.SAVED] else [name]
        if all(one in by_name for one in names):
            size = sum(size for size in table["bytes"].to_pylist() if size > 0)
            yield number, WrittenPart(tuple(by_name[one] for one in names), dict(rows), size)


def jobs_of(receipts: Sequence[Receipt]) -> list[tuple[str, Finished]]:
    """Return the journal's entries for the complete parts among some files."""
    return [(job_name(number), part.finished()) for number, part in finished_parts(receipts)]


def grouped(items: Iterator[_Item], size: int) -> Iterator[Iterator[_Item]]:
    """Yield the items in groups of `size`, the last with the rest; each group must be used up before the next."""
    for first in items:
        yield itertools.chain([first], itertools.islice(items, size - 1))


def job_name(number: int) -> str:
    """Return the name of a part's job in the journal."""
    return f"{number:05d}"


def clear_shards(folder: Location, journal: Journal) -> None:
    """Remove shards that an interrupted run left and that belong to no finished part of the journal.

    (`OutputFolder` removes only tables.)
    """
    standing = journal.standing()
    for path in [path for path in folder.glob("shard-*.tar") if path not in standing]:
        with write_errors(path):
            path.unlink()
