"""Time `images download` against img2dataset, against decoding alone, and against a bare aiohttp loop.

    python -m tests.benchmarks.download_throughput --folder DIR [--rows 6000] [--repeat 3] [--img2dataset PYTHON]

Photographs of 1.2 to 1.7 megapixels and about 0.3 MB are cut from the packaged ones (and from the published ones, where
they are) and served by nginx on the loopback interface, or by aiohttp where there is no nginx. Every repetition runs
all of the following, in turn, over the same list on the same processors, the server's work included:

    bare          one aiohttp loop that reads every body and forgets it
    decoding      a process for each processor in which Pillow decodes pictures from the page cache, at an eighth of
                  their size: no network, no shard
    ours          mlimages-build images download
    ours, --no-check
    img2dataset   bytes stored as they are (resize_mode no, skip_reencode), with its best number of threads
    img2dataset, as it comes    the same without skip_reencode: pictures that need no resizing are encoded again

The commands are timed as processes. What a list of the first 1,001 rows takes is subtracted from each, so that neither
the program's start nor that of its workers counts: one row starts one worker, and the others would pass for work.
Ratios are within one repetition: of images a second, and of images by a second of a processor, which other programs on
the same machine disturb less (the server's work is not in it). img2dataset lives in an environment of its own: name its
Python.
"""

from __future__ import annotations

import asyncio
import functools
import io
import multiprocessing
import os
import resource
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp
import click
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from mlimages_dataset.images.statuses import Status

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

PICTURES = 600
WANTED_BYTES = 300_000
MEGAPIXELS = (1.2, 1.7)
THREADS = (32, 64, 128, 256)
BARE_CONNECTIONS = 32
LIMIT_SECONDS = 900.0
START_ROWS = 1001
"""Two slices of ours and two shards of img2dataset's: with them two workers have begun."""
SAMPLES = Path(__file__).parents[2] / "mlimages_dataset" / "samples" / "photographs"

NGINX = """
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/nginx.log;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    sendfile on;
    tcp_nopush on;
    keepalive_requests 1000000;
    types {{ image/jpeg jpg; }}
    client_body_temp_path {folder}/nginx-body;
    proxy_temp_path {folder}/nginx-proxy;
    fastcgi_temp_path {folder}/nginx-fastcgi;
    uwsgi_temp_path {folder}/nginx-uwsgi;
    scgi_temp_path {folder}/nginx-scgi;
    server {{ listen 127.0.0.1:{port}; root {root}; }}
}}
"""


_THEIRS = "img2dataset"
_THEIRS_AS_IT_COMES = "img2dataset, as it comes"


@dataclass(frozen=True, slots=True)
class Cost:
    """Seconds that something takes, and seconds of processors, its own and its children's."""

    seconds: float
    processor: float

    def __sub__(self, other: Cost) -> Cost:
        return Cost(self.seconds - other.seconds, self.processor - other.processor)


@contextmanager
def measured(who: int) -> Iterator[list[Cost]]:
    """Yield a list that holds the cost of the block when it has ended."""
    costs: list[Cost] = []
    before, start = resource.getrusage(who), time.perf_counter()
    yield costs
    seconds, after = time.perf_counter() - start, resource.getrusage(who)
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    costs.append(Cost(seconds, processor))


@dataclass
class Rates:
    """What was measured, by name, one figure a repetition: images a second, and by a second of a processor."""

    of: dict[str, list[float]] = field(default_factory=dict)
    of_processor: dict[str, list[float]] = field(default_factory=dict)

    def add(self, name: str, rows: int, cost: Cost) -> None:
        """Note and print the rates of a run over so many rows."""
        self.of.setdefault(name, []).append(rows / cost.seconds)
        self.of_processor.setdefault(name, []).append(rows / cost.processor)
        milliseconds = cost.processor / rows * 1000
        print(f"{name:24} {rows / cost.seconds:8.0f} images/s, {milliseconds:6.2f} ms of a processor each", flush=True)

    def ratio(self, above: str, below: str) -> str:
        """Return the median, lowest and highest ratio within a repetition, in words."""
        said = []
        for rates in (self.of, self.of_processor):
            ratios = sorted(a / b for a, b in zip(rates[above], rates[below], strict=True))
            said.append(f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})")
        return f"{above} / {below}: {said[0]}; by processor time {said[1]}"


def make_pictures(folder: Path) -> list[Path]:
    """Return the paths of JPEGs of the wanted sizes, made unless they are there."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{number:05d}.jpg" for number in range(PICTURES)]
    shared = os.environ.get("MLIMAGES_SHARED_DATA", Path(__file__).parents[2].parent / "shared" / "data")
    sources = sorted(SAMPLES.glob("*.jpg")) + sorted(Path(shared, "images").glob("*.JPEG"))
    for number, path in enumerate(paths):
        if path.exists():
            continue
        rng = np.random.default_rng(number)
        with Image.open(sources[number % len(sources)]) as image:
            picture = image.convert("RGB")
        # Another cut of the same photograph each time; enlarged by a filter that keeps edges sharp.
        share = rng.uniform(0.8, 1.0)
        width, height = int(picture.width * share), int(picture.height * share)
        left, top = int(rng.integers(picture.width - width + 1)), int(rng.integers(picture.height - height + 1))
        scale = (rng.uniform(*MEGAPIXELS) * 1e6 / (width * height)) ** 0.5
        size = round(width * scale), round(height * scale)
        cut = picture.resize(size, Image.Resampling.LANCZOS, box=(left, top, left + width, top + height))
        path.write_bytes(encoded(cut))
    return paths


def encoded(picture: Image.Image) -> bytes:
    """Return a JPEG whose size is as near to the wanted one as a quality of 60 to 97 comes."""
    low, high = 60, 97
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if len(jpeg(picture, middle)) <= WANTED_BYTES else (low, middle - 1)
    return jpeg(picture, low)


def jpeg(picture: Image.Image, quality: int) -> bytes:
    content = io.BytesIO()
    picture.save(content, "JPEG", quality=quality)
    return content.getvalue()


@contextmanager
def served(root: Path, folder: Path) -> Iterator[str]:
    """Yield the address of a server of a folder's files, on the loopback interface."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    nginx = shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin")
    if nginx is not None:
        config = folder / "nginx.conf"
        user = "user root;" if os.geteuid() == 0 else ""  # else it would serve as nobody, whom folders may refuse
        config.write_text(user + NGINX.format(folder=folder, root=root, port=port))
        command = [nginx, "-p", str(folder), "-c", str(config), "-g", "daemon off;"]
    else:
        command = [sys.executable, "-m", "tests.benchmarks.download_throughput", "serve", str(root), str(port)]
    with subprocess.Popen(command) as server:
        try:
            wait_for(port)
            print(f"served by {'nginx' if nginx else 'aiohttp'} at port {port}")
            yield f"http://127.0.0.1:{port}"
        finally:
            server.send_signal(signal.SIGTERM)


def wait_for(port: int) -> None:
    for _ in range(100):
        with socket.socket() as tried:
            if tried.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise TimeoutError("the server does not start")


async def read_all(urls: Sequence[str]) -> int:
    """Return the bytes of all bodies, read over a few connections and forgotten."""
    waiting = iter(urls)
    received = 0

    async def reader(session: aiohttp.ClientSession) -> None:
        nonlocal received
        for url in waiting:
            async with session.get(url, raise_for_status=True) as response:
                content = await response.read()
            received += len(content)

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        await asyncio.gather(*(reader(session) for _ in range(BARE_CONNECTIONS)))
    return received


def decoded(paths: Sequence[Path]) -> tuple[int, float]:
    """Return how many JPEGs Pillow decodes at an eighth of their size, and the seconds of a processor that it took."""
    start, whole = time.process_time(), 0
    for path in paths:
        with Image.open(io.BytesIO(path.read_bytes())) as image:
            image.draft("L", (image.width // 8, image.height // 8))
            image.load()
        whole += 1
    return whole, time.process_time() - start


def timed(command: Sequence[str | Path], out: Path) -> Cost:
    """Return what a command costs; its output folder is removed first."""
    shutil.rmtree(out, ignore_errors=True)
    words = [str(word) for word in command]
    environment = {**os.environ, "NO_ALBUMENTATIONS_UPDATE": "1"}  # img2dataset would ask the Internet
    with measured(resource.RUSAGE_CHILDREN) as costs:
        done = subprocess.run(
            words, capture_output=True, text=True, timeout=LIMIT_SECONDS, check=False, env=environment
        )
    if done.returncode:
        raise RuntimeError(f"{words[:3]} failed: {done.stderr[-2000:]}")
    return costs[0]


@dataclass(frozen=True, slots=True)
class Bench:
    """What is downloaded, and the commands that do it."""

    whole: Path
    start: Path
    out: Path
    urls: Sequence[str]
    paths: Sequence[Path]
    cores: int
    python: Path | None

    @property
    def rows(self) -> int:
        """The rows whose cost is told."""
        return len(self.urls) - START_ROWS

    def ours(self, rows: Path, *options: str) -> list[str | Path]:
        """Return our command."""
        script = Path(sys.executable).with_name("mlimages-build")
        fixed = ("--allow-private", "--workers", str(self.cores), "--placeholder-repeats", "0")
        return [script, "images", "download", rows, "--out", self.out, *fixed, *options]

    def theirs(self, rows: Path, threads: int, *, skip_reencode: bool = True) -> list[str | Path]:
        """Return img2dataset's command."""
        assert self.python is not None
        options = {
            "url_list": str(rows),
            "input_format": "parquet",
            "url_col": "url",
            "output_folder": str(self.out),
            "output_format": "webdataset",
            "resize_mode": "no",
            "skip_reencode": str(skip_reencode),
            "processes_count": str(self.cores),
            "thread_count": str(threads),
            "number_sample_per_shard": "1000",
        }
        return [self.python.with_name("img2dataset"), *(f"--{name}={value}" for name, value in options.items())]

    def cost(self, command: Callable[[Path], Sequence[str | Path]]) -> Cost:
        """Return what a command costs for the rows after the first `START_ROWS`."""
        start = timed(command(self.start), self.out)
        cost = timed(command(self.whole), self.out)
        assert written(self.out) == len(self.urls), f"{written(self.out)} of {len(self.urls)} rows"
        return cost - start


def written(out: Path) -> int:
    """Return the pictures in a folder of shards of either program."""
    if (out / "manifest.json").exists():
        parts = [pq.read_table(path, columns=["status"]) for path in out.glob("part-*.parquet")]
        return sum(part["status"].to_pylist().count(Status.SAVED) for part in parts)
    return sum(
        pq.read_table(path, columns=["status"])["status"].to_pylist().count("success") for path in out.glob("*.parquet")
    )


@click.group(invoke_without_command=True)
@click.option("--folder", type=click.Path(path_type=Path))
@click.option("--rows", type=click.IntRange(START_ROWS + 1), default=6000, show_default=True)
@click.option("--repeat", default=3, show_default=True)
@click.option("--img2dataset", "python", type=click.Path(path_type=Path), help="The Python it is installed for.")
@click.pass_context
def main(context: click.Context, folder: Path | None, rows: int, repeat: int, python: Path | None) -> None:
    """Print the rates of each repetition, and the ratios."""
    if context.invoked_subcommand:
        return
    if folder is None:
        raise click.UsageError("--folder is needed")
    folder = folder.resolve()
    cores = len(os.sched_getaffinity(0))
    pictures = make_pictures(folder / "pictures")
    sizes = [path.stat().st_size for path in pictures]
    print(
        f"{cores} cores, load {os.getloadavg()[0]:.1f}; {rows:,} rows, "
        f"{len(pictures)} pictures of {np.mean(sizes) / 1e6:.3f} MB"
    )
    with served(folder / "pictures", folder) as address:
        urls = [f"{address}/{pictures[row % len(pictures)].name}" for row in range(rows)]
        lists = write_lists(folder, urls)
        paths = [pictures[row % len(pictures)] for row in range(rows)]
        measure(Bench(*lists, folder / "out", urls, paths, cores, python), repeat)


def write_lists(folder: Path, urls: Sequence[str]) -> tuple[Path, Path]:
    """Return the paths of the list and of one with its first rows alone."""
    ids = [f"{row:08d}" for row in range(len(urls))]
    table = pa.table({"image_id": ids, "url": list(urls)})
    whole, start = folder / "list.parquet", folder / "start.parquet"
    pq.write_table(table, whole)
    pq.write_table(table.slice(0, START_ROWS), start)
    return whole, start


def measure(bench: Bench, repeat: int) -> None:
    """Time everything in turn, and print."""
    rates = Rates()
    threads = 0 if bench.python is None else best_threads(bench)
    with ProcessPoolExecutor(bench.cores, mp_context=multiprocessing.get_context("spawn")) as pool:
        list(pool.map(decoded, [bench.paths[:8]] * (4 * bench.cores)))  # the workers start
        for _ in range(repeat):
            with measured(resource.RUSAGE_SELF) as costs:
                received = asyncio.run(read_all(bench.urls))
            rates.add("bare", len(bench.urls), costs[0])
            assert received == sum(path.stat().st_size for path in bench.paths)
            batches = [bench.paths[at : at + 16] for at in range(0, len(bench.paths), 16)]
            start = time.perf_counter()
            found = list(pool.map(decoded, batches))
            seconds = time.perf_counter() - start
            assert sum(whole for whole, _ in found) == len(bench.paths)
            rates.add("decoding", len(bench.paths), Cost(seconds, sum(processor for _, processor in found)))
            rates.add("ours", bench.rows, bench.cost(bench.ours))
            rates.add("ours, --no-check", bench.rows, bench.cost(lambda rows: bench.ours(rows, "--no-check")))
            if threads:
                for name, skip in ((_THEIRS, True), (_THEIRS_AS_IT_COMES, False)):
                    command = functools.partial(bench.theirs, threads=threads, skip_reencode=skip)
                    rates.add(name, bench.rows, bench.cost(command))
    print("images a second; images by a second of a processor: median (lowest to highest) of the repetitions")
    print(f"load {os.getloadavg()[0]:.1f}; largest process {peak_mib():.0f} MiB")
    print(rates.ratio("ours", "decoding"))
    print(rates.ratio("ours, --no-check", "bare"))
    if threads:
        for name in (_THEIRS, _THEIRS_AS_IT_COMES):
            print(rates.ratio("ours", name) + f" with {threads} threads")


def best_threads(bench: Bench) -> int:
    """Return the number of threads with which img2dataset downloads the first rows fastest, its start included."""
    found: dict[int, float] = {}
    for threads in THREADS:
        found[threads] = START_ROWS / timed(bench.theirs(bench.start, threads), bench.out).seconds
        print(f"img2dataset, {threads} threads: {found[threads]:.0f} images/s", flush=True)
    return max(found, key=found.__getitem__)


def peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024


@main.command()
@click.argument("root", type=click.Path(path_type=Path))
@click.argument("port", type=int)
def serve(root: Path, port: int) -> None:
    """Serve a folder by aiohttp."""
    from aiohttp import web  # noqa: PLC0415 - only where there is no nginx

    app = web.Application()
    app.router.add_static("/", root)
    web.run_app(app, host="127.0.0.1", port=port, print=None, access_log=None)


if __name__ == "__main__":
    main()
