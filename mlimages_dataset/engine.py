"""Engines: whatever is shaped like the built-in `map` runs a stage's independent jobs.

Results come back in the order of the jobs, so an engine changes no output.
"""

from __future__ import annotations

import contextlib
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TYPE_CHECKING, Protocol, TypeVar

from mlimages_dataset.errors import MLImagesError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

_Job = TypeVar("_Job")
_Result = TypeVar("_Result")


class Mapper(Protocol):
    """Anything shaped like `map` over one iterable."""

    def __call__(self, function: Callable[[_Job], _Result], jobs: Iterable[_Job], /) -> Iterator[_Result]:
        """Return the results of the jobs, in their order."""


@contextlib.contextmanager
def local(workers: int) -> Iterator[Mapper]:
    """Yield a mapper over `workers` processes of this machine; one worker, or one job, stays in this process.

    Raises:
        MLImagesError: a worker process died.
    """
    if workers == 1:
        yield map
        return
    # Not fork: Arrow's and DuckDB's threads do not survive it.
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:

        def mapper(function: Callable[[_Job], _Result], jobs: Iterable[_Job], /) -> Iterator[_Result]:
            every = list(jobs)
            return map(function, every) if len(every) <= 1 else pool.map(function, every)

        try:
            yield mapper
        except BrokenProcessPool as error:
            raise MLImagesError(
                "a worker process died, most often for lack of memory", remedy="run it again with fewer --workers"
            ) from error
