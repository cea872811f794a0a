"""Time `mlimages-build tally --format open-images` against DuckDB's own count of the same file.

Both count the different images of each class: DuckDB by `count(DISTINCT ...)`, once with all memory, once with what our
command is held to.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import pyarrow.parquet as pq

from tests.benchmarks.annotate_at_scale import IMAGES, ROWS
from tests.benchmarks.labels_at_scale import DUCKDB_MEMORY
from tests.benchmarks.measurement import Contender, Row, command, contest, processors
from tests.benchmarks.simulated import label_file

if TYPE_CHECKING:
    from pathlib import Path

_COUNTS_FILE = "counts.parquet"


def run(folder: Path, scale: float = 1.0, *, repeat: int = 3) -> list[Row]:
    """Return the outcomes of our command and of DuckDB."""
    n_rows = round(ROWS * scale)
    path = label_file(folder, n_rows, round(IMAGES * scale))
    contenders = [
        Contender("mlimages-build tally", functools.partial(ours, path)),
        Contender("DuckDB, count distinct", functools.partial(duckdb_count, path)),
        Contender(f"the same in {DUCKDB_MEMORY}", functools.partial(duckdb_count, path, memory=DUCKDB_MEMORY)),
    ]
    rows = contest("tally --format open-images", n_rows, "rows", contenders, folder, repeat=repeat)
    check_equal([folder / f"contender-{number}" / _COUNTS_FILE for number in range(len(contenders))])
    return rows


def check_equal(tables: list[Path]) -> None:
    """Raise `RuntimeError` unless all tables hold the same images of each class."""
    ours_, *others = (_counts(path) for path in tables)
    for path, other in zip(tables[1:], others, strict=True):
        if other != ours_:
            raise RuntimeError(f"{path} holds other counts than ours")


def _counts(path: Path) -> dict[str, int]:
    table = pq.read_table(path)
    return dict(zip(table["source_id"].to_pylist(), table["images"].to_pylist(), strict=True))


def ours(path: Path, out: Path) -> None:
    """Count with our command."""
    counts = out / _COUNTS_FILE
    out.mkdir(parents=True)
    command("tally", "--format", "open-images", path, "--workers", str(processors()), "--out", counts)


def duckdb_count(path: Path, out: Path, *, memory: str | None = None) -> None:
    """Count with DuckDB only."""
    import duckdb  # noqa: PLC0415 - only the process of this peer needs it

    out.mkdir(parents=True)
    with duckdb.connect() as connection:
        connection.execute(f"SET temp_directory = '{out}/scratch'; SET enable_progress_bar = false")
        if memory is not None:
            connection.execute(f"SET memory_limit = '{memory}'")
        connection.execute(
            f"""COPY (SELECT LabelName AS source_id, count(DISTINCT ImageID) AS images
            FROM read_csv('{path}', auto_detect = false, header = true, delim = ',', columns = {{'ImageID': 'VARCHAR',
            'Source': 'VARCHAR', 'LabelName': 'VARCHAR', 'Confidence': 'FLOAT'}})
            WHERE Confidence > 0 GROUP BY LabelName) TO '{out / _COUNTS_FILE}' (FORMAT parquet)"""
        )
