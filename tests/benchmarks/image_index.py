"""How soon an index over the pictures of Tencent ML-Images opens, and how soon it says where one of them lies.

    python -m tests.benchmarks.image_index --rows 19600000

Rows are simulated, 17.6 million of them saved, with ids like ImageNet's and sizes drawn; the shard that is read is
real. The figures are taken in a process that only opens the index, so private memory is what a worker pays for it.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from mlimages_dataset.images.index import ImageIndex, write_index_of
from mlimages_dataset.images.shards import ShardReader, shard_writer
from mlimages_dataset.tables.schemas import IMAGES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROWS_OF_SHARD = 10_000
LOOKUPS = 20_000


def simulated(rows: int) -> Iterator[pa.RecordBatch]:
    """Yield parts of an `images` table in which one row of ten is not saved."""
    rng = np.random.default_rng(0)
    for number, first in enumerate(range(0, rows, ROWS_OF_SHARD)):
        n = min(ROWS_OF_SHARD, rows - first)
        saved = rng.random(n) < 0.9
        lengths = np.where(saved, rng.integers(20_000, 200_000, n), -1)
        offsets = np.where(saved, np.cumsum(lengths + 1024), -1)
        yield pa.record_batch(
            [
                pa.array([f"n{first // 1300:08d}_{k}" for k in range(first, first + n)]),
                pa.array(np.where(saved, "saved", "timeout")),
                pa.array([""] * n),
                pa.array(np.where(saved, f"shard-{number:05d}.tar", "")),
                pa.array(offsets),
                pa.array(lengths),
                pa.array(np.full(n, 500, np.int32)),
                pa.array(np.full(n, 400, np.int32)),
                pa.array(["0" * 64] * n),
            ],
            schema=IMAGES.arrow,
        )


def private_memory() -> int:
    """Return the bytes of memory that this process alone has and no file backs (Linux)."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Private_Dirty:"))


def microseconds(call: Callable[[int], object], arguments: list[int]) -> float:
    """Return the mean time of a call."""
    start = time.perf_counter()
    for argument in arguments:
        call(argument)
    return (time.perf_counter() - start) / len(arguments) * 1e6


def measured(path: Path) -> dict[str, float]:
    """Return the figures of a process that opens an index."""
    before = private_memory()
    start = time.perf_counter()
    index = ImageIndex(path, path.parent)
    opened = time.perf_counter() - start
    ks = np.random.default_rng(1).integers(0, len(index), LOOKUPS).tolist()
    ids = [index.image_id(k) for k in ks]
    first = microseconds(index.place, ks)
    found = {
        "pictures": len(index),
        "open, s": opened,
        "place of k, first time, us": first,
        "place of k, us": microseconds(index.place, ks),
        "id of k, us": microseconds(index.image_id, ks),
        "private memory, MB": (private_memory() - before) / 1e6,
        "private memory of the whole process, MB": private_memory() / 1e6,
    }
    start = time.perf_counter()
    rows = index.rows_of(pa.array(ids))
    found["row of an id, among many, us"] = (time.perf_counter() - start) / len(ids) * 1e6
    assert rows.tolist() == ks
    return found


def reads(folder: Path) -> float:
    """Return the microseconds in which a picture of 100 kB is read from a real shard, at random, in the page cache."""
    content = bytes(100_000)
    with shard_writer(folder / "shard.tar") as writer:
        offsets = [writer.add(f"{k}.jpg", content) for k in range(2_000)]
    reader = ShardReader(folder)
    order = np.random.default_rng(2).permutation(len(offsets)).tolist()
    return microseconds(lambda k: reader.read("shard.tar", offsets[k], len(content)), order)


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=19_600_000)
    parser.add_argument("--open", type=Path, help="only open this index and print its figures as JSON")
    given = parser.parse_args()
    if given.open is not None:
        print(json.dumps(measured(given.open)))
        return
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "index.arrow"
        start = time.perf_counter()
        write_index_of(path, simulated(given.rows))
        print(f"{platform.machine()}, Python {platform.python_version()}, {given.rows:,} rows")
        print(f"{'made, s':45} {time.perf_counter() - start:12.3f}")
        print(f"{'file, MB':45} {path.stat().st_size / 1e6:12.1f}")
        command = [sys.executable, "-m", __spec__.name, "--open", str(path)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        for what, value in json.loads(done.stdout).items():
            print(f"{what:45} {value:12,.3f}")
        print(f"{'read of 100 kB from a shard, us':45} {reads(Path(name)):12.3f}")


if __name__ == "__main__":
    main()
