"""The laws of files that appear whole and tables that say what they are."""

from __future__ import annotations

import contextlib
import hashlib
import resource
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlimages_dataset.core.errors import DataError, SchemaError, UsageError
from mlimages_dataset.core.locations import relative
from mlimages_dataset.tables import schemas
from mlimages_dataset.tables.files import PARTIAL_PREFIX, digests, file_digest, whole_file, write_bytes
from mlimages_dataset.tables.parquet import (
    INPUTS_KEY,
    SCHEMA_KEY,
    read_table,
    scan_table,
    table_inputs,
    table_parts,
    table_writer,
    write_table,
)

if TYPE_CHECKING:
    from pathlib import Path

    from mlimages_dataset.tables.schemas import TableSchema

every_schema = pytest.mark.parametrize("schema", schemas.ALL.values(), ids=schemas.ALL)
PAIR = {"left": 0, "right": 1, "n_left": 2, "n_both": 3}


def values(kind: pa.DataType) -> st.SearchStrategy[Any]:
    """Return a strategy of Python values that an Arrow type without nulls holds."""
    if pa.types.is_struct(kind):
        return st.fixed_dictionaries({inner.name: values(inner.type) for inner in kind})
    if pa.types.is_list(kind):
        return st.lists(values(kind.value_type), max_size=4)
    text = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
    plain = {pa.string(): text, pa.binary(): st.binary(max_size=8), pa.bool_(): st.booleans()}
    if kind in plain:
        return plain[kind]
    if pa.types.is_floating(kind):
        return st.floats(width=kind.bit_width, allow_nan=False)
    bits = kind.bit_width
    if pa.types.is_unsigned_integer(kind):
        return st.integers(0, 2**bits - 1)
    return st.integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


def tables(schema: TableSchema, *, min_size: int = 0) -> st.SearchStrategy[pa.Table]:
    """Return a strategy of tables of a schema."""
    row = st.fixed_dictionaries({column.name: values(column.type) for column in schema.arrow})
    rows = st.lists(row, min_size=min_size, max_size=12)
    return rows.map(lambda drawn: pa.Table.from_pylist(drawn, schema=schema.arrow))


def pairs(**columns: list[int | None]) -> pa.Table:
    """Return pair counts with some columns replaced; nulls are allowed, as in tables made elsewhere."""
    arrays = {name: columns.get(name, [value]) for name, value in PAIR.items()}
    kinds = {column.name: column.type for column in schemas.PAIR_COUNTS.arrow}
    return pa.table({name: pa.array(values, type=kinds[name]) for name, values in arrays.items()})


@every_schema
@settings(max_examples=25)
@given(data=st.data(), batch_rows=st.integers(1, 15))
def test_a_table_is_read_as_it_was_written(
    tmp_path_factory: pytest.TempPathFactory, schema: TableSchema, data: st.DataObject, batch_rows: int
) -> None:
    table = data.draw(tables(schema))
    path = tmp_path_factory.mktemp("tables") / "t.parquet"
    inputs = {"words.txt": "ab" * 32}
    receipt = write_table(path, table, schema, inputs)
    back = read_table(path, schema)
    assert back.schema.equals(schema.arrow)
    assert back.equals(table)
    batches = list(scan_table(path, schema, batch_rows=batch_rows))
    assert all(0 < batch.num_rows <= batch_rows for batch in batches)
    assert pa.Table.from_batches(batches, schema.arrow).equals(table)
    some = data.draw(st.lists(st.sampled_from(schema.arrow.names), min_size=1, unique=True))
    chosen = list(scan_table(path, schema, columns=some, batch_rows=batch_rows))
    assert pa.Table.from_batches(chosen, table.select(some).schema).equals(table.select(some))
    assert table_inputs(path) == inputs
    assert receipt.rows == table.num_rows
    assert receipt.schema == schema.label
    assert (receipt.bytes, receipt.sha256) == (path.stat().st_size, hashlib.sha256(path.read_bytes()).hexdigest())


@every_schema
@settings(max_examples=10)
@given(data=st.data())
def test_the_same_rows_make_the_same_bytes_however_they_are_sliced(
    tmp_path_factory: pytest.TempPathFactory, schema: TableSchema, data: st.DataObject
) -> None:
    table = data.draw(tables(schema, min_size=2))
    start = data.draw(st.integers(0, table.num_rows - 1))
    folder = tmp_path_factory.mktemp("slices")
    part = table.slice(start)
    alone = pa.Table.from_pylist(part.to_pylist(), schema=schema.arrow)
    shuffled = part.select(part.column_names[::-1])
    written = {write_table(folder / f"{i}", each, schema, {}).sha256 for i, each in enumerate((part, alone, shuffled))}
    assert len(written) == 1


@every_schema
def test_another_schema_or_version_is_refused_with_both_named(tmp_path: Path, schema: TableSchema) -> None:
    path = tmp_path / "t.parquet"
    other = schemas.IMAGES if schema is schemas.MAPPING else schemas.MAPPING
    write_table(path, other.arrow.empty_table(), other, {})
    with pytest.raises(
        SchemaError, match=rf"t\.parquet.*{other.label}.*{schema.label}.*name a table of {schema.name} "
    ):
        read_table(path, schema)
    newer = f"{schema.name}/{schema.version + 1}"
    pq.write_table(schema.arrow.empty_table().replace_schema_metadata({SCHEMA_KEY: newer}), path)
    with pytest.raises(SchemaError, match=rf"{newer}.*{schema.label}.*build it again"):
        list(scan_table(path, schema))


def test_a_parquet_file_made_elsewhere_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    pq.write_table(pairs(), path)
    with pytest.raises(SchemaError, match="schema is none, but pair_counts/1 is needed"):
        read_table(path, schemas.PAIR_COUNTS)


def test_a_table_with_a_flipped_bit_never_reads_as_another(tmp_path: Path) -> None:
    columns = {name: [k**power % 997 for k in range(3000)] for power, name in enumerate(PAIR, 2)}
    table = pa.table(columns, schema=schemas.PAIR_COUNTS.arrow)
    write_table(tmp_path / "whole.parquet", table, schemas.PAIR_COUNTS, {})
    content = bytearray((tmp_path / "whole.parquet").read_bytes())
    told = 0
    for at in range(4, len(content), len(content) // 100):
        content[at] ^= 1
        (tmp_path / "damaged.parquet").write_bytes(content)
        content[at] ^= 1
        try:
            found = read_table(tmp_path / "damaged.parquet", schemas.PAIR_COUNTS)
        except DataError:
            told += 1
        else:
            assert found.equals(table), "a bit that says nothing of the rows"
    assert told > 90


@settings(max_examples=60)
@given(data=st.data())
def test_a_truncated_table_never_reads_as_fine(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    path = tmp_path_factory.mktemp("cut") / "t.parquet"
    write_table(path, data.draw(tables(schemas.LABELS, min_size=1)), schemas.LABELS, {})
    content = path.read_bytes()
    path.write_bytes(content[: data.draw(st.integers(0, len(content) - 1))])
    for reader in (read_table, lambda *given: list(scan_table(*given))):
        with pytest.raises(DataError, match=r"t\.parquet: cannot be read as a Parquet file"):
            reader(path, schemas.LABELS)
    with pytest.raises(DataError):
        table_inputs(path)


def nullable(kind: pa.DataType) -> pa.DataType:
    """Return a type that also holds nulls; the list's element keeps its declared name, so that Parquet keeps it too."""
    if pa.types.is_list(kind):
        return pa.list_(pa.field(kind.value_field.name, nullable(kind.value_type)))
    if pa.types.is_struct(kind):
        return pa.struct([pa.field(inner.name, inner.type) for inner in kind])
    return kind


def with_null(kind: pa.DataType, depth: int) -> Any:
    """Return a value of a type with a null `depth` levels down, the value itself being level 0."""
    if depth == 0:
        return None
    if pa.types.is_list(kind):
        return [with_null(kind.value_type, depth - 1)]
    names = [inner.name for inner in kind]
    return dict.fromkeys(names, 0) | {names[0]: None}


def without_null(kind: pa.DataType) -> Any:
    """Return some value of a column's type."""
    if pa.types.is_list(kind):
        return []
    empty = {pa.string(): "", pa.binary(): b""}
    return empty[kind] if kind in empty else pa.array([0]).cast(kind)[0].as_py()


def levels(kind: pa.DataType) -> int:
    """Return how many levels of a type can each be null."""
    if pa.types.is_list(kind):
        return 1 + levels(kind.value_type)
    return 2 if pa.types.is_struct(kind) else 1


NULLABLE = [
    pytest.param(schema, column.name, depth, id=f"{schema.name}.{column.name}-{depth}")
    for schema in schemas.ALL.values()
    for column in schema.arrow
    for depth in range(levels(column.type))
]


@pytest.mark.parametrize(("schema", "column", "depth"), NULLABLE)
def test_a_null_is_refused_at_any_depth(tmp_path: Path, schema: TableSchema, column: str, depth: int) -> None:
    kinds = {field.name: nullable(field.type) for field in schema.arrow}
    whole = {name: without_null(kind) for name, kind in kinds.items()}
    row = {**whole, column: with_null(kinds[column], depth)}
    table = pa.table({name: pa.array([whole[name], row[name]], type=kind) for name, kind in kinds.items()})
    path = tmp_path / "t.parquet"
    with pytest.raises(DataError, match=f"column {column} holds nulls"):
        write_table(path, table, schema, {})
    assert not path.exists()
    pq.write_table(table.replace_schema_metadata({SCHEMA_KEY: schema.label}), path)
    with pytest.raises(DataError, match=rf"t\.parquet: column {column} holds nulls"):
        read_table(path, schema)


@pytest.mark.parametrize(
    ("table", "told"),
    [
        (pairs().drop_columns(["right", "n_both"]), "no column right, n_both"),
        (pairs().append_column("extra", pa.array([1])), "pair_counts/1 has no extra"),
        (pairs().set_column(0, "left", pa.array([0.0])), "column left is double, not int32"),
    ],
)
def test_rows_of_another_shape_are_refused(tmp_path: Path, table: pa.Table, told: str) -> None:
    path = tmp_path / "t.parquet"
    with pytest.raises(SchemaError, match=told):
        write_table(path, table, schemas.PAIR_COUNTS, {})
    assert not path.exists()
    pq.write_table(table.replace_schema_metadata({SCHEMA_KEY: schemas.PAIR_COUNTS.label}), path)
    with pytest.raises(SchemaError, match=told):
        read_table(path, schemas.PAIR_COUNTS)


def test_what_is_missing_is_told_as_missing(tmp_path: Path) -> None:
    absent = tmp_path / "absent.parquet"
    for call in (
        lambda: read_table(absent, schemas.LABELS),
        lambda: list(scan_table(absent, schemas.LABELS)),
        lambda: table_inputs(absent),
        lambda: file_digest(absent),
        lambda: table_parts(tmp_path),
    ):
        with pytest.raises(UsageError):
            call()


def test_inputs_that_are_no_json_are_told(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    pq.write_table(pairs().replace_schema_metadata({INPUTS_KEY: b"{"}), path)
    with pytest.raises(DataError, match="inputs cannot be read"):
        table_inputs(path)


def test_parts_are_found_at_any_depth_in_name_order(tmp_path: Path) -> None:
    names = ["b/part-00001.parquet", "a/part-00002.parquet", "a/part-00000.parquet"]
    for name in [*names, "a/other.parquet", f"a/{PARTIAL_PREFIX}1-part-00003.parquet"]:
        write_bytes(tmp_path / name, b"")
    assert [relative(path, tmp_path) for path in table_parts(tmp_path)] == sorted(names)


@given(content=st.binary(max_size=5000))
def test_digests_are_those_of_hashlib(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.mktemp("digests") / "f"
    receipt = write_bytes(path, content, schema="s/1")
    expected = hashlib.sha256(content).hexdigest()
    assert path.read_bytes() == content
    assert (receipt.sha256, file_digest(path)) == (expected, expected)
    assert (receipt.rows, receipt.bytes, receipt.schema) == (-1, len(content), "s/1")


def test_digests_tell_files_of_one_name_apart(tmp_path: Path) -> None:
    paths = [tmp_path / "a" / "list.txt", tmp_path / "b" / "list.txt", tmp_path / "b" / "words.txt"]
    for path in paths:
        write_bytes(path, str(path).encode())
    found = digests([*paths, paths[0]])
    assert found == {
        "list.txt": file_digest(paths[0]),
        "list.txt (2)": file_digest(paths[1]),
        "list.txt (3)": file_digest(paths[0]),
        "words.txt": file_digest(paths[2]),
    }


class InterruptedWorkError(Exception):
    """Raised in the middle of writing."""


def write_half(path: Path) -> None:
    """Begin a file and fail."""
    with whole_file(path) as sink:
        sink.write(b"half of ")
        raise InterruptedWorkError


def write_half_a_table(path: Path) -> None:
    """Begin a table and fail."""
    with table_writer(path, schemas.PAIR_COUNTS, {}) as writer:
        writer.write(pairs())
        raise InterruptedWorkError


@pytest.mark.parametrize("before", [None, b"the old one"])
def test_a_file_whose_writing_fails_leaves_the_old_one_or_none(tmp_path: Path, before: bytes | None) -> None:
    path = tmp_path / "f"
    if before is not None:
        path.write_bytes(before)
    with pytest.raises(InterruptedWorkError):
        write_half(path)
    assert (path.read_bytes() if path.exists() else None) == before
    assert [each.name for each in tmp_path.iterdir()] == ([] if before is None else ["f"])


def test_a_table_whose_writing_fails_is_not_there(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    with pytest.raises(InterruptedWorkError):
        write_half_a_table(path)
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_the_making_is_not_seen_under_its_name(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "f"
    with whole_file(path) as sink:
        sink.write(b"half")
        assert not path.exists()
        (partial,) = path.parent.iterdir()
        assert partial.name.startswith(PARTIAL_PREFIX)
        sink.write(b" and half")
    assert [each.name for each in path.parent.iterdir()] == ["f"]
    assert path.read_bytes() == b"half and half"


KILLED = """
import sys, time
from pathlib import Path
from mlimages_dataset.tables.files import whole_file
with whole_file(Path(sys.argv[1])) as sink:
    sink.write(b"half of the new one")
    print("writing", flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize("before", [None, b"the old one"])
def test_a_killed_writer_leaves_the_old_one_or_none(tmp_path: Path, before: bytes | None) -> None:
    path = tmp_path / "f"
    if before is not None:
        path.write_bytes(before)
    command = [sys.executable, "-c", KILLED, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "writing\n"
        writer.send_signal(signal.SIGKILL)
    assert (path.read_bytes() if path.exists() else None) == before
    assert all(each.name.startswith(PARTIAL_PREFIX) for each in tmp_path.iterdir() if each != path)
    write_bytes(path, b"the new one")
    assert path.read_bytes() == b"the new one"


def test_a_failed_write_is_told_where_a_library_hides_it(tmp_path: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(UsageError, match=r"sum: cannot be written \(File too large\); make room"):
            _write_as_a_library(tmp_path / "sum")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert list(tmp_path.iterdir()) == []


def _write_as_a_library(path: Path) -> None:
    """Write as torch's archives do, which go on after a failed write and raise an error of their own at their end."""
    with whole_file(path) as sink:
        for _ in range(40):
            with contextlib.suppress(Exception):
                sink.write(bytes(1 << 14))
        raise RuntimeError("unexpected position")


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    for path, where, what in (
        (tmp_path / "file" / "f", tmp_path / "file", "is a file where a folder should be"),
        (tmp_path / "file" / "f" / "g", tmp_path / "file", "is a file where a folder should be"),
        (tmp_path, tmp_path, "is a folder where a file should be"),
    ):
        with pytest.raises(UsageError) as told:
            write_bytes(path, b"content")
        assert (told.value.what, told.value.where) == (what, str(where))
        assert told.value.remedy == "remove or rename it, or name another place"
    assert [each.name for each in tmp_path.iterdir()] == ["file"]
