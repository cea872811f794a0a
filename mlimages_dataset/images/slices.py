"""Slices of a list as files: what happened to each row, written to and read from a part and its shard."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow.compute as pc

from mlimages_dataset.core.errors import DataError
from mlimages_dataset.core.locations import paths_outside
from mlimages_dataset.images.check import Inspection, noted, suffix_of
from mlimages_dataset.images.parts import WrittenPart, job_name, part_name, part_writer
from mlimages_dataset.images.shards import shard_name
from mlimages_dataset.images.statuses import Status
from mlimages_dataset.pipeline.journal import Finished
from mlimages_dataset.tables.files import write_errors
from mlimages_dataset.tables.parquet import read_table
from mlimages_dataset.tables.schemas import IMAGES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mlimages_dataset.core.locations import Location
    from mlimages_dataset.images.lists import ListRow
    from mlimages_dataset.pipeline.journal import Journal
    from mlimages_dataset.tables.files import Inputs

REPEATED_DETAIL = "the same bytes under many addresses: "
UNREAD_DETAIL = "not used, unreadable in the list: "
REPLACED = Finished((), {})
"""The journal's entry of a slice while new files replace its old ones."""


@dataclass(frozen=True, slots=True)
class RowOutcome:
    """What happened to a row of the list.

    Attributes:
        found: the status and what is known of the picture.
        path: the file with the bytes of a saved picture, a spool file or a shard; None for other rows.
        offset: of the first byte in the file.
        size: in bytes.
    """

    found: Inspection
    path: Location | None = None
    offset: int = -1
    size: int = -1


@dataclass(frozen=True, slots=True)
class SliceJob:
    """A slice whose rows have all ended, to be written by a worker.

    Attributes:
        folder: where the part and its shard go.
        number: of the slice.
        rows: image id and outcome of each row, in the order of the list.
        inputs: digests of the list.
    """

    folder: Location
    number: int
    rows: tuple[tuple[str, RowOutcome], ...]
    inputs: Inputs


def write_slice(job: SliceJob) -> WrittenPart:
    """Write the part and the shard of a slice; runs in a worker."""
    with contextlib.ExitStack() as stack:
        files = {
            path: stack.enter_context(path.open("rb", buffering=0) if isinstance(path, Path) else path.open("rb"))
            for path in {outcome.path for _, outcome in job.rows if outcome.path is not None}
        }
        writer = stack.enter_context(part_writer(job.folder, job.number, job.inputs))
        for image_id, one in job.rows:
            if one.found.status is not Status.SAVED or one.path is None:
                writer.refuse(image_id, one.found)
                continue
            file = files[one.path]
            file.seek(one.offset)
            content = file.read(one.size)
            writer.save(image_id, content, replace(one.found, suffix=suffix_of(content)))
    return writer.written


def replace_slice(folder: Path, number: int, part: WrittenPart, journal: Journal) -> WrittenPart:
    """Move the new files of a slice over its old ones, and return the part at its final place.

    Args:
        folder: the folder of images.
        number: of the slice.
        part: the new files, in a folder of their own.
        journal: of the folder.
    """
    # Until both files are renamed there is no such slice: a run that is interrupted in between starts it again.
    journal.record(job_name(number), REPLACED)
    receipts = []
    for receipt in part.receipts:
        target = folder / receipt.path.name
        with write_errors(target):
            receipt.path.replace(target)
        receipts.append(replace(receipt, path=target))
    part.receipts[0].path.parent.rmdir()
    if not any(receipt.path.name == shard_name(number) for receipt in receipts):
        with write_errors(folder / shard_name(number)):
            (folder / shard_name(number)).unlink(missing_ok=True)
    return replace(part, receipts=tuple(receipts))


def rows_of(folder: Location, number: int) -> list[tuple[str, RowOutcome]]:
    """Return image id and outcome of each row of a written part.

    Raises:
        DataError: the table is damaged, or names a shard outside the folder.
    """
    table = read_table(folder / part_name(number), IMAGES)
    if outside := paths_outside(folder, set(table["shard"].to_pylist()) - {""}):
        raise DataError(
            f"it names {outside[0]!r}, which is not a shard in the folder",
            where=folder / part_name(number),
            remedy="do not trust this table",
        )
    columns = ("image_id", "status", "detail", "width", "height", "shard", "offset", "bytes")
    return [
        (
            image_id,
            RowOutcome(
                Inspection(Status(status), detail, width, height), folder / shard if shard else None, offset, size
            ),
        )
        for image_id, status, detail, width, height, shard, offset, size in zip(
            *(table[name].to_pylist() for name in columns), strict=True
        )
    ]


def digests_of(folder: Location, number: int) -> list[str]:
    """Return the SHA-256 of each row's picture, empty if there is none.

    Pictures that were refused because the same bytes came for many rows are included.
    """
    table = read_table(folder / part_name(number), IMAGES)
    return [
        detail.removeprefix(REPEATED_DETAIL) if detail.startswith(REPEATED_DETAIL) else digest
        for detail, digest in zip(table["detail"].to_pylist(), table["digest"].to_pylist(), strict=True)
    ]


def with_note(outcome: RowOutcome, row: ListRow) -> RowOutcome:
    """Return an outcome with a note on the row's MD5, size or rotation, if the list gives one that cannot be read."""
    if not row.unread:
        return outcome
    return replace(outcome, found=noted(outcome.found, UNREAD_DETAIL + row.unread))


def count_noted(folder: Location, numbers: Iterable[int], note: str) -> int:
    """Return the number of rows of some parts whose detail holds a note."""
    details = (read_table(folder / part_name(number), IMAGES)["detail"] for number in numbers)
    return sum(int(pc.sum(pc.match_substring(one, note)).as_py() or 0) for one in details)
