"""A pool of processes that decode downloaded bodies and check them: whole, as published, and no placeholder.

A worker is sent the place of a body in a file, not the body: sending 0.3 MB through a pipe takes longer than reading
them from the page cache.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from mlimages_dataset.core.errors import MLImagesError
from mlimages_dataset.images.check import Inspection, Limits, inspect, noted, suffix_of
from mlimages_dataset.images.orientation import NO_ROTATION, rotation_note
from mlimages_dataset.images.resize import ResizeOptions, resized
from mlimages_dataset.images.statuses import Status
from mlimages_dataset.pipeline.engine import follow_parent

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from pathlib import Path

_Job = TypeVar("_Job")
_Result = TypeVar("_Result")

BATCH = 16
"""Bodies in one message to a worker that has fallen behind: each message costs a tenth of a millisecond."""

AHEAD = 4 * BATCH
"""Bodies that may wait for a worker: many more would fill the disk and the page cache."""
_ATTEMPTS = 5


@dataclass(frozen=True, slots=True)
class Placeholder:
    """A picture that hosts send in place of one that was removed."""

    size: int
    sha256: str

    @classmethod
    def of(cls, content: bytes) -> Placeholder:
        """Return the placeholder with these bytes."""
        return cls(len(content), hashlib.sha256(content).hexdigest())


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageRules:
    """What a body must be to be saved.

    Attributes:
        limits: the largest size in bytes and pixels.
        decode: decode the whole picture; if false, read only its header.
        placeholders: pictures that are refused.
        resize: what is re-encoded; None to keep the original bytes.
    """

    limits: Limits = field(default_factory=Limits)
    decode: bool = True
    placeholders: frozenset[Placeholder] = frozenset()
    resize: ResizeOptions | None = None


@dataclass(frozen=True, slots=True)
class DecodeJob:
    """A body in a file that is to be checked.

    Attributes:
        path: the file.
        offset: of the first byte in the file.
        size: in bytes.
        md5: the published MD5, 16 bytes; empty if unknown.
        published_size: the published size in bytes; -1 if unknown.
        rotation: the published degrees, counterclockwise, by which it has to be turned; `NO_ROTATION` if unknown.
    """

    path: Path
    offset: int
    size: int
    md5: bytes = b""
    published_size: int = -1
    rotation: int = NO_ROTATION


@dataclass(frozen=True, slots=True)
class DecodeResult:
    """What a body turned out to be.

    Attributes:
        inspection: whether it can be saved, or why not.
        replacement: re-encoded bytes to store instead; None to store the body itself.
    """

    inspection: Inspection
    replacement: bytes | None = None


def check_bodies(jobs: Sequence[DecodeJob], rules: ImageRules) -> list[DecodeResult]:
    """Read and check bodies; runs in a worker."""
    results = []
    with contextlib.ExitStack() as stack:
        files = {path: stack.enter_context(path.open("rb", buffering=0)) for path in {one.path for one in jobs}}
        for one in jobs:
            file = files[one.path]
            file.seek(one.offset)
            results.append(check_body(file.read(one.size), one, rules))
    return results


def check_header(head: bytes, job: DecodeJob, rules: ImageRules) -> DecodeResult | None:
    """Check a body by its first bytes alone; None if that is not enough.

    Only JPEGs: Pillow reads their headers without a decoder, which might crash this process. It takes 0.02 ms, a fifth
    of the time of a message to another process.
    """
    if rules.decode or job.md5 or rules.resize or any(one.size == job.size for one in rules.placeholders):
        return None
    if job.rotation > 0 or job.published_size not in {-1, job.size} or job.size > rules.limits.bytes:
        return None
    if suffix_of(head) != ".jpg":
        return None
    found = inspect(head, rules.limits, decode=False)
    return DecodeResult(found) if found.status is Status.SAVED else None


def check_body(content: bytes, job: DecodeJob, rules: ImageRules) -> DecodeResult:
    """Check one body, and re-encode it if the rules say so."""
    # Only bodies with the size of a placeholder are hashed: few have it.
    if any(one.size == len(content) for one in rules.placeholders) and Placeholder.of(content) in rules.placeholders:
        return DecodeResult(Inspection(Status.PLACEHOLDER, "known by its digest"))
    found = inspect(content, rules.limits, decode=rules.decode)
    if found.status is not Status.SAVED:
        return DecodeResult(found)
    if 0 <= job.published_size != len(content):
        detail = f"{len(content):,} bytes, published as {job.published_size:,}"
        return DecodeResult(Inspection(Status.WRONG_DIGEST, detail))
    if job.md5 and hashlib.md5(content, usedforsecurity=False).digest() != job.md5:
        return DecodeResult(Inspection(Status.WRONG_DIGEST, f"its MD5 is not {job.md5.hex()}"))
    if job.rotation > 0:
        found = noted(found, rotation_note(job.rotation))
    return (
        DecodeResult(found)
        if rules.resize is None
        else DecodeResult(*resized(content, found, rules.resize, job.rotation))
    )


class DecodePool:
    """Worker processes that check bodies in batches; see `decode_pool`.

    Attributes:
        pool: the processes.
        room: an event that is set while fewer than `AHEAD` bodies wait.
    """

    def __init__(self, workers: int, rules: ImageRules) -> None:
        self._workers = workers
        self._rules = rules
        self.pool = _pool(workers)
        self._waiting: asyncio.Queue[tuple[DecodeJob, asyncio.Future[DecodeResult]]] = asyncio.Queue()
        self.room = asyncio.Event()
        self.room.set()

    async def check(self, job: DecodeJob) -> DecodeResult:
        """Check a body in a worker."""
        result: asyncio.Future[DecodeResult] = asyncio.get_running_loop().create_future()
        self._waiting.put_nowait((job, result))
        if self._waiting.qsize() >= AHEAD:
            self.room.clear()
        return await result

    async def run(self, function: Callable[[_Job], _Result], job: _Job) -> _Result:
        """Call a function in a worker and return its result; call it again if another job crashed the worker.

        Raises:
            MLImagesError: the worker crashed every time.
        """
        for _ in range(_ATTEMPTS):
            pool = self.pool
            try:
                return await asyncio.get_running_loop().run_in_executor(pool, function, job)
            except BrokenProcessPool:
                self._replace(pool)
        raise MLImagesError(
            "worker processes crash, most often for lack of memory", remedy="run it again with fewer --workers"
        )

    def _replace(self, broken: ProcessPoolExecutor) -> None:
        if self.pool is broken:
            self.pool = _pool(self._workers)
            broken.shutdown(wait=False)

    async def feed(self) -> None:
        """Send waiting bodies to workers, batch by batch, until cancelled."""
        while True:
            batch = [await self._waiting.get()]
            fair = self._waiting.qsize() // self._workers
            while len(batch) < min(BATCH, fair):
                batch.append(self._waiting.get_nowait())
            if self._waiting.qsize() < AHEAD:
                self.room.set()
            jobs = [job for job, _ in batch]
            try:
                results = await self._checked(jobs)
            except Exception as error:  # noqa: BLE001 - raised again where the result is awaited
                for _, future in batch:
                    if not future.done():
                        future.set_exception(error)
                continue
            for (_, future), result in zip(batch, results, strict=True):
                if not future.done():
                    future.set_result(result)

    async def _checked(self, jobs: list[DecodeJob]) -> list[DecodeResult]:
        loop = asyncio.get_running_loop()
        pool = self.pool
        try:
            return await loop.run_in_executor(pool, check_bodies, jobs, self._rules)
        except BrokenProcessPool:
            self._replace(pool)
        # One of the bodies may have crashed the worker: check each in a process of its own.
        return [await self._alone(job) for job in jobs]

    async def _alone(self, job: DecodeJob) -> DecodeResult:
        pool = _pool(1)
        try:
            results = await asyncio.get_running_loop().run_in_executor(pool, check_bodies, [job], self._rules)
        except BrokenProcessPool:
            return DecodeResult(Inspection(Status.BROKEN, "ends the process that decodes it"))
        finally:
            pool.shutdown(wait=False)
        return results[0]


@contextlib.asynccontextmanager
async def decode_pool(workers: int, rules: ImageRules) -> AsyncIterator[DecodePool]:
    """Yield a pool of worker processes."""
    found = DecodePool(workers, rules)
    # One more than there are workers: the next batch is ready when a worker finishes.
    feeders = [asyncio.create_task(found.feed()) for _ in range(workers + 1)]
    try:
        yield found
    finally:
        for feeder in feeders:
            feeder.cancel()
        await asyncio.gather(*feeders, return_exceptions=True)
        # Wait for the workers: one may still be writing a shard into a folder that the next run uses.
        await asyncio.to_thread(found.pool.shutdown, wait=True, cancel_futures=True)


def _pool(workers: int) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"), initializer=follow_parent)
