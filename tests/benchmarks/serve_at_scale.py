"""How soon `mlimages-build serve` shows pages of 17.6 million images, and what memory it takes.

    python -m tests.benchmarks.serve_at_scale --folder DIR [--scale 1.0]

The build is simulated over the packaged vocabulary and left in the folder for the next run. The peer is DuckDB asked
for the same rows with the text that a page offers to copy: it reads the Parquet files, and has no index. At full scale
it needs 2 GB of disk and about ten minutes on 2 cores, of which the index takes four.
"""

from __future__ import annotations

import contextlib
import re
import statistics
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click
import duckdb
import psutil

from mlimages_dataset.serve import filters, snippets
from mlimages_dataset.serve.build import open_build
from mlimages_dataset.serve.filters import Filter
from mlimages_dataset.tables.schemas import Origin
from mlimages_dataset.vocab.folder import read_vocabulary
from tests.benchmarks.labels_at_scale import IMAGES
from tests.benchmarks.measurement import COMMAND, command, machine
from tests.benchmarks.simulated import annotations_folder, vocabulary_folder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlimages_dataset.serve.build import ServedBuild

VALIDATION_IMAGES = 50_000
PAGE_ROWS = 48


@dataclass(frozen=True, slots=True)
class Shown:
    """Seconds that a page took each time, the first time apart, and those of the peer (None: it was not asked)."""

    name: str
    first: float
    seconds: tuple[float, ...]
    peer: float | None

    def line(self) -> str:
        """Return a row of a Markdown table."""
        again, peer = statistics.median(self.seconds), "" if self.peer is None else f"{1000 * self.peer:,.0f} ms"
        ratio = "" if self.peer is None else f"{again / self.peer:.3f}"
        return f"| {self.name} | {1000 * self.first:,.0f} ms | {1000 * again:,.0f} ms | {peer} | {ratio} |"


def build_folder(folder: Path, scale: float) -> Path:
    """Return a folder with a vocabulary and simulated label tables, written unless it is there."""
    vocabulary = vocabulary_folder(folder)
    n_images = round(IMAGES * scale)
    given = annotations_folder(folder, n_images, len(read_vocabulary(vocabulary)))
    validation = str(min(VALIDATION_IMAGES, n_images // 10))
    command("labels", "--vocab", vocabulary, "--annotations", given, "--val", validation, "--out", folder / "labels")
    return folder


@contextlib.contextmanager
def served(build: Path) -> Iterator[tuple[str, psutil.Process]]:
    """Yield the address of a server in a process of its own, and the process."""
    arguments = [sys.executable, "-c", COMMAND, "serve", str(build), "--port", "0"]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        found = re.search(r"http://\S+/", server.stdout.readline())
        if found is None:
            raise RuntimeError("the server did not start")
        try:
            yield found[0].rstrip("/"), psutil.Process(server.pid)
        finally:
            server.terminate()


def seconds(url: str) -> float:
    """Return how long a page takes, to its last byte."""
    start = time.perf_counter()
    with urllib.request.urlopen(url) as answer:  # noqa: S310 - our own server
        answer.read()
    return time.perf_counter() - start


def peer_seconds(build: ServedBuild, chosen: Filter) -> float:
    """Return how long DuckDB takes over the Parquet files for the first rows of a filter."""
    statement = snippets.sql(chosen, build).removesuffix(";")
    start = time.perf_counter()
    with duckdb.connect(config={"threads": 2}) as connection:
        connection.execute(f"{statement} LIMIT {PAGE_ROWS}").fetchall()
    return time.perf_counter() - start


def categories_by_size(build: ServedBuild) -> list[int]:
    """Return the categories that have images, the most frequent first, as the index of the build counts them."""
    (path,) = build.folder.glob(".cache-serve-*.duckdb")
    with duckdb.connect(str(path), read_only=True) as connection:
        found = connection.execute(
            "SELECT class_index FROM counts GROUP BY class_index ORDER BY sum(n) DESC, class_index"
        ).fetchall()
    return [index for (index,) in found]


def pages(build: ServedBuild) -> Iterator[tuple[str, str, Filter | None]]:
    """Yield name and address of each measured page, and the filter that the peer is asked for."""
    order = categories_by_size(build)
    last = round(0.9 * IMAGES)
    for name, index in (("largest", order[0]), ("median", order[len(order) // 2]), ("smallest", order[-1])):
        own = Filter(category=index)
        wnid = build.vocabulary.categories[index].wnid
        yield f"category, {name}", f"/category?wnid={wnid}", None
        yield f"images of the {name} category", filters.address("/", own, build.vocabulary), own
        later = filters.address("/", own, build.vocabulary, after=last)
        yield f"images of the {name} category, at the end", later, None
    root = Filter(category=order[0], below=True, origin=Origin.ORIGINAL, least=0.85, most=0.95)
    yield "largest category and below, origin, confidence", filters.address("/", root, build.vocabulary), root
    rare = Filter(origin=Origin.MODEL_PREDICTION)
    yield "an origin that no label has", filters.address("/", rare, build.vocabulary), rare
    yield "all images", "/", Filter()
    yield "one image", "/image?id=0170000000000000", None


def run(folder: Path, scale: float, *, repeat: int) -> tuple[list[Shown], float, float, float]:
    """Return the outcomes, seconds and MiB until the index was made, and the most MiB of the server."""
    place = build_folder(folder, scale)
    for old in place.glob(".cache-serve-*"):
        old.unlink()
    start = time.perf_counter()
    with served(place) as (_, process):
        indexed = time.perf_counter() - start
        index_peak = peak_mebibytes(process)
    build = open_build(place)
    shown = []
    with served(place) as (address, process):
        for name, page, chosen in pages(build):
            first = seconds(address + page)
            again = tuple(seconds(address + page) for _ in range(repeat))
            shown.append(Shown(name, first, again, None if chosen is None else peer_seconds(build, chosen)))
            print(shown[-1].line(), file=sys.stderr, flush=True)
        return shown, indexed, index_peak, peak_mebibytes(process)


def peak_mebibytes(process: psutil.Process) -> float:
    """Return the most resident memory that a process had so far (Linux)."""
    status = Path(f"/proc/{process.pid}/status").read_text(encoding="ascii")
    return int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0]) / 1024


@click.command()
@click.option("--folder", type=click.Path(path_type=Path), required=True, help="For the build.")
@click.option("--scale", type=click.FloatRange(0, min_open=True), default=1.0, show_default=True)
@click.option("--repeat", type=click.IntRange(min=1), default=5, show_default=True)
def main(folder: Path, scale: float, repeat: int) -> None:
    """Measure pages of a simulated build, and print one table."""
    folder.mkdir(parents=True, exist_ok=True)
    where = machine()
    shown, indexed, index_peak, peak = run(folder.absolute(), scale, repeat=repeat)
    click.echo(f"{where}; {round(IMAGES * scale):,} images\n")
    click.echo("| page | first | again | DuckDB over Parquet | ours / theirs |\n|---|---:|---:|---:|---:|")
    click.echo("\n".join(one.line() for one in shown))
    click.echo(f"\nThe index took {indexed:.0f} s and {index_peak:,.0f} MiB; the server at most {peak:,.0f} MiB.")


if __name__ == "__main__":
    main()
