"""Headers of delimited files of any length."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

import pytest

from mlimages_dataset.core.errors import DataError
from mlimages_dataset.sources.delimited import delimiter_of_rows, read_header

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r", ""])
@pytest.mark.parametrize("n_columns", [1, 9_000, 11_166, 70_000])
def test_a_header_of_any_length_is_read_whole(tmp_path: Path, n_columns: int, ending: str) -> None:
    names = [f"n{number:08d}" for number in range(n_columns)]
    text = ",".join(names) + ending + ("1," * n_columns if ending else "")
    (tmp_path / "a.csv").write_bytes(text.encode())
    assert read_header(tmp_path / "a.csv") == names


@pytest.mark.parametrize(("n_bytes", "told"), [(1 << 18, "has no header"), (17 << 20, "bytes in its first line")])
def test_a_first_line_that_is_no_header_is_a_sentence(tmp_path: Path, n_bytes: int, told: str) -> None:
    assert n_bytes > csv.field_size_limit()
    (tmp_path / "a.csv").write_bytes(b"x" * n_bytes)
    with pytest.raises(DataError, match=told):
        read_header(tmp_path / "a.csv")
    with pytest.raises(DataError, match=r"first line|no rows"):
        delimiter_of_rows(tmp_path / "a.csv", 2)
