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
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from mlimages_dataset.images.addresses import Refused
from mlimages_dataset.images.check import Inspection
from mlimages_dataset.images.decode_pool import DecodeJob, DecodePool, check_header, decode_pool
from mlimages_dataset.images.fetcher import Body, Fetcher, Resolver, fetcher
from mlimages_dataset.images.parts import ImagesSummary, PartCounts, WrittenPart, job_name
from mlimages_dataset.images.placeholders import repeated_digests
from mlimages_dataset.images.progress import HostTrouble, Report, Snapshot
from mlimages_dataset.images.slices import (
    REPEATED_DETAIL,
    REPLACED,
    RowOutcome,
    SliceJob,
    count_unread,
    digests_of,
    replace_slice,
    rows_of,
    with_note,
    write_slice,
)
from mlimages_dataset.images.spool import Spool
from mlimages_dataset.images.statuses import Status
from mlimages_dataset.pipeline.records import StageResult
from mlimages_dataset.tables.files import PARTIAL_PREFIX

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator, Sequence

    from mlimages_dataset.core.locations import Location
    from mlimages_dataset.images.download import DownloadOptions
    from mlimages_dataset.images.lists import ImageList, ListRow
    from mlimages_dataset.images.politeness import Host
    from mlimages_dataset.pipeline.journal import Finished, Journal
    from mlimages_dataset.tables.files import Inputs

ROWS_AT_ONCE = 8192
"""Rows under way: enough to use every connection while some rows wait for slow hosts."""
SLICES_AT_ONCE = 16
_RESOLVER_THREADS = 32
_HEADER_BYTES = 1 << 15
"""Bytes that hold the header of nearly every picture."""
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
        unreadable_digests: rows with an md5 or size that cannot be read, which was not compared.
    """

    saved: int
    failed: int
    unreadable_digests: int = 0

    def lines(self) -> list[str]:
        """Return the counts by status, the number of rows, and the size of the pictures."""
        *statuses, size = ImagesSummary(images=self.images, bytes=self.bytes, statuses=self.statuses).lines()
        return [*statuses, f"{self.images:>12,}  rows in all", size]


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
        unreadable_digests=sum(count_unread(run.folder, number) for number in run.parts),
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
        fetcher(run.options.policy, resolver, pool.room) as client,
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
                task = slices.create_task(_Slice(run, client, pool, number, rows, again, freed).work())
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


@dataclass(slots=True)
class _Slice:
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
            await _write(run, self.pool, self.number, rows, rewrite=before is not None)
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
        failures: list[RowOutcome] = []
        for address in _mirror_urls(self.run.options.mirrors, row):
            # A mirror may have copies of another size, so the published MD5 and size are not compared.
            outcome = await self._tried(address, replace(row, md5=b"", size=-1))
            if outcome.found.status is Status.SAVED:
                return outcome
            failures.append(outcome)
        if row.location or not failures:
            outcome = await self._tried(row.location, row)
            failures.append(outcome)
            if outcome.found.status is Status.SAVED or len(failures) == 1:
                return outcome
        *others, last = (outcome.found for outcome in failures)
        tried = "; ".join(f"{one.status}: {one.detail}" if one.detail else one.status for one in others)
        return RowOutcome(replace(last, detail=f"{last.detail} (before: {tried})".strip()[:400]) if tried else last)

    async def _tried(self, address: str, row: ListRow) -> RowOutcome:
        try:
            body = await self.client.fetch(address)
        except Refused as refused:
            return RowOutcome(Inspection(refused.status, refused.detail))
        return await self._checked(body, row)

    async def _checked(self, body: Body, row: ListRow) -> RowOutcome:
        self.run.received += body.size
        if not body.size:
            return RowOutcome(Inspection(Status.EMPTY, ""))
        spool = self.spool
        offset, size = spool.add(body.pieces), body.size
        job = DecodeJob(spool.path, offset, size, row.md5, row.size)
        result = check_header(body.head(_HEADER_BYTES), job, self.run.options.rules)
        del body  # it waits on the disk, not in memory
        if result is None:
            result = await self.pool.check(job)
        if result.replacement is not None:
            offset, size = spool.add([result.replacement]), len(result.replacement)
        return RowOutcome(result.inspection, spool.path, offset, size)


def _mirror_urls(mirrors: Sequence[str], row: ListRow) -> Iterator[str]:
    """Yield the URLs of a row at the mirrors; a template with a subset needs a row with one."""
    for template in mirrors:
        if "{subset}" not in template or row.subset:
            yield template.replace("{image_id}", quote(row.image_id)).replace("{subset}", quote(row.subset))


async def _write(
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
            await _write(run, pool, number, now, rewrite=True)
