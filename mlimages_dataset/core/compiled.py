"""Compilation of loops by Numba."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeVar, cast

import numba

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

_Function = TypeVar("_Function", bound="Callable[..., object]")


def compiled(function: _Function) -> _Function:
    """Return a function as machine code that runs without the interpreter's lock, cached on the disk if possible.

    Numba refuses to cache if neither the package's folder nor the user's cache can be written.
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
    try:
        machine_code = numba.njit(nogil=True, cache=True, error_model=errors, fastmath=vectors)(function)
    except RuntimeError:
        machine_code = numba.njit(nogil=True, error_model=errors, fastmath=vectors)(function)
    return cast("_Function", machine_code)


@compiled
def sort_in_place(values: NDArray[np.int32] | NDArray[np.int64]) -> None:
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
