"""How a whole loader scales with its workers, and what it costs above the transform alone.

    python -m tests.benchmarks.loader_scaling --images DIR [--times 8]

The pictures (any folder of JPEGs) are put into a shard and given a label each. Numbers of workers alternate within each
repetition. Images/s scale only where processors are idle; the processor time of an image, which should be the same for
any number of workers, can be told on a busy machine too.
"""

from __future__ import annotations

import os
import platform
import tempfile
import time
from pathlib import Path

import click
import numpy as np
import psutil
import pyarrow as pa
import torch

from mlimages_dataset.loaders import Loader, MLImages, train_transform
from mlimages_dataset.loaders.orders import RepeatFactor
from mlimages_dataset.loaders.samplers import OrderSampler
from mlimages_dataset.tables.parquet import write_table
from mlimages_dataset.tables.schemas import LABELS
from tests.images.folders import image_folder


def data_set(images: Path, folder: Path) -> MLImages:
    """Return the pictures of a folder in a shard, with a label each."""
    contents: dict[str, bytes | None] = {
        path.stem: path.read_bytes() for path in sorted(images.rglob("*")) if path.suffix.lower() in {".jpg", ".jpeg"}
    }
    image_folder(folder / "images", [contents])
    n = len(contents)
    labels = [[{"class_index": 0, "confidence": 1.0, "origin": 0}]] * n
    table = pa.table([list(contents), ["benchmark"] * n, [""] * n, labels], schema=LABELS.arrow)
    write_table(folder / "labels" / "part-00000.parquet", table, LABELS, {})
    return MLImages(
        folder / "images",
        folder / "labels",
        split=None,
        transform=train_transform(),
        n_classes=1,
        cache=folder / "cache",
    )


def cpu_seconds() -> float:
    """Return the processor time of this process, of those that it has waited for, and of those that run below it."""
    spent, running = os.times(), [one.cpu_times() for one in psutil.Process().children(recursive=True)]
    ended = spent.user + spent.system + spent.children_user + spent.children_system
    return ended + sum(one.user + one.system for one in running)


def made(data: MLImages, times: int, workers: int | None, batch_size: int) -> tuple[float, float]:
    """Return images/s and the processor's milliseconds for an image; None workers for no loader at all."""
    order = RepeatFactor(np.full(len(data), times, np.float32), threshold=1.0)
    sampler = OrderSampler(order, world=1, rank=0)
    before, start = cpu_seconds(), time.perf_counter()
    n = 0
    if workers is None:
        for draw in sampler:
            data[draw]
            n += 1
    else:
        for batch in Loader(data, sampler, batch_size=batch_size, workers=workers):
            n += len(batch)
    return n / (time.perf_counter() - start), (cpu_seconds() - before) / n * 1e3


@click.command()
@click.option("--images", type=click.Path(path_type=Path, exists=True), required=True)
@click.option("--times", default=8, show_default=True, help="how often each picture comes")
@click.option("--batch-size", default=32, show_default=True)
@click.option("--repeat", default=5, show_default=True)
def main(images: Path, times: int, batch_size: int, repeat: int) -> None:
    """Print images/s and processor time for an image without a loader, with one worker and with two."""
    torch.set_num_threads(1)
    settings: tuple[int | None, ...] = (None, 1, 2)
    with tempfile.TemporaryDirectory() as name:
        data = data_set(images, Path(name))
        print(f"{platform.machine()}, {os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}, {len(data)} pictures")
        data[0]  # compiles what is compiled once
        rounds = []
        for _ in range(repeat):
            rounds.append([made(data, times, workers, batch_size) for workers in settings])
            print("no loader, 1 worker, 2 workers:", *(f"{speed:8.1f}/s {cpu:6.2f} ms" for speed, cpu in rounds[-1]))
        speed, cpu = np.moveaxis(np.array(rounds), 2, 0)
        for what, ratios in (
            ("images/s, 1 worker / no loader", speed[:, 1] / speed[:, 0]),
            ("images/s, 2 workers / 1 worker", speed[:, 2] / speed[:, 1]),
            ("processor time, 1 worker / no loader", cpu[:, 1] / cpu[:, 0]),
            ("processor time, 2 workers / 1 worker", cpu[:, 2] / cpu[:, 1]),
        ):
            print(f"{what:38} median {np.median(ratios):.2f}, from {ratios.min():.2f} to {ratios.max():.2f}")


if __name__ == "__main__":
    main()
