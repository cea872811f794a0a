"""How a whole loader scales with its workers, and what it costs above the transform alone.

    python -m tests.benchmarks.loader_scaling --images DIR [--repeat 5]

The pictures (any folder of JPEGs) are put into shards and given a label each. Numbers of workers alternate within each
repetition, so that what else the machine does falls on all of them.
"""

from __future__ import annotations

import os
import platform
import tempfile
import time
from pathlib import Path

import click
import numpy as np
import pyarrow as pa
import torch

from mlimages_dataset.loaders import MLImages, train_transform
from mlimages_dataset.loaders.bench import measure
from mlimages_dataset.schemas import LABELS
from mlimages_dataset.storage import write_table
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


def alone(data: MLImages, n: int) -> float:
    """Return the images/s of samples that are made one after the other in this process."""
    rows = np.random.default_rng(0).integers(0, len(data), n).tolist()
    start = time.perf_counter()
    for row in rows:
        data[row]
    return n / (time.perf_counter() - start)


@click.command()
@click.option("--images", type=click.Path(path_type=Path, exists=True), required=True)
@click.option("--batches", default=20, show_default=True)
@click.option("--batch-size", default=32, show_default=True)
@click.option("--repeat", default=5, show_default=True)
def main(images: Path, batches: int, batch_size: int, repeat: int) -> None:
    """Print images/s without a loader, with one worker and with two, and the ratios."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        data = data_set(images, Path(name))
        print(
            f"{platform.machine()}, {os.cpu_count()} processors, {len(data)} pictures, {batches} batches of {batch_size}"
        )
        to_alone, to_one = [], []
        for _ in range(repeat):
            single = alone(data, batches * batch_size)
            one, two = (
                measure(data, batch_size=batch_size, workers=workers, batches=batches).images_per_second
                for workers in (1, 2)
            )
            to_alone.append(one / single)
            to_one.append(two / one)
            print(
                f"no loader {single:8.1f}  1 worker {one:8.1f}  2 workers {two:8.1f} images/s; 1 worker / no loader "
                f"{to_alone[-1]:.2f}, 2 workers / 1 worker {to_one[-1]:.2f}"
            )
        for what, ratios in (("1 worker / no loader", to_alone), ("2 workers / 1 worker", to_one)):
            print(f"{what}: median {np.median(ratios):.2f}, from {min(ratios):.2f} to {max(ratios):.2f}")


if __name__ == "__main__":
    main()
