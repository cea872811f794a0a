"""A download while it runs: several slices at once, from requests to written parts."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import operator
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mlimages_dataset.images.check import Inspection
from mlimages_dataset.images.decode_pool import DecodePool, decode_pool
from mlimages_dataset.images.fetcher import Fetcher, Resolver, fetcher
from mlimages_dataset.images.parts import ImagesSummary, PartCounts, WrittenPart, job_name
from mlimages_dataset.images.placeholders import repeated_digests
from mlimages_dataset.images.progress import HostTrouble, Report, Snapshot
from mlimages_dataset.images.resize import TURNED, turned_lines
from mlimages_dataset.images.slice_download import THUMBNAIL_DETAIL, SliceDownload, record_slice
from mlimages_dataset.images.slices import (
    REPEATED_DETAIL,
    REPLACED,
    UNREAD_DETAIL,
    RowOutcome,
    count_noted,
    digests_of,
    rows_of,
)
from mlimages_dataset.images.statuses import Status
from mlimages_dataset.pipeline.records import StageResult

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator
    from pathlib import Path

    from mlimages_dataset.core.locations import Location
    from mlimages_dataset.images.download import DownloadOptions
    from mlimages_dataset.images.lists import ImageList
    from mlimages_dataset.images.politeness import Host
    from mlimages_dataset.images.spool import Spool
    from mlimages_dataset.pipeline.journal import Finished, Journal
    from mlimages_dataset.tables.files import Inputs

ROWS_AT_ONCE = 8192
"""Rows under way: enough to use every connection while some rows wait for slow hosts."""
SLICES_AT_ONCE = 16
_RESOLVER_THREADS = 32
_SHOWN_HOSTS = 5


@dataclass(slots=True)
class DownloadRun:
    """A download under way.

    Attributes:
        images: the list.
        folder: the folder of images.
        options: how it is downloaded.
        inputs: digests of the list.
        journal: of the folder.
        scratch: a folder of this machine for spool files.
        standing: rows that an earlier run ended.
        received: bytes of bodies.
        ended: rows that this run ended, by status.
        began: the time of the start, seconds of the monotonic clock.
        spools: spool files that no slice uses now.
        parts: the written parts by number.
        rows_under_way: rows that have begun and not ended.
        slices_under_way: slices that have begun and are not written.
    """

    images: ImageList
    folder: Location
    options: DownloadOptions
    inputs: Inputs
    journal: Journal
    scratch: Path
    standing: int = 0
    received: int = 0
    ended: Counter[str] = field(default_factory=Counter)
    began: float = field(default_factory=time.monotonic)
    spools: list[Spool] = field(default_factory=list)
    parts: dict[int, WrittenPart] = field(default_factory=dict)
    rows_under_way: int = 0
    slices_under_way: int = 0

    def close(self) -> None:
        """Close the spool files."""
        for spool in self.spools:
            spool.close()

    def snapshot(self, hosts: Iterable[Host]) -> Snapshot:
        """Return the progress so far; `hosts` are those with failures, worst first."""
        troubles = tuple(HostTrouble(host.name, host.troubles, host.allowed) for host in hosts)
        seconds = time.monotonic() - self.began
        return Snapshot(self.images.rows, self.standing, dict(self.ended), self.received, seconds, troubles)


@dataclass(frozen=True, slots=True, kw_only=True)
class DownloadSummary(ImagesSummary):
    """What became of the rows of a list.

    Attributes:
        saved: rows whose picture was saved.
        failed: the other rows.
        unreadable_digests: rows with an md5, size or rotation that cannot be read, which was not used.
        turned: saved pictures that were turned upright.
        thumbnails: saved pictures that are thumbnails, because nothing else could be saved.
    """

    saved: int
    failed: int
    unreadable_digests: int = 0
    turned: int = 0
    thumbnails: int = 0

    def lines(self) -> list[str]:
        """Return the counts by status, the number of rows, and the size of the pictures."""
        *statuses, size = ImagesSummary(images=self.images, bytes=self.bytes, statuses=self.statuses).lines()
        thumbnails = [f"{self.thumbnails:>12,}  of the saved ones are thumbnails"] if self.thumbnails else []
        return [*statuses, f"{self.images:>12,}  rows in all", *thumbnails, *turned_lines(self.turned), size]


def run_download(
    run: DownloadRun, resolver: Resolver | None, report: Report, every: float
) -> StageResult[DownloadSummary]:
    """Download all slices that are not finished, and return the receipts and counts of all.

    Args:
        run: the download.
        resolver: resolves host names; None for the system's.
        report: is called with the progress.
        every: seconds between two reports.

    Raises:
        UsageError, DataError: the folder cannot be written, or the list or a part is damaged.
    """
    try:
        with _rare_collections():
            asyncio.run(_all_slices(run, resolver, report, every))
    except BaseExceptionGroup as group:
        raise _first_leaf(group) from None
    counts = functools.reduce(operator.add, (part.counts for part in run.parts.values()), PartCounts.empty())
    assert counts.asked == run.images.rows, "every row has ended"
    receipts = tuple(receipt for _, part in sorted(run.parts.items()) for receipt in part.receipts)
    seen = counts.summary()
    summary = DownloadSummary(
        images=seen.images,
        bytes=seen.bytes,
        statuses=seen.statuses,
        saved=counts.saved,
        failed=counts.asked - counts.saved,
        unreadable_digests=count_noted(run.folder, run.parts, UNREAD_DETAIL),
        turned=count_noted(run.folder, run.parts, TURNED),
        thumbnails=count_noted(run.folder, run.parts, THUMBNAIL_DETAIL),
    )
    return StageResult(receipts, summary)


@contextlib.contextmanager
def _rare_collections() -> Iterator[None]:
    """Collect cyclic garbage a hundredth as often within the block.

    With thousands of tasks each collection takes long and finds little: 3,000 pictures took 1.48 s of processor time
    with the usual collections and 1.13 s without any.
    """
    before = gc.get_threshold()
    gc.set_threshold(100 * before[0], *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)


def _first_leaf(group: BaseExceptionGroup[BaseException]) -> BaseException:
    first = group.exceptions[0]
    return _first_leaf(first) if isinstance(first, BaseExceptionGroup) else first


async def _all_slices(run: DownloadRun, resolver: Resolver | None, report: Report, every: float) -> None:
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(_RESOLVER_THREADS))
    async with (
        decode_pool(run.options.workers, run.options.rules) as pool,
        fetcher(run.options.policy, resolver, pool.room, run.scratch) as client,
        _reporting(run, client, report, every),
    ):
        freed = asyncio.Event()
        async with asyncio.TaskGroup() as slices:
            for number, rows in enumerate(run.images.slices(run.options.shard_images)):
                finished = run.journal.finished(job_name(number))
                if finished == REPLACED:
                    finished = None
                again = statuses_again(finished)
                if finished is not None and not again:
                    run.parts[number] = WrittenPart.of(finished)
                    run.standing += len(rows)
                    continue
                while run.slices_under_way and (
                    run.rows_under_way + len(rows) > ROWS_AT_ONCE or run.slices_under_way >= SLICES_AT_ONCE
                ):
                    freed.clear()
                    await freed.wait()
                run.slices_under_way += 1
                run.rows_under_way += len(rows)
                task = slices.create_task(SliceDownload(run, client, pool, number, rows, again, freed).work())
                del task
        await _refuse_repeated(run, pool)


def statuses_again(finished: Finished | None) -> frozenset[str]:
    """Return the statuses of a finished slice whose rows are to be downloaded again."""
    wanted = None if finished is None else finished.content.get("again")
    return frozenset(str(status) for status in wanted) if isinstance(wanted, list) else frozenset()


@contextlib.asynccontextmanager
async def _reporting(run: DownloadRun, client: Fetcher, report: Report, every: float) -> AsyncIterator[None]:
    async def now_and_then() -> None:
        while True:
            await asyncio.sleep(every)
            report(run.snapshot(client.hosts.troubled(_SHOWN_HOSTS)))

    reporter = asyncio.create_task(now_and_then())
    try:
        yield
        report(run.snapshot(client.hosts.troubled(_SHOWN_HOSTS)))
    finally:
        reporter.cancel()


async def _refuse_repeated(run: DownloadRun, pool: DecodePool) -> None:
    """Refuse pictures that came from too many different URLs, and write their slices again.

    This is decided when all rows have ended, so that their order does not matter.
    """
    if not run.options.placeholder_repeats:
        return
    repeated = await asyncio.to_thread(
        repeated_digests,
        run.folder,
        sorted(run.parts),
        run.images,
        part_rows=run.options.shard_images,
        least=run.options.placeholder_repeats,
        scratch=run.scratch,
    )
    for number in sorted(run.parts) if repeated else ():
        rows = rows_of(run.folder, number)
        found = digests_of(run.folder, number)
        now = tuple(
            (image_id, RowOutcome(Inspection(Status.PLACEHOLDER, REPEATED_DETAIL + digest)))
            if one.found.status is Status.SAVED and digest in repeated
            else (image_id, one)
            for (image_id, one), digest in zip(rows, found, strict=True)
        )
        if now != tuple(rows):
            await record_slice(run, pool, number, now, rewrite=True)
