"""Sparse matrices of scipy, which are imported at their first use: 0.15 s, which many commands do not need."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from scipy.sparse import block_array, coo_array, csc_array, csr_array, eye_array, hstack, triu, vstack
else:

    def __getattr__(name: str) -> object:
        """Return what `scipy.sparse` has under a name."""
        import scipy.sparse  # noqa: PLC0415 - see above

        return getattr(scipy.sparse, name)


__all__ = ["block_array", "coo_array", "csc_array", "csr_array", "eye_array", "hstack", "triu", "vstack"]
