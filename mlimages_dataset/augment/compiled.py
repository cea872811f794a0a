"""Compilation of this package's loops over label columns by Numba."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar, cast

import numba

if TYPE_CHECKING:
    from collections.abc import Callable

_Function = TypeVar("_Function", bound="Callable[..., object]")


def compiled(function: _Function) -> _Function:
    """Return a function as machine code that runs without the interpreter's lock, kept for the next process if it can.

    Numba refuses to keep anything where neither the package's folder nor the user's cache can be written.
    """
    try:
        machine_code = numba.njit(nogil=True, cache=True)(function)
    except RuntimeError:
        machine_code = numba.njit(nogil=True)(function)
    return cast("_Function", machine_code)
