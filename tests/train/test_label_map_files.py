"""Label maps become files below one folder, whatever the pictures are called."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mlimages_dataset.core.errors import DataError
from mlimages_dataset.sources.label_maps import png_of
from mlimages_dataset.tables.parquet import write_table
from mlimages_dataset.tables.schemas import LABEL_MAPS
from mlimages_dataset.train.label_map_files import write_label_maps

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


def table_of(folder: Path, parts: Sequence[Mapping[str, bytes]]) -> Path:
    """Write a `label_maps` table and return its folder."""
    for number, maps in enumerate(parts):
        n = len(maps)
        columns = [list(maps), ["model"] * n, [2] * n, [3] * n, list(maps.values())]
        rows = pa.table(columns, schema=LABEL_MAPS.arrow)
        write_table(folder / f"part-{number:05d}.parquet", rows, LABEL_MAPS, {})
    return folder


@pytest.mark.parametrize("n", [0, 1, 64, 65, 130])
def test_each_map_is_a_file_of_its_pictures_name(tmp_path: Path, n: int) -> None:
    maps = {f"{'sub/' * (k % 3)}a.{k}": png_of(np.full((2, 3), k, np.uint8)) for k in range(n)}
    halves = [dict(list(maps.items())[half::2]) for half in range(2)]
    out = tmp_path / "maps"
    assert write_label_maps(table_of(tmp_path / "table", halves), out) == n
    files = [path for path in out.rglob("*") if path.is_file()]
    assert {path.relative_to(out).as_posix().removesuffix(".png"): path.read_bytes() for path in files} == maps


@pytest.mark.parametrize("image_id", ["../a", "/a", "b/../../a", "sub//a", "linked/a", "a\\b"])
def test_nothing_is_written_outside(tmp_path: Path, image_id: str) -> None:
    out = tmp_path / "maps"
    out.mkdir()
    (out / "linked").symlink_to(tmp_path)
    there = {path for path in tmp_path.rglob("*") if path.is_file()}
    table = table_of(tmp_path / "table", [{image_id: b"x"}])
    with pytest.raises(DataError, match="is no name of a file below"):
        write_label_maps(table, out)
    assert {path for path in tmp_path.rglob("*") if path.is_file()} - there == set(table.iterdir())


@pytest.mark.parametrize(("column", "values"), [("map", [b"x", None]), ("image_id", ["a", None])])
def test_a_table_with_nulls_is_refused(tmp_path: Path, column: str, values: Sequence[object]) -> None:
    columns = {"image_id": ["a", "b"], "source": ["model"] * 2, "width": [2] * 2, "height": [3] * 2, "map": [b"x"] * 2}
    fields = [pa.field(field.name, field.type, nullable=True) for field in LABEL_MAPS.arrow]
    rows = pa.table([values if name == column else of for name, of in columns.items()], schema=pa.schema(fields))
    good = table_of(tmp_path / "table", [{"c": b"x"}]) / "part-00000.parquet"
    pq.write_table(rows.replace_schema_metadata(pq.read_schema(good).metadata), good)
    with pytest.raises(DataError, match=column):
        write_label_maps(tmp_path / "table", tmp_path / "maps")
    assert not list(tmp_path.rglob("*.png"))
