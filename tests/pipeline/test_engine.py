"""Engines are `map` by other means: the same results in the same order, the same errors."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mlimages_dataset.core.errors import (
    ConfigError,
    DataError,
    DownloadError,
    MLImagesError,
    SchemaError,
    UsageError,
    VocabularyError,
)
from mlimages_dataset.pipeline.engine import MOST_THREADS, in_threads, local

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mlimages_dataset.pipeline.engine import Mapper


def square(number: int) -> int:
    return number * number


def process_of(_: int) -> int:
    return os.getpid()


def refuse(number: int) -> int:
    if number == 2:
        raise DataError("is damaged", where="part-2", line=7, remedy="build it again")
    return number


def die(number: int) -> int:
    if number == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def thread_of(_: int) -> int:
    time.sleep(0.01)
    return threading.get_ident()


def test_threads_take_the_place_of_a_pool_only() -> None:
    assert in_threads(map) is map
    with local(2) as mapper:
        threads = in_threads(mapper)
        assert list(threads(square, range(20))) == list(map(square, range(20)))
        assert len(set(threads(thread_of, range(8)))) == 2
        assert set(threads(process_of, range(8))) == {os.getpid()}
        with pytest.raises(DataError, match="is damaged"):
            list(threads(refuse, range(4)))


@pytest.fixture(name="two", scope="module")
def _two() -> Iterator[Mapper]:
    """Return a mapper over two processes."""
    with local(2) as mapper:
        yield mapper


@pytest.mark.slow
def test_results_come_in_the_order_of_the_jobs(two: Mapper) -> None:
    assert list(two(square, range(20))) == list(map(square, range(20)))
    assert list(two(square, iter([]))) == []


@pytest.mark.slow
def test_several_jobs_leave_this_process_and_one_stays(two: Mapper) -> None:
    assert os.getpid() not in set(two(process_of, range(4)))
    assert list(two(process_of, [0])) == [os.getpid()]


@pytest.mark.slow
def test_an_error_comes_home_as_it_was_raised(two: Mapper) -> None:
    with pytest.raises(DataError) as caught:
        list(two(refuse, range(4)))
    assert str(caught.value) == "part-2, line 7: is damaged; build it again"
    assert caught.value.line == 7


def touch_late(path: Path) -> None:
    if path.name == "0":
        raise DataError("is damaged", where=path)
    time.sleep(0.3)
    path.touch()


@pytest.mark.slow
def test_after_an_error_no_job_still_runs(two: Mapper, tmp_path: Path) -> None:
    list(two(square, range(4)))  # both processes are there
    with pytest.raises(DataError):
        list(two(touch_late, [tmp_path / str(number) for number in range(20)]))
    written = set(tmp_path.iterdir())
    assert len(written) < 19, "what had not begun is not done"
    time.sleep(1)
    assert set(tmp_path.iterdir()) == written


def test_a_few_workers_are_threads_where_the_work_allows_it(tmp_path: Path) -> None:
    with local(2) as mapper:
        threads = in_threads(mapper)
        assert list(threads(square, range(20))) == list(map(square, range(20)))
        assert list(threads(square, iter([]))) == []
        assert set(threads(process_of, range(4))) == {os.getpid()}
        with pytest.raises(DataError, match="is damaged"):
            list(threads(refuse, range(4)))
        with pytest.raises(DataError):
            list(threads(touch_late, [tmp_path / str(number) for number in range(20)]))
        written = set(tmp_path.iterdir())
        assert len(written) < 19, "what had not begun is not done"
        time.sleep(1)
        assert set(tmp_path.iterdir()) == written


@pytest.mark.parametrize("workers", [1, MOST_THREADS + 1])
def test_one_worker_and_many_are_what_they_were(workers: int) -> None:
    with local(workers) as mapper:
        assert in_threads(mapper) is mapper


def test_one_worker_is_map() -> None:
    with local(1) as mapper:
        assert list(mapper(process_of, range(3))) == [os.getpid()] * 3


@pytest.mark.slow
def test_the_death_of_a_worker_is_a_sentence() -> None:
    told = "^a worker process died, most often for lack of memory; run it again with fewer --workers$"
    with pytest.raises(MLImagesError, match=told), local(2) as mapper:
        list(mapper(die, range(3)))


def interrupt_and_hang(number: int) -> int:
    if number == 1:
        os.kill(os.getppid(), signal.SIGINT)
    threading.Event().wait()  # until this process is ended
    return number


def fail_then_die(begun: Path) -> None:
    if begun.name == "0":
        while not (begun.parent / "1").exists():
            time.sleep(0.01)
        raise DataError("is damaged", where=begun)
    begun.touch()
    time.sleep(0.3)  # the jobs that have not begun are cancelled meanwhile
    os.kill(os.getpid(), signal.SIGKILL)


def interrupted(_: str) -> None:
    with local(2) as mapper:
        list(mapper(interrupt_and_hang, range(300)))


def failed_and_died(folder: str) -> None:
    with local(2) as mapper:
        list(mapper(fail_then_die, [Path(folder) / str(number) for number in range(300)]))


def many_died(_: str) -> None:
    with local(2) as mapper:
        list(mapper(die, [1] * 300))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("ended", "told"),
    [
        (interrupted, "KeyboardInterrupt"),
        (failed_and_died, "0: is damaged"),
        (many_died, "a worker process died, most often for lack of memory; run it again with fewer --workers"),
    ],
)
def test_a_pool_ends_whatever_ends_it(ended: Callable[[str], None], told: str, tmp_path: Path) -> None:
    code = f"from {__name__} import {ended.__name__}; {ended.__name__}({str(tmp_path)!r})"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=300)
    assert ran.returncode != 0
    assert ran.stderr.strip().splitlines()[-1].endswith(told)
    assert "Exception in thread" not in ran.stderr


@pytest.mark.parametrize(
    "kind", [MLImagesError, DataError, SchemaError, UsageError, ConfigError, VocabularyError, DownloadError]
)
def test_every_error_survives_the_way_between_processes(kind: type[MLImagesError]) -> None:
    for error in (kind("what"), kind("what", where="w", line=3, remedy="r")):
        copy = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own
        assert type(copy) is kind
        assert (str(copy), copy.what, copy.where, copy.line, copy.remedy) == (
            str(error),
            error.what,
            error.where,
            error.line,
            error.remedy,
        )
