"""Time `mlimages-build cooccurrence` against DuckDB's and Polars' join and group of the same tables.

Predictions are given in the order of the annotations, and in none.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from mlimages_dataset.tables.schemas import PAIR_COUNTS
from mlimages_dataset.vocab.folder import read_vocabulary
from tests.benchmarks.labels_at_scale import DUCKDB_MEMORY
from tests.benchmarks.measurement import Contender, Row, command, contest, processors
from tests.benchmarks.simulated import annotations_folder, predictions_folder, shuffled_folder, vocabulary_folder

if TYPE_CHECKING:
    from pathlib import Path

IMAGES = 10_700_000
_PAIRS_FILE = "pair_counts.parquet"


def run(folder: Path, scale: float = 1.0, *, repeat: int = 3) -> list[Row]:
    """Return the outcomes of our command and of the peers on predictions in order, then in none."""
    vocabulary = vocabulary_folder(folder)
    n_images, n_classes = round(IMAGES * scale), len(read_vocabulary(vocabulary))
    annotations = annotations_folder(folder, n_images, n_classes)
    in_order = predictions_folder(folder, n_images, n_classes)
    rows = []
    for name, predictions in (("in order", in_order), ("in no order", shuffled_folder(in_order))):
        contenders = [
            Contender("mlimages-build cooccurrence", functools.partial(ours, vocabulary, annotations, predictions)),
            Contender("DuckDB, join and group", functools.partial(duckdb_join, annotations, predictions)),
            Contender("Polars, join and group", functools.partial(polars_join, annotations, predictions)),
        ]
        rows += contest(f"cooccurrence, predictions {name}", n_images, "images", contenders, folder, repeat=repeat)
        check_equal([folder / f"contender-{number}" / _PAIRS_FILE for number in range(len(contenders))])
    return rows


def check_equal(tables: list[Path]) -> None:
    """Raise `RuntimeError` unless all tables hold the same pair counts."""
    ours_, *others = (
        pq.read_table(path).select(PAIR_COUNTS.arrow.names).sort_by([("left", "ascending"), ("right", "ascending")])
        for path in tables
    )
    for path, other in zip(tables[1:], others, strict=True):
        if not other.cast(pa.schema(PAIR_COUNTS.arrow)).equals(ours_.cast(pa.schema(PAIR_COUNTS.arrow))):
            raise RuntimeError(f"{path} holds other pair counts than ours")


def ours(vocabulary: Path, annotations: Path, predictions: Path, out: Path) -> None:
    """Find the strong pairs with our command."""
    inputs = ("--vocab", vocabulary, "--annotations", annotations, "--predictions", predictions)
    command("cooccurrence", *inputs, "--workers", str(processors()), "--out", out)


def duckdb_join(annotations: Path, predictions: Path, out: Path) -> None:
    """Count pairs by unnesting, joining and grouping."""
    import duckdb  # noqa: PLC0415 - only the process of this peer needs it

    out.mkdir(parents=True)
    with duckdb.connect() as connection:
        connection.execute(f"SET memory_limit = '{DUCKDB_MEMORY}'; SET temp_directory = '{out}/scratch'")
        connection.execute("SET enable_progress_bar = false")
        connection.execute(
            f"""COPY (
            WITH annotated AS (
                SELECT image_id, class_index FROM (
                    SELECT image_id, unnest(labels, recursive := true) FROM read_parquet('{annotations}/*.parquet'))
                WHERE confidence > 0 AND origin = 0),
            predicted AS (
                SELECT image_id, class_index FROM (
                    SELECT image_id, unnest(labels, recursive := true) FROM read_parquet('{predictions}/*.parquet'))
                WHERE confidence > 0.95::FLOAT),
            lefts AS (SELECT class_index, count(*) AS n_left FROM annotated GROUP BY class_index),
            both_of AS (
                SELECT annotated.class_index AS l, predicted.class_index AS r, count(*) AS n_both
                FROM annotated JOIN predicted USING (image_id) GROUP BY ALL)
            SELECT l AS "left", r AS "right", n_left, n_both FROM both_of JOIN lefts ON l = class_index
            ) TO '{out / _PAIRS_FILE}' (FORMAT parquet)"""
        )


def polars_join(annotations: Path, predictions: Path, out: Path) -> None:
    """Count pairs by exploding, joining and grouping in Polars' streaming engine."""
    import polars as pl  # noqa: PLC0415 - only the process of this peer needs it

    def stated(folder: Path) -> pl.LazyFrame:
        rows = pl.scan_parquet(f"{folder}/*.parquet").select("image_id", "labels")
        return rows.explode("labels", empty_as_null=False).unnest("labels")

    out.mkdir(parents=True)
    annotated = stated(annotations).filter(pl.col("confidence") > 0, pl.col("origin") == 0)
    annotated = annotated.select("image_id", left="class_index")
    predicted = stated(predictions).filter(pl.col("confidence") > pl.lit(0.95, pl.Float32))
    both = (
        annotated.join(predicted.select("image_id", right="class_index"), on="image_id")
        .group_by("left", "right")
        .agg(n_both=pl.len())
    )
    lefts = annotated.group_by("left").agg(n_left=pl.len())
    both.join(lefts, on="left").collect(engine="streaming").write_parquet(out / _PAIRS_FILE)
