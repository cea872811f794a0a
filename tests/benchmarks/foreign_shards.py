"""How soon other people's shards are read in place, beside what `webdataset` and `datasets` take for the same.

    python -m tests.benchmarks.foreign_shards --pictures 20000

Makes tar shards as img2dataset writes them (`jpg`, `json` and `txt` of each picture) and Parquet files as Hugging Face
writes them, of small pictures that are in the page cache when they are read. Prints a Markdown table: seconds, and the
ratio to the library's own pass over the same files.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow.parquet as pq
import webdataset

from mlimages_dataset.images.registry import open_store
from tests.benchmarks.measurement import machine
from tests.images.folders import picture
from tests.images.foreign_folders import features, image_table, tar_folder, write_parquet

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlimages_dataset.images.store import ImageStore

OF_SHARD = 5_000
OF_GROUP = 100
"""Rows of a row group: what `datasets` writes where there are pictures."""


def write(folder: Path, n: int) -> None:
    """Write the same pictures in both forms."""
    contents = [picture(k, 96, 72) for k in range(100)]
    for number, first in enumerate(range(0, n, OF_SHARD)):
        members: dict[str, bytes] = {}
        keys = [f"{k:09d}" for k in range(first, min(first + OF_SHARD, n))]
        for k, key in enumerate(keys):
            said = json.dumps({"key": key, "url": f"https://host/{key}.jpg", "caption": "a picture"})
            members |= {f"{key}.jpg": contents[k % 100], f"{key}.json": said.encode(), f"{key}.txt": b"a picture"}
        tar_folder(folder / "tars", {f"{number:05d}.tar": members})
        images = [{"bytes": contents[k % 100], "path": f"{key}.jpg"} for k, key in enumerate(keys)]
        path = folder / "tables" / f"train-{number:05d}.parquet"
        write_parquet(path, image_table(images), metadata=features(image={"_type": "Image"}), row_group_size=OF_GROUP)


def seconds(work: Callable[..., object], *arguments: object) -> float:
    """Return how long a call takes."""
    start = time.perf_counter()
    work(*arguments)
    return time.perf_counter() - start


def webdataset_pass(folder: Path) -> None:
    """Read all samples as webdataset does."""
    shards = [str(path) for path in sorted(folder.glob("*.tar"))]
    for sample in webdataset.WebDataset(shards, shardshuffle=False):
        assert sample["jpg"]


def arrow_pass(folder: Path) -> None:
    """Read all pictures as pyarrow does, a row group at a time."""
    for path in sorted(folder.glob("*.parquet")):
        for batch in pq.ParquetFile(path).iter_batches(OF_GROUP, columns=["image.bytes"]):
            assert all(batch.column(0).field("bytes").to_pylist())


def in_order(store: ImageStore) -> None:
    """Read all pictures, neighbours together."""
    assert all(store.read_many(np.arange(len(store))))


def at_random(store: ImageStore, n: int) -> None:
    """Read pictures one by one."""
    for k in np.random.default_rng(0).integers(0, len(store), n).tolist():
        assert store.read(k)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--pictures", type=int, default=20_000)
    n = parser.parse_args().pictures
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
        write(folder, n)
        print(f"{machine()}, {n:,} pictures\n\n| files | work | seconds | library's pass = 1 |\n|---|---|---:|---:|")
        for form, library in (("tars", webdataset_pass), ("tables", arrow_pass)):
            place = folder / form
            library(place)  # the files are in memory from here on
            peer = seconds(library, place)
            rows = [(library.__name__.replace("_", " "), peer)]
            rows.append(("index made, store opened", seconds(open_store, place)))
            rows.append(("store opened again", seconds(open_store, place)))
            store = open_store(place)
            rows.append(("all, in order", seconds(in_order, store)))
            rows.append((f"{n // 20:,} at random", seconds(at_random, store, n // 20)))
            for what, took in rows:
                print(f"| {form} | {what} | {took:.2f} | {took / peer:.2f} |")


if __name__ == "__main__":
    main()
