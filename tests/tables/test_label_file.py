"""Files of labelled images are read by Arrow, DuckDB and Polars, and say of themselves what Arrow's own would."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import duckdb
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlimages_dataset.core.errors import DataError
from mlimages_dataset.tables import label_file
from mlimages_dataset.tables.label_file import LabelFile
from mlimages_dataset.tables.parquet import read_table, scan_table, table_writer, write_table
from mlimages_dataset.tables.schemas import ANNOTATIONS, LABELS, REGIONS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

Image = tuple[str, str, str, list[tuple[int, float, int]]]
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12) | st.sampled_from(["", "a", "\0", "ü" * 3000])
LABEL = st.tuples(
    st.integers(0, 2**31 - 1) | st.integers(0, 40),
    st.floats(0, 1, width=32) | st.sampled_from([0.0, 0.5, 1.0]),
    st.integers(0, 2),
)
IMAGES = st.lists(st.tuples(TEXTS, TEXTS, TEXTS, st.lists(LABEL, max_size=9)), max_size=40)


def table_of(images: Sequence[Image]) -> pa.Table:
    names = ("class_index", "confidence", "origin")
    rows = [(*texts, [dict(zip(names, label, strict=True)) for label in labels]) for *texts, labels in images]
    columns = zip(*rows, strict=True) if rows else ((), (), (), ())
    arrays = [pa.array(list(column), field.type) for column, field in zip(columns, LABELS.arrow, strict=True)]
    return pa.Table.from_arrays(arrays, schema=LABELS.arrow)


def bytes_of(tables: Sequence[pa.Table]) -> bytes:
    sink = io.BytesIO()
    writer = LabelFile(sink, {b"key": b"value", b"empty": b""})
    for table in tables:
        writer.write_table(table)
    writer.close()
    return sink.getvalue()


def read_by_all(content: bytes, path: Path) -> list[pa.Table]:
    path.write_bytes(content)
    with duckdb.connect() as connection:
        by_duckdb = connection.read_parquet(str(path)).to_arrow_table()
    tables = [pq.read_table(path), by_duckdb, pl.read_parquet(path).to_arrow()]
    return [table.cast(LABELS.arrow).replace_schema_metadata(None) for table in tables]


def statistics_of(parquet: pq.ParquetFile, column: int) -> dict[str, Any]:
    return dict(parquet.metadata.row_group(0).column(column).statistics.to_dict())


@given(images=IMAGES, cut=st.integers(0, 40))
def test_three_readers_find_what_was_written(
    tmp_path_factory: pytest.TempPathFactory, images: list[Image], cut: int
) -> None:
    table = table_of(images)
    # A slice begins amid its buffers; a table of two chunks has two of each.
    parts = [table.slice(0, cut), pa.concat_tables([table.slice(cut), table.slice(0, cut)])]
    content = bytes_of(parts)
    for found in read_by_all(content, tmp_path_factory.getbasetemp() / "labels.parquet"):
        assert found.equals(pa.concat_tables(parts).combine_chunks())
    assert content == bytes_of(parts)


@given(images=IMAGES.filter(len))
def test_a_file_says_of_itself_what_arrows_own_says(images: list[Image]) -> None:
    table = table_of(images)
    arrows = io.BytesIO()
    pq.write_table(table, arrows, compression="zstd")
    ours, theirs = pq.ParquetFile(io.BytesIO(bytes_of([table]))), pq.ParquetFile(arrows)
    assert ours.schema.equals(theirs.schema)
    assert ours.schema_arrow.remove_metadata().equals(LABELS.arrow)
    assert ours.schema_arrow.metadata[b"key"] == b"value"
    assert ours.metadata.num_rows == theirs.metadata.num_rows == len(images)
    labelled = any(labels for *_, labels in images)
    bounded = [0, *([3, 4, 5] if labelled else [])]
    for column in bounded:
        if len(max((image[0] for image in images), key=len).encode()) <= 4096:
            assert statistics_of(ours, column) == statistics_of(theirs, column)
    for column in range(6):
        mine, other = (file.metadata.row_group(0).column(column) for file in (ours, theirs))
        assert (mine.num_values, mine.path_in_schema, mine.compression) == (
            other.num_values,
            other.path_in_schema,
            "ZSTD",
        )


@pytest.mark.parametrize("n_distinct", [1, 2, 3, 255, 256, 257, (1 << 16) - 1, 1 << 16, (1 << 16) + 1, 200_000])
def test_any_number_of_different_confidences_is_kept(tmp_path: Path, n_distinct: int) -> None:
    rng = np.random.default_rng(n_distinct)
    distinct = np.linspace(0, 1, n_distinct, dtype=np.float32)
    confidence = np.concatenate([distinct, rng.choice(distinct, max(3 * n_distinct, 1000))])
    n = len(confidence)
    labels = pa.StructArray.from_arrays(
        [
            pa.array(rng.integers(0, 2**31, n), pa.int32()),
            pa.array(confidence),
            pa.array(rng.integers(0, 3, n), "uint8"),
        ],
        fields=list(LABELS.arrow.field("labels").type.value_type),
    )
    lists = pa.ListArray.from_arrays(pa.array([0, 0, n // 2, n, n], pa.int32()), labels)
    texts = [pa.array([f"{i}" for i in range(4)])] * 3
    table = pa.Table.from_arrays([*texts, lists.cast(LABELS.arrow.field("labels").type)], schema=LABELS.arrow)
    for found in read_by_all(bytes_of([table]), tmp_path / "labels.parquet"):
        assert found.equals(table)


@pytest.mark.parametrize("limit", ["_MOST_ROWS", "_MOST_BYTES"])
def test_what_is_too_much_for_a_page_becomes_several_row_groups(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    table = table_of([(f"{i:03}", "a", "b" * i, [(c, 1.0, 0) for c in range(i % 5)]) for i in range(50)])
    # Arrow leaves texts of 2 GiB in several chunks, which are not those of other columns.
    texts = pa.chunked_array([table["location"].slice(0, 20), table["location"].slice(20)])
    chunked = table.set_column(2, LABELS.arrow.field("location"), texts)
    monkeypatch.setattr(label_file, limit, 7)
    path = tmp_path / "labels.parquet"
    for found in read_by_all(bytes_of([chunked]), path):
        assert found.equals(table)
    metadata = pq.read_metadata(path)
    assert metadata.num_row_groups > 5
    for group in (metadata.row_group(i) for i in range(metadata.num_row_groups)):
        n_rows = [group.column(column).num_values for column in range(3)]
        assert n_rows == [group.num_rows] * 3


def test_tables_of_labelled_images_are_written_so_and_others_by_arrow(tmp_path: Path) -> None:
    table = table_of([("a", "b", "c", [(1, 1.0, 0)])])
    for schema in (ANNOTATIONS, LABELS):
        write_table(tmp_path / "one.parquet", table, schema, {"input": "digest"})
        assert "mlimages-dataset" in pq.read_metadata(tmp_path / "one.parquet").created_by
        assert read_table(tmp_path / "one.parquet", schema).equals(table)
    with table_writer(tmp_path / "none.parquet", LABELS, {}):
        pass
    assert read_table(tmp_path / "none.parquet", LABELS).num_rows == 0
    with table_writer(tmp_path / "boxes.parquet", REGIONS, {}):
        pass
    assert "arrow" in pq.read_metadata(tmp_path / "boxes.parquet").created_by


def test_row_groups_of_other_images_are_not_read(tmp_path: Path) -> None:
    path = tmp_path / "labels.parquet"
    with table_writer(path, LABELS, {}) as writer:
        for first in "acegi":
            writer.write(table_of([(first + last, "", "", []) for last in "abc"]))
    batches = scan_table(path, LABELS, near=("image_id", "d", "gb"))
    found = [image_id for batch in batches for image_id in batch.column("image_id").to_pylist()]
    assert found == ["ea", "eb", "ec", "ga", "gb", "gc"]


def test_every_flipped_byte_is_noticed_or_changes_nothing(tmp_path: Path) -> None:
    table = table_of([(f"{i}", "a", f"b{i}", [(c, 1 / (c + 1), 0) for c in range(i % 4)]) for i in range(12)])
    path = tmp_path / "labels.parquet"
    write_table(path, table, LABELS, {})
    content = path.read_bytes()
    footer = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
    unnoticed = 0
    for at in range(footer):
        damaged = bytearray(content)
        damaged[at] ^= 0x10
        path.write_bytes(damaged)
        try:
            unnoticed += not read_table(path, LABELS).equals(table)
        except DataError:
            continue
    assert unnoticed == 0
