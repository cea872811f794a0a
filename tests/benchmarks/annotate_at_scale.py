"""Time `annotate --format open-images` against DuckDB's own read-group-write of the same file.

    python -m tests.benchmarks.annotate_at_scale --folder DIR [--rows 79000000] [--images 9000000]

The file has the shape of Open Images V1's machine labels: one row a label, an image's rows near each other but not
together. DuckDB alone maps and filters nothing. Each runs in a process of its own, in turn.
"""

from __future__ import annotations

import multiprocessing
import resource
import shutil
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import click
import duckdb
import numpy as np
import pyarrow as pa
from pyarrow import csv

from mlimages_dataset.augment.observations import Format
from mlimages_dataset.augment.ingest import annotate
from mlimages_dataset.vocab.stage import packaged_class_list
from tests.benchmarks.labels_at_scale import packaged_vocabulary

if TYPE_CHECKING:
    from collections.abc import Callable

BLOCK_ROWS = 2_000_000


def write_labels(path: Path, n_rows: int, n_images: int) -> None:
    """Write a simulated label file; the classes are ImageNet's wnids, as the packaged vocabulary maps them."""
    classes = pa.array(packaged_class_list("imagenet11k.txt").read_text().split())
    popularity = 1 / np.arange(1, len(classes) + 1) ** 0.8
    rng = np.random.default_rng(1)
    partial = path.with_suffix(".partial")
    with partial.open("wb") as stream:
        stream.write(b"ImageID,Source,LabelName,Confidence\n")
        for done in range(0, n_rows, BLOCK_ROWS):
            rows = min(BLOCK_ROWS, n_rows - done)
            window = int(rows / n_rows * n_images * 1.2) + 1
            images = (done * n_images // n_rows + rng.integers(0, window, rows)) % n_images
            scattered = images * np.int64(2_654_435_761) % np.int64(1 << 40)
            table = pa.table(
                {
                    "image": pa.array([f"{image:016x}" for image in scattered.tolist()]),
                    "source": pa.array(["machine"] * rows),
                    "label": classes.take(pa.array(rng.choice(len(classes), rows, p=popularity / popularity.sum()))),
                    "confidence": pa.array(rng.choice([0.5, 0.6, 0.7, 0.8, 0.9, 1.0], rows)),
                }
            )
            csv.write_csv(table, stream, csv.WriteOptions(include_header=False, quoting_style="none"))
    partial.rename(path)


def duckdb_alone(path: Path, out: Path) -> None:
    """Read, group and write with DuckDB only."""
    out.mkdir(parents=True)
    with duckdb.connect() as connection:
        connection.execute(f"SET memory_limit = '{DUCKDB_MEMORY}'; SET temp_directory = '{out}/scratch'")
        connection.execute("SET enable_progress_bar = false")
        connection.execute(
            f"""COPY (SELECT ImageID, list(LabelName) AS labels, list(Confidence) AS confidences
            FROM read_csv('{path}', auto_detect = false, header = true, delim = ',', columns = {{'ImageID': 'VARCHAR',
            'Source': 'VARCHAR', 'LabelName': 'VARCHAR', 'Confidence': 'FLOAT'}}) GROUP BY ImageID)
            TO '{out / "grouped.parquet"}' (FORMAT parquet, COMPRESSION zstd)"""
        )


def ours(path: Path, out: Path) -> None:
    """Annotate."""
    vocabulary = packaged_vocabulary()
    annotate(vocabulary, Format.OPEN_IMAGES, [path], out, source="open-images", ids_of="imagenet", inputs={})


def measured(work: Callable[[Path, Path], None], path: Path, out: Path) -> tuple[float, float]:
    """Return the seconds and the peak MiB of a work in a process of its own."""
    shutil.rmtree(out, ignore_errors=True)
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_measure, work, path, out).result()


def _measure(work: Callable[[Path, Path], None], path: Path, out: Path) -> tuple[float, float]:
    start = time.perf_counter()
    work(path, out)
    return time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


@click.command()
@click.option("--folder", type=click.Path(path_type=Path), required=True)
@click.option("--rows", default=79_000_000, show_default=True)
@click.option("--images", default=9_000_000, show_default=True)
@click.option("--repeat", default=3, show_default=True)
def main(folder: Path, rows: int, images: int, repeat: int) -> None:
    """Print the ratio of each repetition and their median."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"labels-{rows}.csv"
    if not path.exists():
        write_labels(path, rows, images)
    ratios = []
    for _ in range(repeat):
        alone, alone_peak = measured(duckdb_alone, path, folder / "alone")
        seconds, peak = measured(ours, path, folder / "annotations")
        ratios.append(seconds / alone)
        print(
            f"{rows:,} rows: {seconds:.1f} s and {peak:,.0f} MiB, "
            f"DuckDB alone {alone:.1f} s and {alone_peak:,.0f} MiB, ratio {ratios[-1]:.2f}",
            flush=True,
        )
    print(f"median ratio {np.median(ratios):.2f}")


if __name__ == "__main__":
    main()
