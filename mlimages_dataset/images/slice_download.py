"""One slice of a list while it is downloaded: each row's URLs in turn, then the part and its shard."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from mlimages_dataset.images.addresses import Refused
from mlimages_dataset.images.check import Inspection, noted
from mlimages_dataset.images.decode_pool import DecodeJob, DecodePool, check_header
from mlimages_dataset.images.orientation import NO_ROTATION
from mlimages_dataset.images.parts import job_name
from mlimages_dataset.images.slices import RowOutcome, SliceJob, replace_slice, rows_of, with_note, write_slice
from mlimages_dataset.images.spool import Spool
from mlimages_dataset.images.statuses import Status
from mlimages_dataset.tables.files import PARTIAL_PREFIX

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mlimages_dataset.images.download import DownloadOptions
    from mlimages_dataset.images.download_run import DownloadRun
    from mlimages_dataset.images.fetcher import Body, Fetcher
    from mlimages_dataset.images.lists import ListRow

THUMBNAIL_DETAIL = "a thumbnail"
"""Begins the note in `detail` on a saved picture that is the list's thumbnail."""
_NO_SUBSTITUTE = frozenset({Status.OPTED_OUT, Status.WRONG_DIGEST})
"""After these a thumbnail is not asked for: it is of the same picture, which must not be used, or is another one."""
_HEADER_BYTES = 1 << 15
"""Bytes that hold the header of nearly every picture."""


@dataclass(slots=True)
class SliceDownload:
    """One slice under way.

    Attributes:
        run: the download.
        client: downloads URLs.
        pool: checks bodies.
        number: of the slice.
        rows: of the list.
        again: statuses of rows to be downloaded again; other rows stay as they are. Empty for a new slice.
        freed: an event that is set when rows or slices end.
    """

    run: DownloadRun
    client: Fetcher
    pool: DecodePool
    number: int
    rows: list[ListRow]
    again: frozenset[str]
    freed: asyncio.Event
    _spool: Spool | None = None

    async def work(self) -> None:
        """Download the slice's rows and write its part."""
        run = self.run
        try:
            before = rows_of(run.folder, self.number) if self.again else None
            outcomes = await asyncio.gather(
                *(self._ended(row, None if before is None else before[at][1]) for at, row in enumerate(self.rows))
            )
            rows = tuple((row.image_id, outcome) for row, outcome in zip(self.rows, outcomes, strict=True))
            await record_slice(run, self.pool, self.number, rows, rewrite=before is not None)
        finally:
            if self._spool is not None:
                self._spool.rewind()
                run.spools.append(self._spool)
            run.slices_under_way -= 1
            self.freed.set()

    @property
    def spool(self) -> Spool:
        """The file for its bodies, taken when the first one arrives: by then another slice may have freed one."""
        if self._spool is None:
            spools = self.run.spools
            self._spool = spools.pop() if spools else Spool(self.run.scratch / f"slice-{self.number:05d}")
        return self._spool

    async def _ended(self, row: ListRow, before: RowOutcome | None) -> RowOutcome:
        run = self.run
        try:
            if before is not None and before.found.status.value not in self.again:
                run.standing += 1
                return before
            outcome = with_note(await self._outcome(row), row)
            run.ended[outcome.found.status.value] += 1
            return outcome
        finally:
            run.rows_under_way -= 1
            self.freed.set()

    async def _outcome(self, row: ListRow) -> RowOutcome:
        """Try a row's URLs one after the other; return the first picture, else the last failure."""
        if not row.image_id:
            return RowOutcome(Inspection(Status.UNSAFE_NAME, "the list gives no id"))
        if row.repeated:
            return RowOutcome(Inspection(Status.REPEATED_ID, ""))
        failures: list[Inspection] = []
        for attempt in _attempts(self.run.options, row):
            if attempt.is_thumbnail and any(one.status in _NO_SUBSTITUTE for one in failures):
                break
            outcome = await self._tried(attempt)
            if outcome.found.status is Status.SAVED:
                return _told(outcome, failures) if attempt.is_thumbnail else outcome
            failures.append(outcome.found)
        return RowOutcome(replace(failures[-1], detail=_with_earlier(failures[-1].detail, failures[:-1])))

    async def _tried(self, attempt: _Attempt) -> RowOutcome:
        try:
            body = await self.client.fetch(attempt.address)
        except Refused as refused:
            return RowOutcome(Inspection(refused.status, refused.detail))
        return await self._checked(body, attempt.expected)

    async def _checked(self, body: Body, row: ListRow) -> RowOutcome:
        self.run.received += body.size
        if not body.size:
            return RowOutcome(Inspection(Status.EMPTY, ""))
        spool = self.spool
        offset, size = spool.add(body.pieces), body.size
        job = DecodeJob(spool.path, offset, size, row.md5, row.size, row.rotation)
        result = check_header(body.head(_HEADER_BYTES), job, self.run.options.rules)
        del body  # it waits on the disk, not in memory
        if result is None:
            result = await self.pool.check(job)
        if result.replacement is not None:
            offset, size = spool.add([result.replacement]), len(result.replacement)
        return RowOutcome(result.inspection, spool.path, offset, size)


@dataclass(frozen=True, slots=True)
class _Attempt:
    """A URL of a row, and the row as far as it describes what is there."""

    address: str
    expected: ListRow
    is_thumbnail: bool = False


def _attempts(options: DownloadOptions, row: ListRow) -> Iterator[_Attempt]:
    """Yield the URLs of a row: mirrors, its own, and its thumbnail if wanted.

    A mirror may have copies of another size, so the published MD5 and size are not compared. Flickr's thumbnails were
    made upright, so the published rotation is not theirs (https://www.flickr.com/services/api/flickr.photos.getInfo.html).
    """
    copy = replace(row, md5=b"", size=-1)
    mirrors = list(_mirror_urls(options.mirrors, row))
    for address in mirrors:
        yield _Attempt(address, copy)
    if row.location or not mirrors:
        yield _Attempt(row.location, row)
    if options.thumbnails and row.thumbnail:
        yield _Attempt(row.thumbnail, replace(copy, rotation=NO_ROTATION), is_thumbnail=True)


def _told(thumbnail: RowOutcome, failures: Sequence[Inspection]) -> RowOutcome:
    return replace(thumbnail, found=noted(thumbnail.found, _with_earlier(THUMBNAIL_DETAIL, failures)))


def _with_earlier(detail: str, failures: Sequence[Inspection]) -> str:
    tried = "; ".join(f"{one.status}: {one.detail}" if one.detail else one.status for one in failures)
    return f"{detail} (before: {tried})".strip()[:400] if tried else detail


def _mirror_urls(mirrors: Sequence[str], row: ListRow) -> Iterator[str]:
    """Yield the URLs of a row at the mirrors; a template with a subset needs a row with one."""
    for template in mirrors:
        if "{subset}" not in template or row.subset:
            yield template.replace("{image_id}", quote(row.image_id)).replace("{subset}", quote(row.subset))


async def record_slice(
    run: DownloadRun, pool: DecodePool, number: int, rows: tuple[tuple[str, RowOutcome], ...], *, rewrite: bool
) -> None:
    """Write a slice's part and shard, and record it in the journal; with `rewrite` they replace older ones."""
    # On this machine the new files are written to a folder of their own first, and the old ones stay until then.
    beside = run.folder if rewrite and isinstance(run.folder, Path) else None
    folder = run.folder if beside is None else beside / f"{PARTIAL_PREFIX}next-{number:05d}"
    part = await pool.run(write_slice, SliceJob(folder, number, rows, run.inputs))
    if beside is not None:
        part = await asyncio.to_thread(replace_slice, beside, number, part, run.journal)
    await asyncio.to_thread(run.journal.record, job_name(number), part.finished())
    run.parts[number] = part
