"""Time `mlimages-build labels` against the limit, pyarrow writing the same output, and against peers.

The peers add ancestors only, as there is nothing else to add here: each label's ancestors with the maximum of the
confidences and the lowest of the origins, in rows like ours. All of them read and write part by part, as rows are
independent; only whole tables would not fit the memory that we allow ourselves.
"""

from __future__ import annotations

import functools
import os
import time
from typing import TYPE_CHECKING

import networkx as nx
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mlimages_dataset.tables.label_columns import LabelColumns, array_of, columns_of
from mlimages_dataset.tables.parquet import COMPRESSION, table_parts
from mlimages_dataset.tables.schemas import LABELS
from mlimages_dataset.vocab.folder import read_vocabulary
from tests.benchmarks.measurement import Contender, Row, command, contest, processors
from tests.benchmarks.simulated import annotations_folder, vocabulary_folder

if TYPE_CHECKING:
    from pathlib import Path

    from mlimages_dataset.vocab.vocabulary import Vocabulary

IMAGES = 17_609_752
TASK = "labels"
LIMIT = "limit: pyarrow writing the same output"
_SLOW_PEERS_IMAGES = 100_000
DUCKDB_MEMORY = "2GB"


def run(folder: Path, scale: float = 1.0, *, repeat: int = 3) -> list[Row]:
    """Return the outcomes of our command, the limit and the peers."""
    vocabulary = vocabulary_folder(folder)
    n_images = round(IMAGES * scale)
    given = annotations_folder(folder, n_images, len(read_vocabulary(vocabulary)))
    sample = min(1.0, _SLOW_PEERS_IMAGES / n_images)
    contenders = [
        Contender("mlimages-build labels", functools.partial(ours, vocabulary, given)),
        Contender(LIMIT, functools.partial(writing_alone, folder / "contender-0" / "train")),
        Contender("DuckDB, join with the closure", functools.partial(duckdb_join, vocabulary, given)),
        Contender("Polars, join with the closure", functools.partial(polars_join, vocabulary, given)),
        Contender("pandas, join with the closure", functools.partial(pandas_join, vocabulary, given, sample), sample),
        Contender("networkx, a loop over rows", functools.partial(networkx_loop, vocabulary, given, sample), sample),
    ]
    rows = contest(TASK, n_images, "images", contenders, folder, repeat=repeat)
    check_equal(folder / "contender-0" / "train", [folder / f"contender-{number}" for number in range(2, 6)])
    return rows


def check_equal(ours_: Path, peers: list[Path]) -> None:
    """Raise `RuntimeError` unless the first part of each peer's rows begins ours."""
    expected = pq.read_table(table_parts(ours_)[0])
    for peer in peers:
        found = pq.read_table(table_parts(peer)[0]).slice(0, len(expected))
        if not len(found) or not found.cast(LABELS.arrow).equals(expected.slice(0, len(found)).cast(LABELS.arrow)):
            raise RuntimeError(f"{peer} holds other labels than ours")


def ours(vocabulary: Path, given: Path, out: Path) -> None:
    """Augment with our command."""
    command("labels", "--vocab", vocabulary, "--annotations", given, "--workers", str(processors()), "--out", out)


def writing_alone(written: Path, out: Path) -> float:
    """Return the seconds that pyarrow needs to write tables that it holds in memory, part by part, to the disk."""
    seconds = 0.0
    out.mkdir(parents=True)
    for part in table_parts(written):
        table = pq.read_table(part)
        start = time.perf_counter()
        pq.write_table(table, out / part.name, compression=COMPRESSION)
        with (out / part.name).open("rb") as stream:
            os.fsync(stream.fileno())
        seconds += time.perf_counter() - start
        (out / part.name).unlink()
    return seconds


def closure_table(vocabulary: Vocabulary) -> pa.Table:
    """Return a row for each category and each of its ancestors, itself among them."""
    pairs = vocabulary.closure.tocoo()
    return pa.table({"class_index": pairs.row.astype(np.int32), "ancestor": pairs.col.astype(np.int32)})


def duckdb_join(vocabulary: Path, given: Path, out: Path) -> None:
    """Augment by a join, a group by image and ancestor, and a list by image."""
    import duckdb  # noqa: PLC0415 - only the process of this peer needs it

    out.mkdir(parents=True)
    with duckdb.connect() as connection:
        connection.execute(f"SET memory_limit = '{DUCKDB_MEMORY}'; SET temp_directory = '{out}/scratch'")
        connection.execute("SET enable_progress_bar = false")
        connection.register("closure_rows", closure_table(read_vocabulary(vocabulary)))
        connection.execute("CREATE TABLE closure AS SELECT * FROM closure_rows")
        for part in table_parts(given):
            connection.execute(
                f"""COPY (
                WITH images AS (SELECT * FROM read_parquet('{part}', file_row_number = true)),
                stated AS (SELECT file_row_number, unnest(labels, recursive := true) FROM images),
                closed AS (
                    SELECT file_row_number, ancestor AS class_index, max(confidence) AS confidence,
                        min(CASE WHEN ancestor = class_index THEN origin ELSE greatest(origin, 1) END) AS origin
                    FROM stated JOIN closure USING (class_index) GROUP BY file_row_number, ancestor),
                listed AS (
                    SELECT file_row_number, list({{'class_index': class_index, 'confidence': confidence,
                        'origin': origin::UTINYINT}} ORDER BY class_index) AS labels
                    FROM closed GROUP BY file_row_number)
                SELECT image_id, source, location, listed.labels FROM images JOIN listed USING (file_row_number)
                ORDER BY file_row_number
                ) TO '{out / part.name}' (FORMAT parquet, COMPRESSION {COMPRESSION})"""
            )


def polars_join(vocabulary: Path, given: Path, out: Path) -> None:
    """Augment by a join, a group by image and ancestor, and a list by image."""
    import polars as pl  # noqa: PLC0415 - only the process of this peer needs it

    out.mkdir(parents=True)
    closure = pl.DataFrame(closure_table(read_vocabulary(vocabulary))).lazy()
    for part in table_parts(given):
        images = pl.read_parquet(str(part)).with_row_index("row")
        way = pl.when(pl.col("ancestor") == pl.col("class_index")).then("origin")
        labels = (
            images.lazy()
            .select("row", "labels")
            .explode("labels", empty_as_null=False)
            .unnest("labels")
            .join(closure, on="class_index")
            .with_columns(way=way.otherwise(pl.max_horizontal("origin", pl.lit(1, pl.UInt8))))
            .group_by("row", "ancestor")
            .agg(pl.max("confidence"), pl.min("way"))
            .sort("row", "ancestor")
            .select("row", labels=pl.struct(class_index="ancestor", confidence="confidence", origin="way"))
            .group_by("row", maintain_order=True)
            .agg("labels")
        )
        rows = images.lazy().drop("labels").join(labels, on="row", maintain_order="left").drop("row").collect()
        rows.write_parquet(out / part.name, compression="zstd")


def pandas_join(vocabulary: Path, given: Path, share: float, out: Path) -> None:
    """Augment a share of the rows by a merge, a group by image and ancestor, and lists made of that."""
    import pandas as pd  # noqa: PLC0415 - only the process of this peer needs it

    rows = _first_rows(given, share)
    labels = columns_of(rows["labels"].combine_chunks())
    stated = pd.DataFrame(
        {
            "row": labels.images,
            "class_index": labels.class_index,
            "confidence": labels.confidence,
            "origin": labels.origin,
        }
    )
    closed = stated.merge(closure_table(read_vocabulary(vocabulary)).to_pandas(), on="class_index")
    closed.loc[closed["class_index"] != closed["ancestor"], "origin"] = 1
    grouped = closed.groupby(["row", "ancestor"], sort=True).agg({"confidence": "max", "origin": "min"}).reset_index()
    offsets = np.concatenate(([0], np.cumsum(np.bincount(grouped["row"], minlength=len(rows))))).astype(np.int32)
    _write(
        rows,
        LabelColumns(
            offsets,
            grouped["ancestor"].to_numpy(np.int32),
            grouped["confidence"].to_numpy(np.float32),
            grouped["origin"].to_numpy(np.uint8),
        ),
        out,
    )


def networkx_loop(vocabulary: Path, given: Path, share: float, out: Path) -> None:
    """Augment a share of the rows in Python, with each category's ancestors looked up in a graph once."""
    known = read_vocabulary(vocabulary)
    graph: nx.DiGraph[int] = nx.DiGraph()
    graph.add_nodes_from(range(len(known)))
    graph.add_edges_from((c, parent) for c, category in enumerate(known.categories) for parent in category.parents)
    ancestors_of = functools.cache(functools.partial(nx.descendants, graph))
    rows = _first_rows(given, share)
    augmented = []
    for labels in rows["labels"].to_pylist():
        best: dict[int, tuple[float, int]] = {}
        for label in labels:
            for way, categories in (
                (label["origin"], (label["class_index"],)),
                (1, ancestors_of(label["class_index"])),
            ):
                for c in categories:
                    confidence, origin = best.get(c, (0.0, way))
                    best[c] = max(confidence, label["confidence"]), min(origin, way)
        augmented.append([{"class_index": c, "confidence": p, "origin": way} for c, (p, way) in sorted(best.items())])
    _write(rows, columns_of(pa.array(augmented, LABELS.arrow.field("labels").type)), out)


def _first_rows(given: Path, share: float) -> pa.Table:
    """Return the first rows of a table folder."""
    parts = table_parts(given)
    n_rows = round(sum(pq.read_metadata(part).num_rows for part in parts) * share)
    tables: list[pa.Table] = []
    for part in parts:
        if sum(map(len, tables)) < n_rows:
            tables.append(pq.read_table(part))
    return pa.concat_tables(tables).slice(0, n_rows).combine_chunks()


def _write(rows: pa.Table, labels: LabelColumns, out: Path) -> None:
    out.mkdir(parents=True)
    table = rows.drop_columns("labels").append_column("labels", array_of(labels))
    pq.write_table(table, out / "part-00000.parquet", compression=COMPRESSION)
