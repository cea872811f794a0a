"""Compilation of loops by Numba."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar, cast

import numba

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    import numpy as np
    from numpy.typing import NDArray

_Function = TypeVar("_Function", bound="Callable[..., object]")
_FOLDER = "NUMBA_CACHE_DIR"
"""The variable by which Numba is told where to keep machine code: https://numba.readthedocs.io (Environment)."""
_loops: list[Any] = []
"""All compiled functions: Numba's dispatchers, which have no annotations."""


def compiled(function: _Function) -> _Function:
    """Return a function as machine code that runs without the interpreter's lock, kept on the disk for later runs.

    It is kept beside the module, or in the user's cache where the package's folder cannot be written. Where neither
    can be, it is kept until this process ends, for the processes that this one starts.
    """
    return _machine_code(function)


def vectorised(function: _Function) -> _Function:
    """Return a function as `compiled` does, but let loops over floats become vector instructions.

    So sums are taken in any order, and division by zero gives infinity instead of an exception. Results may differ in
    the last bits between kinds of processors.
    """
    return _machine_code(function, vectors=True)


def _machine_code(function: _Function, *, vectors: bool = False) -> _Function:
    errors: Literal["numpy", "python"] = "numpy" if vectors else "python"
    decorate = numba.njit(nogil=True, cache=True, error_model=errors, fastmath=vectors)
    try:
        machine_code = decorate(function)
    except RuntimeError:  # Numba found no folder that can be written
        _keep_until_exit()
        machine_code = decorate(function)
    _loops.append(machine_code)
    return cast("_Function", machine_code)


def _keep_until_exit() -> None:
    """Let Numba keep machine code in a new folder, which is removed when this process ends."""
    folder = tempfile.mkdtemp(prefix="mlimages-loops-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    os.environ[_FOLDER] = folder
    numba.config.reload_config()  # type: ignore[no-untyped-call]  # Numba annotates little


def are_kept(modules: Collection[str]) -> bool:
    """Return whether machine code of each compiled function of some modules is kept from an earlier run."""
    return all(_is_kept(loop) for loop in _loops if loop.py_func.__module__ in modules)


def _is_kept(loop: Any) -> bool:
    source = Path(loop.py_func.__code__.co_filename)
    kept = Path(loop.stats.cache_path).glob(f"{source.stem}.{loop.py_func.__qualname__}-*.nbi")
    return any(path.stat().st_mtime >= source.stat().st_mtime for path in kept)


@compiled
def sort_in_place(values: NDArray[np.uint16] | NDArray[np.int32] | NDArray[np.int64]) -> None:
    """Sort some integers, by insertion at shrinking distances.

    Numba takes seconds to compile numpy's sort, which is no faster for the few labels of an image.
    Source: Shell 1959, A high-speed sorting procedure, CACM 2:30; distances by a factor of 9/4 (Tokuda 1992).
    """
    n = len(values)
    gap = 1
    while 4 * gap < n:
        gap = gap * 9 // 4 + 1
    while gap > 0:
        for x in range(gap, n):
            moving = values[x]
            y = x
            while y >= gap and values[y - gap] > moving:
                values[y] = values[y - gap]
                y -= gap
            values[y] = moving
        gap = gap * 4 // 9
