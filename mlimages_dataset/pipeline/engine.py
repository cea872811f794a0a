"""Engines run the independent jobs of a stage; any function with the signature of the built-in `map` is one.

Results come in the order of the jobs, so the engine does not change the output. Put data that all jobs share into the
function (`functools.partial`), which is sent to a cluster once; keep jobs small.
"""

from __future__ import annotations

import collections
import contextlib
import os
import signal
import threading
from concurrent.futures import (
    BrokenExecutor,
    CancelledError,
    Future,
    InvalidStateError,
    ThreadPoolExecutor,
    wait,
)
from typing import TYPE_CHECKING, Protocol, TypeVar

from mlimages_dataset.core.errors import MLImagesError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from concurrent.futures import ProcessPoolExecutor

_Job = TypeVar("_Job")
_Result = TypeVar("_Result")
_Any = TypeVar("_Any")

CONNECT_SECONDS = 5
"""Seconds that a Dask scheduler may take to answer."""

MOST_THREADS = 4
"""Workers that are threads where the work allows it; two were measured (docs/speed.md)."""


def in_threads(mapper: Mapper) -> Mapper:
    """Return the mapper for work that seldom holds the interpreter's lock: threads in the place of a few processes.

    They need not start and import, and share what the jobs share. More than `MOST_THREADS` would wait for the lock.
    """
    return _Threads(mapper.workers) if isinstance(mapper, _Pool) and mapper.workers <= MOST_THREADS else mapper


def unreported(images: int) -> None:
    """Ignore the number of finished images: the progress function of a stage for which nobody wants progress."""


class Mapper(Protocol):
    """A function with the signature of `map` over one iterable."""

    def __call__(self, function: Callable[[_Job], _Result], jobs: Iterable[_Job], /) -> Iterator[_Result]:
        """Return the results of the jobs, in their order."""


@contextlib.contextmanager
def local(workers: int) -> Iterator[Mapper]:
    """Yield a mapper over `workers` local processes; one worker, or a single job, runs in this process.

    Raises:
        MLImagesError: a worker process died.
    """
    if workers == 1:
        yield map
        return
    with contextlib.ExitStack() as until_the_end:
        pool = _Pool(workers, until_the_end)
        try:
            yield pool
        except KeyboardInterrupt:
            pool.end()
            raise
        except BrokenExecutor as error:
            raise MLImagesError(
                "a worker process died, most often for lack of memory", remedy="run it again with fewer --workers"
            ) from error


class _Pool:
    """A mapper over the processes of a pool, which is made for the first jobs: threads may do without it."""

    def __init__(self, workers: int, until_the_end: contextlib.ExitStack) -> None:
        self.workers = workers
        self._until_the_end = until_the_end
        self._made: ProcessPoolExecutor | None = None

    def __call__(self, function: Callable[[_Job], _Result], jobs: Iterable[_Job], /) -> Iterator[_Result]:
        every = list(jobs)
        if len(every) <= 1:
            return map(function, every)
        pool = self._processes()
        return _results(collections.deque(_forgiving(pool.submit(function, job)) for job in every), self.end)

    def end(self) -> None:
        """End the processes in the midst of their jobs; what they have written is not whole, and does not count."""
        if self._made is not None:
            # Python 3.14 has `terminate_workers` for this.
            for process in list(self._made._processes.values()):  # noqa: SLF001 - there is no other way before
                process.terminate()

    def _processes(self) -> ProcessPoolExecutor:
        import multiprocessing  # noqa: PLC0415 - with the pool's queues it takes 0.1 s and a process of its own
        from concurrent.futures import ProcessPoolExecutor  # noqa: PLC0415 - as above

        if self._made is None:
            # Not fork: Arrow's and DuckDB's threads do not survive it.
            context = multiprocessing.get_context("spawn")
            pool = ProcessPoolExecutor(self.workers, mp_context=context, initializer=follow_parent)
            self._made = self._until_the_end.enter_context(pool)
        return self._made


class _Forgiving(Future[_Result]):
    """A future that takes no error after it was cancelled.

    Python 3.11 tells all futures of a pool whose process died, also cancelled ones, which raise: then the pool's own
    thread ends, and whoever waits for the others waits forever.
    """

    def set_exception(self, exception: BaseException | None) -> None:
        """See `Future`."""
        with contextlib.suppress(InvalidStateError):
            super().set_exception(exception)


def _forgiving(future: Future[_Result]) -> Future[_Result]:
    future.__class__ = _Forgiving  # a pool makes its futures itself
    return future


class _Threads:
    """A mapper over threads of this process."""

    def __init__(self, workers: int) -> None:
        self._workers = workers

    def __call__(self, function: Callable[[_Job], _Result], jobs: Iterable[_Job], /) -> Iterator[_Result]:
        every = list(jobs)
        if len(every) <= 1:
            yield from map(function, every)
            return
        with ThreadPoolExecutor(self._workers) as pool:
            yield from _results(collections.deque(pool.submit(function, job) for job in every))


def _results(
    futures: collections.deque[Future[_Result]], end_jobs: Callable[[], None] = lambda: None
) -> Iterator[_Result]:
    """Yield results in order; after an error wait for running jobs: none may write files that the caller removes.

    After an interrupt, they are ended first if something can end them.
    """
    try:
        while futures:
            yield futures.popleft().result()
    except KeyboardInterrupt:
        end_jobs()
        raise
    finally:
        wait([future for future in futures if not future.cancel()])


def follow_parent() -> None:
    """Let this process end with its parent, and only so: a terminal sends an interrupt to all processes.

    After a killed run, no worker may still write into its folder.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    import multiprocessing.connection  # noqa: PLC0415 - as in `_Pool`

    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


@contextlib.contextmanager
def dask(address: str) -> Iterator[Mapper]:
    """Yield a mapper over the workers of the Dask cluster whose scheduler is at `address`, such as `tcp://host:8786`.

    Every worker must have this package, and see inputs and outputs under the same absolute paths or URLs. If a worker
    dies, another does its jobs.

    Raises:
        UsageError: Dask is not installed, or no scheduler answers there.
        MLImagesError: the connection to the cluster is lost, or several workers died of the same job.
    """
    import asyncio  # noqa: PLC0415 - only this engine needs it

    try:
        import distributed  # noqa: PLC0415 - an extra, and a quarter of a second
        from distributed.comm.core import CommClosedError  # noqa: PLC0415 - as above
    except ImportError as error:
        raise UsageError("Dask is not installed", remedy="run: pip install 'mlimages-dataset[cluster]'") from error
    asyncio.run(_check_scheduler(address))
    client = distributed.Client(address, timeout=CONNECT_SECONDS, set_as_default=False)  # type: ignore[no-untyped-call]
    with client:
        pool = client.get_executor(pure=False)  # type: ignore[no-untyped-call]

        def mapper(function: Callable[[_Job], _Result], jobs: Iterable[_Job], /) -> Iterator[_Result]:
            every = list(jobs)
            # A task, not scattered data: a task is run again when the workers that hold its result die.
            shared = client.submit(_itself, function, pure=False)
            results: Iterator[_Result] = pool.map(_called, [shared] * len(every), every)
            return results

        try:
            yield mapper
        except distributed.KilledWorker as error:
            raise MLImagesError(
                "several Dask workers died of the same job, most often for lack of memory",
                where=address,
                remedy="give the workers more memory, then run it again",
            ) from error
        except (CancelledError, CommClosedError) as error:
            raise MLImagesError(
                "the connection to the Dask cluster was lost",
                where=address,
                remedy="start it, then run the same command again",
            ) from error


async def _check_scheduler(address: str) -> None:
    """Raise `UsageError` unless a Dask scheduler answers: a client that cannot connect would wait much longer."""
    import asyncio  # noqa: PLC0415 - as in `dask`

    from distributed import Security  # noqa: PLC0415 - as in `dask`
    from distributed.core import rpc  # noqa: PLC0415 - as in `dask`

    try:
        security = Security().get_connection_args("client")  # type: ignore[no-untyped-call]
        client = rpc(address, connection_args=security)  # type: ignore[no-untyped-call]
        async with asyncio.timeout(CONNECT_SECONDS), client as scheduler:
            found = (await scheduler.identity())["type"]
    except Exception as error:
        # Another kind of server at that port is no scheduler either, and its bytes may cause any exception.
        raise UsageError(
            "no Dask scheduler answers",
            where=address,
            remedy="start one (dask scheduler) and pass its address, such as tcp://host:8786",
        ) from error
    if found != "Scheduler":
        raise UsageError(f"is a Dask {found.lower()}", where=address, remedy="pass the scheduler's address")


def _itself(value: _Any) -> _Any:
    return value


def _called(function: Callable[[_Job], _Result], job: _Job) -> _Result:
    return function(job)
