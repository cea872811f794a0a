"""What a catalogue and subsets of a data set of the size of Tencent ML-Images take, and how soon it opens.

    python -m tests.benchmarks --folder DIR --only catalogue [--scale 0.1]
    python -m tests.benchmarks.catalogue_at_scale --folder DIR [--rows 17609752]

The first compares making a catalogue and choosing subsets with DuckDB's join and choice of the same tables; the second
prints figures on opening.

The labels are those of `labels_at_scale`: simulated annotations with their ancestors by the real stage, about 195
million. The `images` tables are simulated, 10,000 rows a part, one row of ten not saved where `--missing` is given. The
figures on opening are of a process of its own that only opens the catalogue, once after its files were written and so
from the page cache; a second process is forked from it, as a loader's worker is, and both touch every label.
"""

from __future__ import annotations

import functools
import json
import multiprocessing
import os
import platform
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np
import pyarrow as pa

from mlimages_dataset.core.decoding import encode
from mlimages_dataset.loaders.catalogue import Catalogue, open_catalogue
from mlimages_dataset.pipeline.folder import OutputFolder
from mlimages_dataset.pipeline.records import CACHE_PREFIX, StageResult
from mlimages_dataset.pipeline.stage import Engine, Workplace
from mlimages_dataset.tables.parquet import scan_table, table_parts, write_table
from mlimages_dataset.tables.schemas import IMAGES as PICTURES
from mlimages_dataset.tables.schemas import LABELS
from tests.benchmarks.measurement import Contender, Row, command, contest, processors

if TYPE_CHECKING:
    from collections.abc import Iterator
    from multiprocessing.queues import SimpleQueue

    from mlimages_dataset.core.locations import Location
    from mlimages_dataset.tables.files import Receipt

IMAGES = 17_609_752
PART_ROWS = 10_000
LOOKUPS = 20_000


def write_labels(folder: Path, rows: int, workers: int) -> None:
    """Write labels of simulated annotations, unless they are there."""
    # Not at the top: the process that only opens the catalogue would have them in its memory too.
    from mlimages_dataset.augment.labels_stage import label  # noqa: PLC0415
    from mlimages_dataset.pipeline.engine import local  # noqa: PLC0415
    from mlimages_dataset.vocab.folder import read_vocabulary  # noqa: PLC0415
    from tests.benchmarks.simulated import annotations_folder, vocabulary_folder  # noqa: PLC0415

    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = read_vocabulary(vocabulary_folder(folder))
    given = annotations_folder(folder, rows, len(vocabulary))

    def work(out: Location) -> StageResult[Any]:
        result = label(vocabulary, [given], Workplace(out, engine=Engine(mapper=mapper)))
        return StageResult(result.receipts, encode(result.summary))

    with local(workers) as mapper:
        OutputFolder(folder / "labels").run(
            "labels", parameters={"rows": rows}, inputs={}, folders=("train", "val"), work=work
        )


def write_images(folder: Path, labels: Path, missing: float) -> None:
    """Write the tables of an image folder without shards, for the images of a label table in its order."""

    def work(out: Location) -> StageResult[Any]:
        return StageResult(tuple(_parts(out)))

    def _parts(out: Location) -> Iterator[Receipt]:
        rng = np.random.default_rng(0)
        number = 0
        for part in table_parts(labels):
            for batch in scan_table(part, LABELS, columns=("image_id",)):
                for start in range(0, batch.num_rows, PART_ROWS):
                    ids = batch.column("image_id").slice(start, PART_ROWS)
                    yield write_table(
                        out / f"part-{number:05d}.parquet", _rows(ids, number, missing, rng), PICTURES, {}
                    )
                    number += 1

    OutputFolder(folder).run("images", parameters={"missing": missing}, inputs={}, work=work)


def _rows(ids: pa.StringArray, number: int, missing: float, rng: np.random.Generator) -> pa.Table:
    n = len(ids)
    saved = rng.random(n) >= missing
    lengths = np.where(saved, rng.integers(20_000, 200_000, n), -1)
    columns = [
        ids,
        pa.array(np.where(saved, "saved", "timeout")),
        pa.array([""] * n),
        pa.array(np.where(saved, f"shard-{number:05d}.tar", "")),
        pa.array(np.where(saved, np.cumsum(lengths + 1024), -1)),
        pa.array(lengths),
        pa.array(np.full(n, 500, np.int32)),
        pa.array(np.full(n, 400, np.int32)),
        pa.array(["0" * 64] * n),
    ]
    return pa.Table.from_arrays(columns, schema=PICTURES.arrow)


def run(folder: Path, scale: float = 1.0, *, repeat: int = 3) -> list[Row]:
    """Return the outcomes of a catalogue, and of subsets of a tenth of the images by draw and by category."""
    n_rows = round(IMAGES * scale)
    folder = folder / f"catalogue-{n_rows}"
    write_labels(folder, n_rows, processors())
    write_images(folder / "images", folder / "labels" / "train", 0.0)
    of = functools.partial
    rows = contest(
        "catalogue",
        n_rows,
        "rows",
        [Contender("open_catalogue", of(make_catalogue, folder)), Contender("DuckDB, join", of(duckdb_join, folder))],
        folder,
        repeat=repeat,
    )
    for what, rules in (("", ()), (" --balanced", ("--balanced",))):
        chosen = n_rows // 10
        contenders = [
            Contender("mlimages-build images subset", of(subset, folder, chosen, rules)),
            Contender("DuckDB, the same number by a hash", of(duckdb_subset, folder, chosen)),
        ]
        rows += contest(f"images subset{what}", n_rows, "rows", contenders, folder, repeat=repeat)
    return rows


def make_catalogue(folder: Path, out: Path) -> None:
    """Make a catalogue, and the index of pictures that it needs."""
    for index in (folder / "images").glob(f"{CACHE_PREFIX}index-*"):
        index.unlink()
    open_catalogue([folder / "images"], folder / "labels" / "train", cache=out)


def duckdb_join(folder: Path, out: Path) -> None:
    """Write the labels of all saved pictures in the order of these."""
    _duckdb(
        out,
        f"SELECT images.shard, images.offset, images.bytes, labels.source, labels.labels "
        f"FROM read_parquet('{folder}/labels/train/*.parquet') AS labels "
        f"JOIN read_parquet('{folder}/images/part-*.parquet') AS images USING (image_id) "
        f"WHERE images.status = 'saved' ORDER BY images.shard, images.offset",
    )


def subset(folder: Path, images: int, rules: tuple[str, ...], out: Path) -> None:
    """Choose so many images with our command."""
    given = ("--labels", folder / "labels" / "train", "--max-images", str(images))
    command("images", "subset", *given, *rules, "--out", out)


def duckdb_subset(folder: Path, images: int, out: Path) -> None:
    """Write the rows of so many images, those with the lowest hashes."""
    rows = f"SELECT * FROM read_parquet('{folder}/labels/train/*.parquet')"
    _duckdb(out, f"{rows} ORDER BY hash(image_id) LIMIT {images}")


def _duckdb(out: Path, query: str) -> None:
    # Not at the top: the process that only opens the catalogue would have it in its memory too.
    import duckdb  # noqa: PLC0415

    out.mkdir(parents=True)
    with duckdb.connect() as connection:
        connection.execute(f"SET temp_directory = '{out}/scratch'; SET enable_progress_bar = false")
        connection.execute(f"COPY ({query}) TO '{out / 'rows.parquet'}' (FORMAT parquet, COMPRESSION zstd)")


def private_memory() -> int:
    """Return the bytes of memory that this process alone has (Linux): pages of mapped files are not among them."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Private_Dirty:"))


def touched(catalogue: Catalogue) -> float:
    """Return the sum of all confidences: every page of them is read."""
    return float(sum(block.labels.confidence.sum(dtype=np.float64) for block in catalogue._blocks))


def _worker(catalogue: Catalogue, results: SimpleQueue[int]) -> None:
    before = private_memory()
    touched(catalogue)
    for row in range(0, len(catalogue), len(catalogue) // LOOKUPS or 1):
        catalogue.labels(row)
        catalogue.place(row)
    results.put(private_memory() - before)


def measured(folder: Path) -> dict[str, float]:
    """Return the figures of a process that opens the catalogue, and of one forked from it."""
    before = private_memory()
    start = time.perf_counter()
    catalogue = open_catalogue([folder / "images"], folder / "labels" / "train", cache=folder / "cache")
    opened = time.perf_counter() - start
    opened_memory = private_memory() - before
    rows = np.random.default_rng(1).integers(0, len(catalogue), LOOKUPS).tolist()
    start = time.perf_counter()
    for row in rows:
        catalogue.labels(row)
        catalogue.place(row)
        catalogue.image_id(row)
    per_row = (time.perf_counter() - start) / LOOKUPS * 1e6
    touched(catalogue)
    context = multiprocessing.get_context("fork")
    results: SimpleQueue[int] = context.SimpleQueue()
    worker = context.Process(target=_worker, args=(catalogue, results))
    worker.start()
    of_worker = results.get()
    worker.join()
    return {
        "rows": catalogue.facts.rows,
        "labels": catalogue.facts.labels,
        "open, s": opened,
        "private memory by opening, MB": opened_memory / 1e6,
        "private memory after reading all labels, MB": (private_memory() - before) / 1e6,
        "private memory of a forked worker that reads all labels, MB": of_worker / 1e6,
        "private memory of the whole process, MB": private_memory() / 1e6,
        "labels, place and id of a row, us": per_row,
    }


@click.command()
@click.option("--rows", default=IMAGES, show_default=True)
@click.option("--folder", type=click.Path(path_type=Path), required=True)
@click.option("--missing", default=0.0, show_default=True, help="share of the images that are not saved")
@click.option("--workers", default=1, show_default=True, help="processes that make the labels")
@click.option("--only-open", is_flag=True, help="print the figures on opening as JSON; everything must be there")
def main(rows: int, folder: Path, missing: float, workers: int, *, only_open: bool) -> None:
    """Print the figures."""
    if only_open:
        print(json.dumps(measured(folder)))
        return
    write_labels(folder, rows, workers)
    write_images(folder / "images", folder / "labels" / "train", missing)
    print(f"{platform.machine()}, Python {platform.python_version()}, {os.cpu_count()} cores")
    command = [sys.executable, "-m", __spec__.name, "--folder", str(folder), "--only-open"]
    for what in ("made, s (first opening)", "opened again, s (process and imports included)"):
        start = time.perf_counter()
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        print(f"{what:62} {time.perf_counter() - start:16,.2f}")
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    for what, value in json.loads(done.stdout).items():
        print(f"{what:62} {value:16,.2f}")
    print(f"{'largest process (making), MiB resident':62} {peak:16,.2f}")
    for path in sorted((folder / "cache").glob("catalogue-*/*")):
        print(f"{path.name + ', MB':62} {path.stat().st_size / 1e6:16,.2f}")


if __name__ == "__main__":
    main()
