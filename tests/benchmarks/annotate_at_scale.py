"""Time `mlimages-build annotate --format open-images` against DuckDB's own read, group and write of the same file.

The file has the shape of Open Images V1's machine labels; up to 10 million rows, it is read compressed too. DuckDB
alone maps and filters nothing; it runs once with all memory and once with what our command is held to.
"""

from __future__ import annotations

import functools
import shutil
from typing import TYPE_CHECKING

import pyarrow as pa

from tests.benchmarks.labels_at_scale import DUCKDB_MEMORY
from tests.benchmarks.measurement import Contender, Row, command, contest
from tests.benchmarks.simulated import label_file, vocabulary_folder

if TYPE_CHECKING:
    from pathlib import Path

ROWS, IMAGES = 79_000_000, 9_000_000
MOST_COMPRESSED_ROWS = 10_000_000
_SUFFIXES = {"gzip": ".gz", "zstd": ".zst"}


def run(folder: Path, scale: float = 1.0, *, repeat: int = 3) -> list[Row]:
    """Return the outcomes of our command and of DuckDB alone."""
    vocabulary = vocabulary_folder(folder)
    n_rows = round(ROWS * scale)
    plain = label_file(folder, n_rows, round(IMAGES * scale))
    rows = []
    for packing in ("", *(_SUFFIXES if n_rows <= MOST_COMPRESSED_ROWS else ())):
        path = packed(plain, packing) if packing else plain
        limited = functools.partial(duckdb_alone, path, memory=DUCKDB_MEMORY)
        contenders = [
            Contender("mlimages-build annotate", functools.partial(ours, vocabulary, path)),
            Contender("limit: DuckDB reading, grouping and writing", functools.partial(duckdb_alone, path)),
            Contender(f"the same in {DUCKDB_MEMORY}", limited),
        ]
        what = f" ({packing})" if packing else ""
        rows += contest(f"annotate --format open-images{what}", n_rows, "rows", contenders, folder, repeat=repeat)
    return rows


def packed(path: Path, packing: str) -> Path:
    """Return the same file compressed by gzip or zstd."""
    result = path.with_name(f"{path.name}{_SUFFIXES[packing]}")
    if not result.exists():
        partial = path.with_suffix(".partial")
        with path.open("rb") as stream, pa.CompressedOutputStream(str(partial), packing) as sink:
            shutil.copyfileobj(stream, sink, 1 << 24)
        partial.rename(result)
    return result


def ours(vocabulary: Path, path: Path, out: Path) -> None:
    """Annotate with our command."""
    command("annotate", "--vocab", vocabulary, "--format", "open-images", "--ids-of", "imagenet", path, "--out", out)


def duckdb_alone(path: Path, out: Path, *, memory: str | None = None) -> None:
    """Read, group and write with DuckDB only."""
    import duckdb  # noqa: PLC0415 - only the process of this peer needs it

    out.mkdir(parents=True)
    with duckdb.connect() as connection:
        connection.execute(f"SET temp_directory = '{out}/scratch'; SET enable_progress_bar = false")
        if memory is not None:
            connection.execute(f"SET memory_limit = '{memory}'")
        connection.execute(
            f"""COPY (SELECT ImageID, list(LabelName) AS labels, list(Confidence) AS confidences
            FROM read_csv('{path}', auto_detect = false, header = true, delim = ',', columns = {{'ImageID': 'VARCHAR',
            'Source': 'VARCHAR', 'LabelName': 'VARCHAR', 'Confidence': 'FLOAT'}}) GROUP BY ImageID)
            TO '{out / "grouped.parquet"}' (FORMAT parquet, COMPRESSION zstd)"""
        )
