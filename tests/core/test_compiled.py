"""Compiled code: sorting, against numpy's, and where it is kept."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mlimages_dataset.core import compiled
from mlimages_dataset.core.compiled import _digest, sort_in_place

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


_SHIP = """
import sys, numpy as np
from pathlib import Path
from mlimages_dataset.core import compiled
compiled.sort_in_place(np.arange(3))
compiled.ship(Path(sys.argv[1]))
"""
_USE = """
import sys, numpy as np
from pathlib import Path
from mlimages_dataset.core import compiled
compiled.SHIPPED = Path(sys.argv[1])
values = np.array([2, 1])
compiled.sort_in_place(values)
print(*values, sum(compiled.sort_in_place.stats.cache_misses.values()))
"""


@pytest.mark.parametrize("lacked", ["", "avx2", "bmi", "sse4.1"])
def test_machine_code_for_most_processors_is_used_only_where_all_that_it_needs_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lacked: str
) -> None:
    here = {name: name != lacked for name in compiled._OF_COMMON}
    monkeypatch.setattr("llvmlite.binding.get_host_cpu_features", lambda: here)
    monkeypatch.setattr(compiled, "SHIPPED", tmp_path)
    monkeypatch.setattr(compiled, "runs_common_code", compiled.runs_common_code.__wrapped__)
    loop: Any = sort_in_place
    file = compiled.shipped(loop.py_func, tmp_path)
    this, other, most = (("system", name, "") for name in ("this", "other", "x86-64-v3"))
    file.save(("integers", most, "source"), "for most")
    assert loop._cache._shipped(("integers", this, "source")) == (None if lacked else "for most")
    assert loop._cache._shipped(("floats", this, "source")) is None
    file.save(("integers", this, "source"), "for this")
    assert loop._cache._shipped(("integers", this, "source")) == "for this"
    assert loop._cache._shipped(("integers", other, "source")) == (None if lacked else "for most")


@pytest.mark.slow
@pytest.mark.parametrize(("same_source", "misses"), [(True, "0"), (False, "1")])
def test_machine_code_that_came_with_the_package_is_used_unless_the_source_is_another(
    tmp_path: Path, *, same_source: bool, misses: str
) -> None:
    """No folder can be written where it is used."""
    new = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "first")}
    subprocess.run([sys.executable, "-c", _SHIP, str(tmp_path / "code")], env=new, check=True)
    if not same_source:
        for path in (tmp_path / "code").glob("*.nbi"):
            path.write_bytes(path.read_bytes().replace(_digest(compiled.__file__).encode(), b"0" * 64))
    none = {"NUMBA_CACHE_LOCATOR_CLASSES": "UserProvidedCacheLocator", "TMPDIR": str(tmp_path)}
    (tmp_path / "file").touch()
    none["NUMBA_CACHE_DIR"] = str(tmp_path / "file" / "loops")
    command = [sys.executable, "-c", _USE, str(tmp_path / "code")]
    told = subprocess.run(command, env={**os.environ, **none}, check=True, capture_output=True, text=True)
    assert told.stdout.split() == ["1", "2", misses]


@pytest.mark.slow
def test_kept_machine_code_runs_without_what_numba_compiles_with_and_another_loop_is_still_compiled(
    tmp_path: Path,
) -> None:
    call = """
import sys, numpy as np
from mlimages_dataset.core.compiled import compiled, sort_in_place
values = np.array([2, 1])
sort_in_place(values)
print(*values, 'numba.typed.typeddict' in sys.modules)
if sys.argv[1:]:
    def twice(values):
        return np.concatenate((values, values))
    print(*compiled(twice)(values))
"""
    (tmp_path / "call.py").write_text(call, "utf-8")
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    compiling, *loading = [
        subprocess.run(
            [sys.executable, str(tmp_path / "call.py"), *more],
            env=environment,
            check=True,
            capture_output=True,
            text=True,
        ).stdout.split()
        for more in ([], [], ["another"])
    ]
    assert compiling == ["1", "2", "True"]
    assert loading == [["1", "2", "False"], ["1", "2", "False", "1", "2", "1", "2"]]
