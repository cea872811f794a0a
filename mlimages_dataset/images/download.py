"""Lists of images downloaded into a folder of parts and shards, slice by slice.

Rows k * N to (k + 1) * N of the list are slice k, which becomes part k with its shard: what is where follows from the
list alone. Several slices are under way at once, so that the slow hosts of one do not keep the others waiting. Bodies
wait in a file of their slice until all its rows have ended; then the shard and the part are written whole, in the order
of the list, and the journal says so. Whatever ends the program costs the slices that were under way.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import operator
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mlimages_dataset.augment.splits import draws_of
from mlimages_dataset.core.errors import DataError, UsageError
from mlimages_dataset.core.locations import is_local, paths_outside, remove_folder
from mlimages_dataset.images.addresses import Refused
from mlimages_dataset.images.check import Inspection, suffix_of
from mlimages_dataset.images.examination import Examiners, Exhibit, Rules, examiners, judged_by_header
from mlimages_dataset.images.fetcher import Body, Fetcher, Manners, fetcher
from mlimages_dataset.images.lists import ImageList, is_of_open_images
from mlimages_dataset.images.parts import (
    PartCounts,
    WrittenPart,
    clear_shards,
    finished_parts,
    job_name,
    jobs_of,
    part_name,
    part_writer,
)
from mlimages_dataset.images.progress import HostTrouble, Report, Snapshot
from mlimages_dataset.images.shards import shard_name
from mlimages_dataset.images.spool import Spool
from mlimages_dataset.images.statuses import Status
from mlimages_dataset.pipeline.folder import OutputFolder
from mlimages_dataset.pipeline.journal import Finished, Journal
from mlimages_dataset.pipeline.records import StageOutcome, StageResult
from mlimages_dataset.sources.delimited import duckdb_errors
from mlimages_dataset.tables.files import PARTIAL_PREFIX, Inputs, digests, prefixed, write_errors
from mlimages_dataset.tables.parquet import read_table, table_digests
from mlimages_dataset.tables.schemas import IMAGES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence

    from aiohttp.abc import AbstractResolver

    from mlimages_dataset.core.decoding import Json
    from mlimages_dataset.core.locations import Location
    from mlimages_dataset.images.lists import Asked
    from mlimages_dataset.images.politeness import Host

STAGE = "download"
OPEN_IMAGES_MIRROR = "https://open-images-dataset.s3.amazonaws.com/{subset}/{image_id}.jpg"

ROWS_AT_ONCE = 8192
"""Rows under way: enough that rows which wait for a slow host leave others for every connection."""
SLICES_AT_ONCE = 16
REPEATED_DETAIL = "the same bytes under many addresses: "
UNREAD_DETAIL = "not compared, unreadable in the list: "
_REPLACED = Finished((), {})
"""What the journal says of a slice whose files are being put in the place of others."""
_RESOLVER_THREADS = 32
_HEADER_BYTES = 1 << 15
"""What holds the header of nearly every picture; the others are read whole."""
_SHOWN_HOSTS = 5

TIMEOUTS = frozenset({Status.TIMEOUT, Status.THROTTLED, Status.CUT, Status.NO_CONNECTION})
"""Failures that tell of the moment rather than of the picture."""
LASTING = frozenset(
    {
        Status.SAVED,
        Status.BAD_ADDRESS,
        Status.OPTED_OUT,
        Status.PLACEHOLDER,
        Status.PRIVATE_ADDRESS,
        Status.REPEATED_ID,
        Status.TOO_LARGE,
        Status.TOO_MANY_PIXELS,
        Status.UNSAFE_NAME,
    }
)
"""What another attempt with the same parameters would find again."""
RETRIES: Mapping[str, frozenset[Status]] = {
    "timeouts": TIMEOUTS,
    "failed": frozenset(Status) - LASTING,
    "all": frozenset(Status) - {Status.SAVED, Status.REPEATED_ID},
}
"""The statuses whose rows are asked again, by what `--retry` calls them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Download:
    """How a list is downloaded.

    Attributes:
        mirrors: addresses that are tried before the list's own, with `{image_id}` and `{subset}` to be filled in.
        rules: what a body must be.
        manners: how hosts are asked.
        shard_images: rows of a slice.
        placeholder_repeats: addresses under which the same bytes may lie before they count as a placeholder; 0 for any.
        workers: processes that examine bodies and write shards.
    """

    mirrors: tuple[str, ...] = ()
    rules: Rules = field(default_factory=Rules)
    manners: Manners = field(default_factory=Manners)
    shard_images: int = 1000
    placeholder_repeats: int = 20
    workers: int = 2

    def parameters(self) -> dict[str, Json]:
        """Return what decides which rows can be saved, and as what: not how fast or how patiently hosts are asked."""
        shrinking = self.rules.shrinking
        return {
            "mirrors": list(self.mirrors),
            "shard_images": self.shard_images,
            "decode": self.rules.decode,
            "max_bytes": self.rules.limits.bytes,
            "max_pixels": self.rules.limits.pixels,
            "short_edge": 0 if shrinking is None else shrinking.short_edge,
            "quality": 0 if shrinking is None else shrinking.quality,
            "placeholders": sorted(one.sha256 for one in self.rules.placeholders),
            "placeholder_targets": list(self.manners.placeholder_targets),
            "placeholder_repeats": self.placeholder_repeats,
            "allow_private": self.manners.allow_private,
            "ignore_opt_out": self.manners.ignore_opt_out,
        }


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What became of a row; of a saved one, where its bytes lie until they are in their shard."""

    found: Inspection
    path: Location | None = None
    offset: int = -1
    size: int = -1


@dataclass(frozen=True, slots=True)
class _Assembly:
    """A slice whose rows have all ended."""

    folder: Location
    number: int
    rows: tuple[tuple[str, _Outcome], ...]
    inputs: Inputs


def download(
    given: Sequence[Location],
    out: Location,
    options: Download,
    *,
    overwrite: bool = False,
    retry: str = "",
    resolver: AbstractResolver | None = None,
    spool: Path | None = None,
    report: Report = lambda _: None,
    every: float = 1.0,
) -> StageOutcome:
    """Download a list of images into a folder, or go on where an earlier run was cut.

    Args:
        given: the list, see `mlimages_dataset.images.lists`.
        out: a new or empty folder, or one with this download, whole or cut.
        options: how.
        overwrite: replace another download in the folder.
        retry: which rows of a finished download are asked again, a key of `RETRIES`; empty for none.
        resolver: what turns names into addresses, by default the system's.
        spool: a folder of this machine where bodies wait for their slice; by default `out`.
        report: is told how far it is.
        every: seconds between two reports.

    Raises:
        UsageError, DataError: the list or the folder cannot be used.
    """
    _allow_descriptors()
    inputs = _digests(given)
    parameters = options.parameters()
    journal = Journal.of(out.absolute(), parameters, inputs)

    def work(folder: Location) -> StageResult:
        with contextlib.ExitStack() as stack:
            waiting = _spool_folder(folder, spool, stack)
            images = ImageList(given, scratch=waiting)
            clear_shards(folder, journal)
            run = _Run(images, folder, options, inputs, journal, waiting)
            stack.callback(run.close)
            return _run(run, resolver, report, every)

    output = OutputFolder(out, overwrite=overwrite)

    def stage() -> StageOutcome:
        return output.run(STAGE, parameters=parameters, inputs=inputs, work=work, journal=journal, jobs_of=jobs_of)

    if not retry:
        return stage()
    first = None if STAGE in output.manifest.stages else stage()
    _reopen(output, journal, parameters, inputs, RETRIES[retry])
    last = stage()
    return last if first is None else replace(last, fresh=True)


def chosen_mirrors(named: Sequence[str], given: Sequence[Location]) -> tuple[str, ...]:
    """Return mirrors as templates; where none is named, Open Images' bucket for a list of its image tables.

    Raises:
        UsageError: one is neither known nor a template of an address with `{image_id}`.
        DataError: a file of the list has not the columns of one.
    """
    if not named:
        return (OPEN_IMAGES_MIRROR,) if is_of_open_images(given) else ()
    if "none" in named:
        return ()
    templates = tuple(OPEN_IMAGES_MIRROR if one == "open-images" else one for one in named)
    for template in templates:
        if not template.startswith(("http://", "https://")) or "{image_id}" not in template:
            raise UsageError(
                f"{template!r} is no mirror", remedy="give an address with {image_id} in it, open-images or none"
            )
    return templates


def _digests(given: Sequence[Location]) -> dict[str, str]:
    files = [path for path in given if not path.is_dir()]
    missing = next((path for path in files if not path.is_file()), None)
    if missing is not None:
        raise UsageError("there is no such file", where=missing, remedy="check the path")
    found = prefixed("list", digests(files))
    for number, folder in enumerate((path for path in given if path.is_dir()), 1):
        found |= table_digests(f"table {number}", folder)
    return found


def _spool_folder(folder: Location, spool: Path | None, stack: contextlib.ExitStack) -> Path:
    if spool is None and isinstance(folder, Path):
        waiting = folder / f"{PARTIAL_PREFIX}spool"
        remove_folder(waiting)
        with write_errors(waiting):
            waiting.mkdir(parents=True)
        stack.callback(remove_folder, waiting)
        return waiting
    with write_errors(spool or folder):
        return Path(stack.enter_context(tempfile.TemporaryDirectory(dir=spool, prefix="mlimages-spool-")))


def _allow_descriptors() -> None:
    """Let this process open as many connections as the system allows it; the usual limit is for a shell's programs."""
    try:
        import resource  # noqa: PLC0415 - not on Windows, which has no such limit
    except ImportError:
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 65536 if hard == resource.RLIM_INFINITY else min(hard, 65536)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _reopen(
    output: OutputFolder,
    journal: Journal,
    parameters: Mapping[str, Json],
    inputs: Inputs,
    statuses: frozenset[Status],
) -> None:
    """Turn a finished download into a cut one whose rows with these statuses have not ended, if there are any."""
    record = output.manifest.stages[STAGE]
    if dict(record.parameters) != dict(parameters) or dict(record.inputs) != dict(inputs):
        return  # another download: the stage itself says so
    parts = finished_parts(output.standing(STAGE))
    entries = [(job_name(number), _reopened(part, statuses)) for number, part in parts]
    if any(_again(entry) for _, entry in entries):
        output.reopen(STAGE, journal, entries)


def _reopened(part: WrittenPart, statuses: frozenset[Status]) -> Finished:
    """Return the entry of a finished slice, with those of the statuses that its rows have."""
    again = sorted(status.value for status in statuses if part.counts.rows.get(status))
    finished = part.finished()
    return replace(finished, content={**finished.content, "again": again})


@dataclass(slots=True)
class _Run:
    """A download under way."""

    images: ImageList
    folder: Location
    options: Download
    inputs: Inputs
    journal: Journal
    spool: Path
    standing: int = 0
    received: int = 0
    ended: Counter[str] = field(default_factory=Counter)
    began: float = field(default_factory=time.monotonic)
    spools: list[Spool] = field(default_factory=list)
    parts: dict[int, WrittenPart] = field(default_factory=dict)
    rows_under_way: int = 0
    slices_under_way: int = 0

    def close(self) -> None:
        """Close the files in which bodies waited."""
        for spool in self.spools:
            spool.close()

    def snapshot(self, hosts: Iterable[Host]) -> Snapshot:
        """Return how far it is."""
        troubles = tuple(HostTrouble(host.name, host.troubles, host.allowed) for host in hosts)
        seconds = time.monotonic() - self.began
        return Snapshot(self.images.rows, self.standing, dict(self.ended), self.received, seconds, troubles)


def _run(run: _Run, resolver: AbstractResolver | None, report: Report, every: float) -> StageResult:
    try:
        with _rare_collections():
            asyncio.run(_all_slices(run, resolver, report, every))
    except BaseExceptionGroup as group:
        raise _first_leaf(group) from None
    counts = functools.reduce(operator.add, (part.counts for part in run.parts.values()), PartCounts.empty())
    assert counts.asked == run.images.rows, "every row has ended"
    receipts = tuple(receipt for _, part in sorted(run.parts.items()) for receipt in part.receipts)
    summary = {**counts.summary(), "saved": counts.saved, "failed": counts.asked - counts.saved}
    if unread := sum(_unread(run.folder, number) for number in run.parts):
        summary["unreadable_digests"] = unread
    return StageResult(receipts, summary)


def _unread(folder: Location, number: int) -> int:
    """Return the rows of a part of which the list gives an MD5 or size that is none."""
    details = read_table(folder / part_name(number), IMAGES)["detail"]
    return int(pc.sum(pc.match_substring(details, UNREAD_DETAIL)).as_py() or 0)


@contextlib.contextmanager
def _rare_collections() -> Iterator[None]:
    """Look for cyclic garbage a hundredth as often: with thousands of tasks each search is long, and finds little.

    (1.13 s of a processor for 3,000 pictures without any search, 1.48 s with the usual ones.)
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


async def _all_slices(run: _Run, resolver: AbstractResolver | None, report: Report, every: float) -> None:
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(_RESOLVER_THREADS))
    async with (
        examiners(run.options.workers, run.options.rules) as examine,
        fetcher(run.options.manners, resolver, examine.room) as ask,
        _reporting(run, ask, report, every),
    ):
        freed = asyncio.Event()
        async with asyncio.TaskGroup() as slices:
            for number, rows in enumerate(run.images.slices(run.options.shard_images)):
                finished = run.journal.finished(job_name(number))
                if finished == _REPLACED:
                    finished = None
                again = _again(finished)
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
                task = slices.create_task(_Slice(run, ask, examine, number, rows, again, freed).end())
                del task
        await _refuse_repeated(run, examine)


def _again(finished: Finished | None) -> frozenset[str]:
    """Return the statuses of a finished slice whose rows are to be asked again."""
    wanted = None if finished is None else finished.content.get("again")
    return frozenset(str(status) for status in wanted) if isinstance(wanted, list) else frozenset()


@contextlib.asynccontextmanager
async def _reporting(run: _Run, ask: Fetcher, report: Report, every: float) -> AsyncIterator[None]:
    async def now_and_then() -> None:
        while True:
            await asyncio.sleep(every)
            report(run.snapshot(ask.hosts.troubled(_SHOWN_HOSTS)))

    reporter = asyncio.create_task(now_and_then())
    try:
        yield
        report(run.snapshot(ask.hosts.troubled(_SHOWN_HOSTS)))
    finally:
        reporter.cancel()


@dataclass(slots=True)
class _Slice:
    """One slice under way."""

    run: _Run
    ask: Fetcher
    examiners: Examiners
    number: int
    rows: list[Asked]
    again: frozenset[str]
    freed: asyncio.Event
    _spool: Spool | None = None

    async def end(self) -> None:
        """Fetch the slice's rows and write its part."""
        run = self.run
        try:
            before = _rows_of(run.folder, self.number) if self.again else None
            outcomes = await asyncio.gather(
                *(self._ended(asked, None if before is None else before[at][1]) for at, asked in enumerate(self.rows))
            )
            rows = tuple((asked.image_id, outcome) for asked, outcome in zip(self.rows, outcomes, strict=True))
            await _write(run, self.examiners, self.number, rows, rewrite=before is not None)
        finally:
            if self._spool is not None:
                self._spool.rewind()
                run.spools.append(self._spool)
            run.slices_under_way -= 1
            self.freed.set()

    @property
    def spool(self) -> Spool:
        """Where its bodies wait, taken when the first comes: those of an ended slice may be free by then."""
        if self._spool is None:
            spools = self.run.spools
            self._spool = spools.pop() if spools else Spool(self.run.spool / f"slice-{self.number:05d}")
        return self._spool

    async def _ended(self, asked: Asked, before: _Outcome | None) -> _Outcome:
        run = self.run
        try:
            if before is not None and before.found.status.value not in self.again:
                run.standing += 1
                return before
            outcome = _noted(await self._outcome(asked), asked)
            run.ended[outcome.found.status.value] += 1
            return outcome
        finally:
            run.rows_under_way -= 1
            self.freed.set()

    async def _outcome(self, asked: Asked) -> _Outcome:
        """Return what became of a row: the first address that gives its picture, else the last one's failure."""
        if not asked.image_id:
            return _Outcome(Inspection(Status.UNSAFE_NAME, "the list gives no id"))
        if asked.repeated:
            return _Outcome(Inspection(Status.REPEATED_ID, ""))
        failures: list[_Outcome] = []
        for address in _mirrored(self.run.options.mirrors, asked):
            # A mirror may hold copies of another size: what was published of the original does not hold there.
            outcome = await self._tried(address, replace(asked, md5=b"", size=-1))
            if outcome.found.status is Status.SAVED:
                return outcome
            failures.append(outcome)
        if asked.location or not failures:
            outcome = await self._tried(asked.location, asked)
            failures.append(outcome)
            if outcome.found.status is Status.SAVED or len(failures) == 1:
                return outcome
        *others, last = (outcome.found for outcome in failures)
        tried = "; ".join(f"{one.status}: {one.detail}" if one.detail else one.status for one in others)
        return _Outcome(replace(last, detail=f"{last.detail} (before: {tried})".strip()[:400]) if tried else last)

    async def _tried(self, address: str, asked: Asked) -> _Outcome:
        try:
            body = await self.ask.fetch(address)
        except Refused as refused:
            return _Outcome(Inspection(refused.status, refused.detail))
        return await self._examined(body, asked)

    async def _examined(self, body: Body, asked: Asked) -> _Outcome:
        self.run.received += body.size
        if not body.size:
            return _Outcome(Inspection(Status.EMPTY, ""))
        spool = self.spool
        offset, size = spool.add(body.pieces), body.size
        exhibit = Exhibit(spool.path, offset, size, asked.md5, asked.size)
        verdict = judged_by_header(body.head(_HEADER_BYTES), exhibit, self.run.options.rules)
        del body  # it waits for its turn on the disk, not in memory
        if verdict is None:
            verdict = await self.examiners.examine(exhibit)
        if verdict.replacement is not None:
            offset, size = spool.add([verdict.replacement]), len(verdict.replacement)
        return _Outcome(verdict.inspection, spool.path, offset, size)


def _noted(outcome: _Outcome, asked: Asked) -> _Outcome:
    """Return what became of a row, with a note of what the list gives as its MD5 or size and is none."""
    if not asked.unread:
        return outcome
    details = [outcome.found.detail] if outcome.found.detail else []
    return replace(outcome, found=replace(outcome.found, detail="; ".join([*details, UNREAD_DETAIL + asked.unread])))


def _mirrored(mirrors: Sequence[str], asked: Asked) -> Iterator[str]:
    for template in mirrors:
        if "{subset}" not in template or asked.subset:
            yield template.replace("{image_id}", quote(asked.image_id)).replace("{subset}", quote(asked.subset))


async def _write(
    run: _Run, examine: Examiners, number: int, rows: tuple[tuple[str, _Outcome], ...], *, rewrite: bool
) -> None:
    """Write a slice's shard and part, and say so in the journal."""
    beside = rewrite and is_local(run.folder)
    folder = run.folder / f"{PARTIAL_PREFIX}next-{number:05d}" if beside else run.folder
    part = await examine.run(_assembled, _Assembly(folder, number, rows, run.inputs))
    if beside:
        part = await asyncio.to_thread(_take_over, run, number, part)
    await asyncio.to_thread(run.journal.record, job_name(number), part.finished())
    run.parts[number] = part


def _take_over(run: _Run, number: int, part: WrittenPart) -> WrittenPart:
    """Put a slice that was written beside its former self in the place of that."""
    # Until both files are renamed there is no such slice: a run that ends in between begins it anew.
    run.journal.record(job_name(number), _REPLACED)
    receipts = []
    for receipt in part.receipts:
        target = run.folder / receipt.path.name
        receipt.path.replace(target)  # type: ignore[arg-type]  # both are of this machine
        receipts.append(replace(receipt, path=target))
    part.receipts[0].path.parent.rmdir()
    if not any(receipt.path.name == shard_name(number) for receipt in receipts):
        (run.folder / shard_name(number)).unlink(missing_ok=True)
    return replace(part, receipts=tuple(receipts))


def _assembled(job: _Assembly) -> WrittenPart:
    """Write the shard and the part of a slice; runs in a worker."""
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


def _rows_of(folder: Location, number: int) -> list[tuple[str, _Outcome]]:
    """Return the rows of a written part.

    Raises:
        DataError: the table is damaged, or names a shard elsewhere.
    """
    table = read_table(folder / part_name(number), IMAGES)
    if outside := paths_outside(folder, set(table["shard"].to_pylist()) - {""}):
        raise DataError(
            f"it names {outside[0]!r}, no shard of the folder",
            where=folder / part_name(number),
            remedy="do not trust this table",
        )
    columns = ("image_id", "status", "detail", "width", "height", "shard", "offset", "bytes")
    return [
        (
            image_id,
            _Outcome(
                Inspection(Status(status), detail, width, height), folder / shard if shard else None, offset, size
            ),
        )
        for image_id, status, detail, width, height, shard, offset, size in zip(
            *(table[name].to_pylist() for name in columns), strict=True
        )
    ]


async def _refuse_repeated(run: _Run, examine: Examiners) -> None:
    """Write those slices anew that have pictures which lie under too many addresses.

    Decided when all rows have ended, so that the order in which they came decides nothing.
    """
    if not run.options.placeholder_repeats:
        return
    repeated = await asyncio.to_thread(_repeated_digests, run)
    for number in sorted(run.parts) if repeated else ():
        rows = _rows_of(run.folder, number)
        found = _digests_of(run.folder, number)
        now = tuple(
            (image_id, _Outcome(Inspection(Status.PLACEHOLDER, REPEATED_DETAIL + digest)))
            if one.found.status is Status.SAVED and digest in repeated
            else (image_id, one)
            for (image_id, one), digest in zip(rows, found, strict=True)
        )
        if now != tuple(rows):
            await _write(run, examine, number, now, rewrite=True)


def _digests_of(folder: Location, number: int) -> list[str]:
    """Return the digest of each row's picture, those included that were found to be placeholders by their number."""
    table = read_table(folder / part_name(number), IMAGES)
    return [
        detail.removeprefix(REPEATED_DETAIL) if detail.startswith(REPEATED_DETAIL) else digest
        for detail, digest in zip(table["detail"].to_pylist(), table["digest"].to_pylist(), strict=True)
    ]


def _repeated_digests(run: _Run) -> frozenset[str]:
    """Return the digests of pictures that lie under as many addresses as make a placeholder, or more.

    Rows that an earlier run, or this one before it was cut, found to be so count as well.
    """
    least = run.options.placeholder_repeats
    schema = pa.schema([("digest", pa.string())])
    batches = (
        pa.record_batch([pa.array(_digests_of(run.folder, number), pa.string())], schema=schema)
        for number in sorted(run.parts)
    )
    with duckdb_errors(), duckdb.connect() as connection:
        connection.execute("SET memory_limit = '1GB'")
        connection.execute("SET enable_progress_bar = false")
        connection.execute("SET temp_directory = '{}'".format(str(run.spool).replace("'", "''")))
        connection.register("digests", pa.RecordBatchReader.from_batches(schema, batches))
        often = connection.execute(
            "SELECT digest FROM digests WHERE digest != '' GROUP BY digest HAVING count(*) >= ?", [least]
        ).fetchall()
    return _of_many_addresses(run, sorted(digest for (digest,) in often)) if often else frozenset()


def _of_many_addresses(run: _Run, digests: list[str]) -> frozenset[str]:
    """Return those of some digests whose rows have as many addresses as make a placeholder, or more.

    One address that the list names many times is no sign of a placeholder.
    """
    rows, of_row = [], []
    for number in sorted(run.parts):
        found = pa.array(_digests_of(run.folder, number), pa.string())
        which = pc.index_in(found, pa.array(digests)).fill_null(-1).to_numpy()
        at = np.flatnonzero(which >= 0)
        rows.append(number * run.options.shard_images + at)
        of_row.append(which[at])
    numbers, which = np.concatenate(rows), np.concatenate(of_row)
    # Hashes in place of addresses: a placeholder may have millions. A row without one has its own number.
    addresses = [
        np.where(pc.equal(batch, "").to_numpy(zero_copy_only=False), np.uint64(0), draws_of(batch, ""))
        for batch in run.images.locations_of(numbers)
    ]
    hashes = np.concatenate(addresses)
    hashes = np.where(hashes == 0, numbers.astype(np.uint64), hashes)
    order = np.lexsort((hashes, which))
    which, hashes = which[order], hashes[order]
    new = np.append(True, (which[1:] != which[:-1]) | (hashes[1:] != hashes[:-1]))
    counts = np.bincount(which[new], minlength=len(digests))
    return frozenset(digests[at] for at in np.flatnonzero(counts >= run.options.placeholder_repeats))
