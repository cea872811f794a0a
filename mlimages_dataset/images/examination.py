"""Bodies examined in worker processes: is each the picture that was published, no placeholder, and whole?

What travels between processes is where a body lies in a file, not the body: a picture of 0.3 MB takes longer to pickle
through a pipe than to read from the page cache.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import multiprocessing
import signal
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from mlimages_dataset.core.errors import MLImagesError
from mlimages_dataset.images.check import Inspection, Limits, inspect, suffix_of
from mlimages_dataset.images.reencode import Shrinking, shrunken
from mlimages_dataset.images.statuses import Status
from mlimages_dataset.pipeline.engine import die_with_parent

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from pathlib import Path

_Job = TypeVar("_Job")
_Result = TypeVar("_Result")

BATCH = 16
"""Bodies that a worker is given at once when it has fallen behind: each message costs a tenth of a millisecond."""


AHEAD = 4 * BATCH
"""Bodies that may wait for a worker: many more would fill the disk, and the memory that caches it."""
_ATTEMPTS = 5


@dataclass(frozen=True, slots=True)
class Placeholder:
    """A picture that stands for others that are gone."""

    size: int
    sha256: str

    @classmethod
    def of(cls, content: bytes) -> Placeholder:
        """Return a placeholder by its bytes."""
        return cls(len(content), hashlib.sha256(content).hexdigest())


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What a body must be.

    Attributes:
        limits: of bytes and pixels.
        decode: whether it is decoded to its end, rather than its header read.
        placeholders: pictures that count as none.
        shrinking: how pictures are made smaller; None for the original bytes.
    """

    limits: Limits = field(default_factory=Limits)
    decode: bool = True
    placeholders: frozenset[Placeholder] = frozenset()
    shrinking: Shrinking | None = None


@dataclass(frozen=True, slots=True)
class Exhibit:
    """A body in a file, with what was published of it.

    Attributes:
        path: the file.
        offset: of its first byte in the file.
        size: in bytes.
        md5: as published, 16 bytes, or none.
        published_size: in bytes, -1 for unknown.
    """

    path: Path
    offset: int
    size: int
    md5: bytes = b""
    published_size: int = -1


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a body is; `replacement` are the bytes to store in its stead, if any."""

    inspection: Inspection
    replacement: bytes | None = None


def examine(exhibits: Sequence[Exhibit], rules: Rules) -> list[Verdict]:
    """Return the verdict on each body."""
    verdicts = []
    with contextlib.ExitStack() as stack:
        files = {path: stack.enter_context(path.open("rb", buffering=0)) for path in {one.path for one in exhibits}}
        for one in exhibits:
            file = files[one.path]
            file.seek(one.offset)
            verdicts.append(judged(file.read(one.size), one, rules))
    return verdicts


def judged_by_header(head: bytes, exhibit: Exhibit, rules: Rules) -> Verdict | None:
    """Return the verdict on a body by its first bytes where no rule asks for more of it; None where one does.

    Of JPEGs only: Pillow reads their headers without any decoder, so that none can end the process that asks. That
    takes 0.02 ms, a fifth of what a message to another process does.
    """
    if rules.decode or exhibit.md5 or rules.shrinking or any(one.size == exhibit.size for one in rules.placeholders):
        return None
    if exhibit.published_size not in {-1, exhibit.size} or exhibit.size > rules.limits.bytes:
        return None
    if suffix_of(head) != ".jpg":
        return None
    found = inspect(head, rules.limits, decode=False)
    return Verdict(found) if found.status is Status.SAVED else None


def judged(content: bytes, exhibit: Exhibit, rules: Rules) -> Verdict:
    """Return the verdict on one body."""
    # Few bodies have the size of a placeholder: no others are hashed for it.
    if any(one.size == len(content) for one in rules.placeholders) and Placeholder.of(content) in rules.placeholders:
        return Verdict(Inspection(Status.PLACEHOLDER, "known by its digest"))
    found = inspect(content, rules.limits, decode=rules.decode)
    if found.status is not Status.SAVED:
        return Verdict(found)
    if 0 <= exhibit.published_size != len(content):
        detail = f"{len(content):,} bytes, published as {exhibit.published_size:,}"
        return Verdict(Inspection(Status.WRONG_DIGEST, detail))
    if exhibit.md5 and hashlib.md5(content, usedforsecurity=False).digest() != exhibit.md5:
        return Verdict(Inspection(Status.WRONG_DIGEST, f"its MD5 is not {exhibit.md5.hex()}"))
    return Verdict(found) if rules.shrinking is None else Verdict(*shrunken(content, found, rules.shrinking))


class Examiners:
    """Worker processes that examine bodies in batches; see `examiners`.

    Attributes:
        pool: the processes.
        room: set while fewer than `AHEAD` bodies wait for one.
    """

    def __init__(self, workers: int, rules: Rules) -> None:
        self._workers = workers
        self._rules = rules
        self.pool = _pool(workers)
        self._waiting: asyncio.Queue[tuple[Exhibit, asyncio.Future[Verdict]]] = asyncio.Queue()
        self.room = asyncio.Event()
        self.room.set()

    async def examine(self, exhibit: Exhibit) -> Verdict:
        """Return the verdict on a body."""
        verdict: asyncio.Future[Verdict] = asyncio.get_running_loop().create_future()
        self._waiting.put_nowait((exhibit, verdict))
        if self._waiting.qsize() >= AHEAD:
            self.room.clear()
        return await verdict

    async def run(self, function: Callable[[_Job], _Result], job: _Job) -> _Result:
        """Return what a function returns for a job in a worker; done again if a body ended the worker meanwhile.

        Raises:
            MLImagesError: a worker ended every time.
        """
        for _ in range(_ATTEMPTS):
            pool = self.pool
            try:
                return await asyncio.get_running_loop().run_in_executor(pool, function, job)
            except BrokenProcessPool:
                self._replace(pool)
        raise MLImagesError(
            "worker processes die, most often for lack of memory", remedy="run it again with fewer --workers"
        )

    def _replace(self, broken: ProcessPoolExecutor) -> None:
        if self.pool is broken:
            self.pool = _pool(self._workers)
            broken.shutdown(wait=False)

    async def feed(self) -> None:
        """Hand what waits to a worker, batch after batch, for ever."""
        while True:
            batch = [await self._waiting.get()]
            fair = self._waiting.qsize() // self._workers
            while len(batch) < min(BATCH, fair):
                batch.append(self._waiting.get_nowait())
            if self._waiting.qsize() < AHEAD:
                self.room.set()
            exhibits = [exhibit for exhibit, _ in batch]
            try:
                verdicts = await self._examined(exhibits)
            except Exception as error:  # noqa: BLE001 - whoever waits for the verdict is to see it
                for _, future in batch:
                    if not future.done():
                        future.set_exception(error)
                continue
            for (_, future), verdict in zip(batch, verdicts, strict=True):
                if not future.done():
                    future.set_result(verdict)

    async def _examined(self, exhibits: list[Exhibit]) -> list[Verdict]:
        loop = asyncio.get_running_loop()
        pool = self.pool
        try:
            return await loop.run_in_executor(pool, examine, exhibits, self._rules)
        except BrokenProcessPool:
            self._replace(pool)
        # One of the bodies may have ended the process: each gets a process of its own now.
        return [await self._alone(exhibit) for exhibit in exhibits]

    async def _alone(self, exhibit: Exhibit) -> Verdict:
        pool = _pool(1)
        try:
            verdicts = await asyncio.get_running_loop().run_in_executor(pool, examine, [exhibit], self._rules)
        except BrokenProcessPool:
            return Verdict(Inspection(Status.BROKEN, "ends the process that decodes it"))
        finally:
            pool.shutdown(wait=False)
        return verdicts[0]


@contextlib.asynccontextmanager
async def examiners(workers: int, rules: Rules) -> AsyncIterator[Examiners]:
    """Yield so many worker processes."""
    found = Examiners(workers, rules)
    # One more than the workers: the next batch is there when a worker ends one.
    feeders = [asyncio.create_task(found.feed()) for _ in range(workers + 1)]
    try:
        yield found
    finally:
        for feeder in feeders:
            feeder.cancel()
        await asyncio.gather(*feeders, return_exceptions=True)
        # Until they have ended: one may still be writing a shard into a folder that the next run would share.
        await asyncio.to_thread(found.pool.shutdown, wait=True, cancel_futures=True)


def _pool(workers: int) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"), initializer=_begin)


def _begin() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal sends it to all; the parent ends its workers
    die_with_parent()
