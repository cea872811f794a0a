"""Time `mlimages-build annotate --format open-images` against DuckDB's own read, group and write of the same file.

The file has the shape of Open Images V1's machine labels. DuckDB alone maps and filters nothing.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from tests.benchmarks.labels_at_scale import DUCKDB_MEMORY
from tests.benchmarks.measurement import Contender, Row, command, contest
from tests.benchmarks.simulated import label_file, vocabulary_folder

if TYPE_CHECKING:
    from pathlib import Path

ROWS, IMAGES = 79_000_000, 9_000_000


def run(folder: Path, scale: float = 1.0, *, repeat: int = 3) -> list[Row]:
    """Return the outcomes of our command and of DuckDB alone."""
    vocabulary = vocabulary_folder(folder)
    n_rows = round(ROWS * scale)
    path = label_file(folder, n_rows, round(IMAGES * scale))
    contenders = [
        Contender("mlimages-build annotate", functools.partial(ours, vocabulary, path)),
        Contender("limit: DuckDB reading, grouping and writing", functools.partial(duckdb_alone, path)),
    ]
    return contest("annotate --format open-images", n_rows, "rows", contenders, folder, repeat=repeat)


def ours(vocabulary: Path, path: Path, out: Path) -> None:
    """Annotate with our command."""
    command("annotate", "--vocab", vocabulary, "--format", "open-images", "--ids-of", "imagenet", path, "--out", out)


def duckdb_alone(path: Path, out: Path) -> None:
    """Read, group and write with DuckDB only."""
    import duckdb  # noqa: PLC0415 - only the process of this peer needs it

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
