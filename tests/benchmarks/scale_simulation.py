"""What a billion images would take on a cluster: a simulation driven by the measured costs of one part.

    python -m tests.benchmarks.scale_simulation --folder DIR [--page docs/scale.md]

Two stages are run on this machine, on simulated tables: `labels`, whose parts are independent, and `cooccurrence`,
whose parts return counts that are added up. For each, the seconds and bytes of a part's reading, computing and writing
are measured, the seconds and bytes of its result where the results are put together, the seconds before and after all
parts, and what Dask needs for a task and for the bytes of a result. The simulation puts these into a schedule. It is
first checked against real Dask runs of one and two workers here, and then asked about a cluster that is not here.
`--page` replaces the figures of the page between its marks.
"""

from __future__ import annotations

import contextlib
import functools
import heapq
import pickle
import shutil
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from mlimages_dataset.augment.cooccurrence_stage import cooccurrence
from mlimages_dataset.augment.labels_stage import label
from mlimages_dataset.pipeline.engine import dask
from mlimages_dataset.pipeline.stage import Engine, Workplace
from mlimages_dataset.tables.parquet import scan_table, table_parts, table_writer
from mlimages_dataset.tables.schemas import ANNOTATIONS, LABELS, PREDICTIONS
from mlimages_dataset.vocab.folder import read_vocabulary
from tests.benchmarks.measurement import machine
from tests.benchmarks.simulated import annotations_folder, first_parts, predictions_folder, vocabulary_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from mlimages_dataset.tables.schemas import TableSchema

ROWS = 8_388_608
PART_ROWS = 1 << 19
BILLION = 1_000_000_000
_TASKS, _SENT, _SENT_BYTES = 300, 16, 10_000_000
_SORTS, _SORTED = 10, 1_000_000
_BEGIN, _END = "<!-- figures -->\n", "<!-- end of figures -->\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """The costs of one part.

    Attributes:
        rows: its images.
        read: seconds to read it from the page cache.
        compute: seconds to compute.
        write: seconds to write its output.
        bytes_read: of its files.
        bytes_written: of its output.
        bytes_returned: of its result, pickled.
        merge: seconds to add its result to those before, in the process that runs the stage.
        around: seconds of that process before and after all parts.
    """

    rows: int
    read: float
    compute: float
    write: float
    bytes_read: int
    bytes_written: int
    bytes_returned: int
    merge: float
    around: float

    @property
    def work(self) -> float:
        """Seconds of a worker's processor."""
        return self.read + self.compute + self.write

    def of_rows(self, rows: int) -> Part:
        """Return a part of so many rows, whose result is as large: it has counts by category."""
        share = rows / self.rows
        return replace(
            self,
            rows=rows,
            read=self.read * share,
            compute=self.compute * share,
            write=self.write * share,
            bytes_read=round(self.bytes_read * share),
            bytes_written=round(self.bytes_written * share),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """Machines and their connections.

    Attributes:
        workers: processes of one core each.
        dispatch: seconds that the scheduler needs for a task.
        start: seconds until a worker has imported everything and compiled its loops.
        latency: seconds until the first byte of an object.
        connection: bytes a second between a worker and the store.
        store: bytes a second of the store in all.
        network: bytes a second into the process that runs the stage.
        slowdown: how many times as long the work of a part takes beside the other workers: on one machine they share
            memory, and two of its processors may be one core.
    """

    workers: int
    dispatch: float
    start: float
    latency: float = 0.0
    connection: float = float("inf")
    store: float = float("inf")
    network: float = float("inf")
    slowdown: float = 1.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """A simulated run: its seconds, and those in which each resource is busy."""

    seconds: float
    busy: dict[str, float]

    @property
    def bottleneck(self) -> str:
        """The resource that is busy for longest."""
        return max(self.busy, key=self.busy.__getitem__)


def simulate(part: Part, n_parts: int, cluster: Cluster) -> Outcome:
    """Return the outcome of a stage of equal parts.

    The scheduler sends one task after another to the worker that is free first. A worker reads, computes and writes.
    Results are added up in their order, one after another, where the stage runs.
    """
    connection = min(cluster.connection, cluster.store / cluster.workers)
    transfer = 2 * cluster.latency + (part.bytes_read + part.bytes_written) / connection
    returned = part.bytes_returned / cluster.network
    work = part.work * cluster.slowdown
    free = [cluster.start] * cluster.workers
    scheduler = merged = 0.0
    for _ in range(n_parts):
        scheduler = max(scheduler, free[0]) + cluster.dispatch if free[0] > scheduler else scheduler + cluster.dispatch
        finished = max(heapq.heappop(free), scheduler) + transfer + work
        heapq.heappush(free, finished)
        merged = max(merged, finished) + returned + part.merge
    bytes_moved = n_parts * (part.bytes_read + part.bytes_written)
    busy = {
        "the workers' processors": n_parts * work / cluster.workers,
        "the workers' connections": n_parts * (2 * cluster.latency) / cluster.workers
        + bytes_moved / (cluster.connection * cluster.workers),
        "the store": bytes_moved / cluster.store,
        "the scheduler": n_parts * cluster.dispatch,
        "adding up the results": n_parts * (returned + part.merge) + part.around,
    }
    return Outcome(part.around + merged, busy)


class Watch:
    """A mapper in this process that measures its jobs and what happens to their results between them."""

    def __init__(self) -> None:
        self.jobs: list[float] = []
        self.merges: list[float] = []
        self.returned: list[int] = []
        self.pickling = 0.0

    def __call__(self, function: Callable[[Any], Any], jobs: Iterable[Any], /) -> Iterator[Any]:
        """Return the results of the jobs, in their order."""
        for job in jobs:
            start = time.perf_counter()
            result = function(job)
            self.jobs.append(time.perf_counter() - start)
            start = time.perf_counter()
            self.returned.append(len(pickle.dumps(result)))
            self.pickling += time.perf_counter() - start
            start = time.perf_counter()
            yield result
            self.merges.append(time.perf_counter() - start)


@dataclass(frozen=True, slots=True)
class Run:
    """A stage to measure.

    Attributes:
        name: of the stage.
        inputs: its tables.
        work: runs it with a mapper into a folder, over the first parts only if a number is given.
        written: the schema of what its parts write; None if they write nothing.
    """

    name: str
    inputs: tuple[tuple[Path, TableSchema], ...]
    work: Callable[[Any, Path, int | None], object]
    written: TableSchema | None


def runs(folder: Path, rows: int) -> list[Run]:
    """Return the stages over tables of so many images."""
    at = vocabulary_folder(folder)
    vocabulary = read_vocabulary(at)
    annotations = annotations_folder(folder, rows, len(vocabulary))
    predictions = predictions_folder(folder, rows, len(vocabulary))

    def some(given: Path, parts: int | None) -> Path:
        return given if parts is None else first_parts(given, parts)

    def labels(mapper: Any, out: Path, parts: int | None) -> object:
        return label(vocabulary, [some(annotations, parts)], Workplace(out, engine=Engine(mapper=mapper)))

    def pairs(mapper: Any, out: Path, parts: int | None) -> object:
        given = (some(annotations, parts), some(predictions, parts))
        return cooccurrence(vocabulary, *given, Workplace(out, engine=Engine(mapper=mapper)))

    return [
        Run("labels", ((annotations, ANNOTATIONS),), labels, LABELS),
        Run("cooccurrence", ((annotations, ANNOTATIONS), (predictions, PREDICTIONS)), pairs, None),
    ]


def measured(run: Run, rows: int, out: Path) -> Part:
    """Return the mean costs of a part of a stage."""
    watch = Watch()
    shutil.rmtree(out, ignore_errors=True)
    whole = seconds_of(lambda: run.work(watch, out, None)) - watch.pickling
    n = len(watch.jobs)
    files = [(path, schema) for folder, schema in run.inputs for path in table_parts(folder)]
    start = time.perf_counter()
    for path, schema in files:
        for _ in scan_table(path, schema, columns=("image_id", "labels")):
            pass
    read = time.perf_counter() - start
    write, bytes_written = (0.0, 0) if run.written is None else _writing(table_parts(out), run.written, out)
    return Part(
        rows=rows // n,
        read=read / n,
        compute=max(0.0, sum(watch.jobs) - read - write) / n,
        write=write / n,
        bytes_read=sum(path.stat().st_size for path, _ in files) // n,
        bytes_written=bytes_written // n,
        bytes_returned=sum(watch.returned) // n,
        merge=sum(watch.merges) / n,
        around=max(0.0, whole - sum(watch.jobs) - sum(watch.merges)),
    )


def _writing(parts: Sequence[Any], schema: TableSchema, out: Path) -> tuple[float, int]:
    """Return the seconds that writing tables again takes, and their bytes."""
    seconds = 0.0
    for part in parts:
        batches = list(scan_table(part, schema))
        start = time.perf_counter()
        with table_writer(out / "again.parquet", schema, {}) as writer:
            for batch in batches:
                writer.write(batch)
        seconds += time.perf_counter() - start
    return seconds, sum(part.stat().st_size for part in parts)


@contextlib.contextmanager
def dask_here(workers: int) -> Iterator[Any]:
    """Yield a mapper over a Dask cluster of this machine, of processes with one thread each."""
    import distributed  # noqa: PLC0415 - an extra

    with (
        distributed.LocalCluster(  # type: ignore[no-untyped-call]
            n_workers=workers, threads_per_worker=1, processes=True, dashboard_address=":0", host="127.0.0.1"
        ) as cluster,
        dask(cluster.scheduler_address) as mapper,
    ):
        yield mapper


@dataclass(frozen=True, slots=True)
class Check:
    """A real run beside its simulation."""

    stage: str
    workers: int
    real: float
    simulated: float


def seconds_of(work: Callable[[], object]) -> float:
    """Return how long a call takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def real_runs(every: Sequence[Run], out: Path, workers: int) -> tuple[list[float], Cluster]:
    """Return the seconds of each stage on warm workers of this machine, and what is measured of these."""
    with dask_here(workers) as mapper:
        first = functools.partial(every[0].work, mapper, out, 2)
        cold, warm = seconds_of(first), seconds_of(first)
        for run in every[1:]:
            run.work(mapper, out, 2)
        task = seconds_of(lambda: list(mapper(abs, range(_TASKS)))) / _TASKS
        sent = seconds_of(lambda: list(mapper(bytes, [_SENT_BYTES] * _SENT))) / _SENT
        list(mapper(_sort, range(workers)))
        alone = seconds_of(lambda: list(mapper(_sort, range(1))))
        together = seconds_of(lambda: list(mapper(_sort, range(workers))))
        found = []
        for run in every:
            shutil.rmtree(out, ignore_errors=True)
            found.append(seconds_of(functools.partial(run.work, mapper, out, None)))
    network = _SENT_BYTES / max(1e-9, sent - task)
    start = max(0.0, cold - warm)
    slowdown = max(1.0, together / alone)
    return found, Cluster(workers=workers, dispatch=task, start=start, network=network, slowdown=slowdown)


def _sort(seed: int) -> None:
    """Work for a second with numbers that do not fit into a processor's cache."""
    for _ in range(_SORTS):
        np.random.default_rng(seed).random(_SORTED).sort()


def report(parts: dict[str, Part], checks: Sequence[Check], cluster: Cluster, where: str, slowdown: float) -> str:
    """Return the figures as Markdown."""
    lines = [where, "", "One part, measured:", ""]
    lines += [
        "| stage | images | read | compute | write | bytes read | written | result | adding it up | around all parts |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    lines += [
        f"| `{name}` | {part.rows:,} | {part.read:.2f} s | {part.compute:.2f} s | {part.write:.2f} s | "
        f"{part.bytes_read / 1e6:.1f} MB | {part.bytes_written / 1e6:.1f} MB | {part.bytes_returned / 1e6:.2f} MB | "
        f"{part.merge:.3f} s | {part.around:.2f} s |"
        for name, part in parts.items()
    ]
    lines += ["", f"A task of Dask takes {cluster.dispatch * 1e3:.1f} ms, a worker {cluster.start:.0f} s to start."]
    lines += [
        "",
        (
            "The simulation against real Dask runs on this machine, whole stages. Two workers at once take "
            f"{slowdown:.2f} times as long for the same work as one alone:"
        ),
        "",
    ]
    lines += ["| stage | workers | real | simulated | ratio |", "|---|---:|---:|---:|---:|"]
    lines += [
        f"| `{check.stage}` | {check.workers} | {check.real:.1f} s | {check.simulated:.1f} s | "
        f"{check.simulated / check.real:.2f} |"
        for check in checks
    ]
    store = f"{cluster.connection / 1e6:.0f} MB/s for each worker, {cluster.store / 1e9:.1f} GB/s for all"
    lines += [
        "",
        f"{BILLION:,} images on {cluster.workers} workers of one core. Assumed of the store and the network:",
        "",
        f"* {cluster.latency:.1f} s to the first byte of an object, {store};",
        f"* {cluster.network / 1e9:.2f} GB/s into the process that runs the stage.",
        "",
        "| stage | parts | time | read | written | results | first bottleneck | the next |",
        "|---|---:|---:|---:|---:|---:|---|---|",
    ]
    lines += [_billion(name, part, cluster) for name, part in parts.items()]
    return "\n".join(lines) + "\n"


def _billion(name: str, part: Part, cluster: Cluster) -> str:
    part = part.of_rows(PART_ROWS)
    n = -(-BILLION // part.rows)
    found = simulate(part, n, cluster)
    _, second = sorted(found.busy, key=found.busy.__getitem__, reverse=True)[:2]
    return (
        f"| `{name}` | {n:,} | {found.seconds / 3600:.2f} h | {n * part.bytes_read / 1e9:.0f} GB | "
        f"{n * part.bytes_written / 1e9:.0f} GB | {n * part.bytes_returned / 1e9:.1f} GB | "
        f"{found.bottleneck}, {found.busy[found.bottleneck] / found.seconds:.0%} of the time | "
        f"{second}, {found.busy[second] / found.seconds:.0%} |"
    )


def with_figures(page: str, figures: str) -> str:
    """Return a page with other figures between its marks.

    Raises:
        ValueError: it has no marks.
    """
    before, begin, rest = page.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not begin or not end:
        raise ValueError(f"the page lacks {_BEGIN.strip()} or {_END.strip()}")
    return f"{before}{begin}\n{figures}\n{end}{after}"


@click.command()
@click.option("--folder", type=click.Path(path_type=Path), required=True, help="For inputs and outputs.")
@click.option("--rows", default=ROWS, show_default=True, help="Images of the measured tables.")
@click.option("--workers", default=100, show_default=True, help="Of the cluster that is not here.")
@click.option("--latency", default=0.2, show_default=True, help="Seconds to the first byte of an object.")
@click.option("--connection", default=85e6, show_default=True, help="Bytes a second of a worker's connection.")
@click.option("--store", default=12.5e9, show_default=True, help="Bytes a second of the object store.")
@click.option("--network", default=1.25e9, show_default=True, help="Bytes a second into the stage's process.")
@click.option("--page", type=click.Path(path_type=Path, exists=True), help="Put the figures into this page.")
def main(folder: Path, rows: int, page: Path | None, workers: int, **connections: float) -> None:
    """Measure, check the simulation, and print what a billion images would take."""
    folder = folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    where = machine()
    every, out = runs(folder, rows), folder / "scale"
    for run in every:
        run.work(map, out, 2)  # so that loops are compiled
    parts = {run.name: measured(run, rows, out) for run in every}
    checks, here = [], []
    for n in (1, 2):
        real, local = real_runs(every, out, n)
        here.append(local)
        for run, seconds in zip(every, real, strict=True):
            part = parts[run.name]
            simulated = simulate(part, rows // part.rows, replace(local, start=0.0)).seconds
            checks.append(Check(run.name, n, seconds, simulated))
    dispatch, start = min(one.dispatch for one in here), max(one.start for one in here)
    cluster = Cluster(workers=workers, dispatch=dispatch, start=start, **connections)
    figures = report(parts, checks, cluster, where, here[-1].slowdown)
    click.echo(figures)
    if page is not None:
        page.write_text(with_figures(page.read_text("utf-8"), figures), "utf-8")


if __name__ == "__main__":
    main()
