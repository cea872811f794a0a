"""A batch in chunks of rows, of a size at which a device computes fastest and intermediate results stay small."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

_CHUNK_ELEMENTS_CORE = 1 << 18
"""Entries computed at a time by one thread: 1 MiB of float32, so that intermediate results stay in a core's cache."""
_CHUNK_ELEMENTS_CORES = 1 << 19
"""The same for several threads, which wait for each other after every operation: larger, so fewer operations."""
_CHUNK_ELEMENTS_GPU = 1 << 22
"""Enough to fill a GPU; intermediate results take 16 MiB each, for any batch."""


def row_chunks(matrix: Tensor, n_columns: int) -> Iterator[slice]:
    """Return slices that cover a matrix's rows, each of about as many entries as are computed at a time.

    Args:
        matrix: shape (rows, any).
        n_columns: columns that are computed.
    """
    n_rows = max(1, _chunk_elements(matrix.device) // max(1, n_columns))
    return (slice(first, first + n_rows) for first in range(0, len(matrix), n_rows))


def _chunk_elements(device: torch.device) -> int:
    """Return how many entries are computed at a time on a device."""
    if device.type != "cpu":
        return _CHUNK_ELEMENTS_GPU
    n_threads = torch.get_num_threads()
    return _CHUNK_ELEMENTS_CORE if n_threads == 1 else _CHUNK_ELEMENTS_CORES * n_threads
