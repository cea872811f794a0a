"""Time `mlimages-build regions --format open-images` against DuckDB's own read and write of the same file.

    python -m tests.benchmarks.boxes_at_scale --folder DIR [--scale 1.0]

The file has the shape of Open Images' boxes: 14.6 million in 1.74 million images. DuckDB alone maps and checks nothing.
Our table ascends by image, so DuckDB also sorts by image in one of its runs, with the memory that our command may use.
"""

from __future__ import annotations

import functools
from pathlib import Path

import click

from tests.benchmarks.labels_at_scale import DUCKDB_MEMORY
from tests.benchmarks.measurement import Contender, Row, command, contest, machine, table
from tests.benchmarks.simulated import box_file, box_vocabulary_folder

ROWS, IMAGES = 14_610_229, 1_743_042
"""Of Open Images V4 to V7's training boxes."""


def run(folder: Path, scale: float = 1.0, *, repeat: int = 3) -> list[Row]:
    """Return the outcomes of our command and of DuckDB alone."""
    vocabulary = box_vocabulary_folder(folder)
    n_rows = round(ROWS * scale)
    path = box_file(folder, n_rows, round(IMAGES * scale))
    contenders = [
        Contender("mlimages-build regions", functools.partial(ours, vocabulary, path)),
        Contender("limit: DuckDB reading and writing", functools.partial(duckdb_alone, path)),
        Contender(
            f"DuckDB reading, sorting and writing in {DUCKDB_MEMORY}",
            functools.partial(duckdb_alone, path, memory=DUCKDB_MEMORY, order="ORDER BY ImageID"),
        ),
    ]
    return contest("regions --format open-images", n_rows, "boxes", contenders, folder, repeat=repeat)


def ours(vocabulary: Path, path: Path, out: Path) -> None:
    """Map the boxes with our command."""
    command("regions", "--vocab", vocabulary, "--format", "open-images", path, "--out", out)


def duckdb_alone(path: Path, out: Path, *, memory: str | None = None, order: str = "") -> None:
    """Read and write with DuckDB only."""
    import duckdb  # noqa: PLC0415 - only the process of this peer needs it

    out.mkdir(parents=True)
    texts, flags = ("ImageID", "Source", "LabelName"), ("Occluded", "Truncated", "GroupOf", "Depiction", "Inside")
    numbers = ("Confidence", "XMin", "XMax", "YMin", "YMax")
    types = dict.fromkeys(texts, "VARCHAR") | dict.fromkeys(numbers, "FLOAT")
    types |= dict.fromkeys((f"Is{flag}" for flag in flags), "TINYINT")
    with duckdb.connect() as connection:
        connection.execute(f"SET temp_directory = '{out}/scratch'; SET enable_progress_bar = false")
        if memory is not None:
            connection.execute(f"SET memory_limit = '{memory}'")
        connection.execute(
            f"""COPY (SELECT * FROM read_csv('{path}', auto_detect = false, header = true, delim = ',',
            columns = {types}) {order}) TO '{out / "boxes.parquet"}' (FORMAT parquet, COMPRESSION zstd)"""
        )


@click.command()
@click.option("--folder", type=click.Path(path_type=Path), required=True, help="For inputs and outputs.")
@click.option("--scale", type=click.FloatRange(0, min_open=True), default=1.0, show_default=True)
@click.option("--repeat", type=click.IntRange(min=1), default=3, show_default=True)
def main(folder: Path, scale: float, repeat: int) -> None:
    """Measure and print one table."""
    folder = folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    where = machine()
    click.echo(f"{where}\n\n{table(run(folder, scale, repeat=repeat))}")


if __name__ == "__main__":
    main()
