"""Compiled code: sorting, against numpy's, and where it is kept."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mlimages_dataset.core.compiled import sort_in_place

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

INTEGERS = st.sampled_from([np.int32, np.int64]).flatmap(lambda kind: hnp.arrays(kind, st.integers(0, 200)))


@given(INTEGERS)
def test_any_integers_are_sorted_as_numpy_sorts_them(values: NDArray[np.int64]) -> None:
    expected = np.sort(values)
    sort_in_place(values)
    np.testing.assert_array_equal(values, expected)


@pytest.mark.parametrize("n", [1_000, 11_166])
def test_long_rows_are_sorted_too(n: int) -> None:
    values = np.random.default_rng(n).permutation(n).astype(np.int32)
    sort_in_place(values)
    np.testing.assert_array_equal(values, np.arange(n))


@pytest.mark.slow
def test_where_no_folder_can_be_written_loops_are_kept_for_other_processes_until_the_first_ends(tmp_path: Path) -> None:
    """Numba looks in one place only, which is below a file."""
    (tmp_path / "file").touch()
    shared = {"NUMBA_CACHE_LOCATOR_CLASSES": "UserProvidedCacheLocator", "TMPDIR": str(tmp_path)}
    environment = {**os.environ, **shared, "NUMBA_CACHE_DIR": str(tmp_path / "file" / "loops")}
    call = """
import numpy as np, subprocess, sys
from mlimages_dataset.core import compiled
compiled.sort_in_place(np.arange(3))
print(sum(compiled.sort_in_place.stats.cache_misses.values()))
"""
    code = f"{call}\nsys.stdout.flush()\nsubprocess.run([sys.executable, '-c', {call!r}], check=True)"
    told = subprocess.run([sys.executable, "-c", code], env=environment, check=True, capture_output=True, text=True)
    assert told.stdout.split() == ["1", "0"]
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
