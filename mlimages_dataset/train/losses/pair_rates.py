"""Concurrent rates, from a `pair_counts` table or from a checkpoint.

Legend: C classes, r_ij the share of the images of class i that are also labelled j.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from mlimages_dataset.core.errors import DataError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pyarrow as pa
    import scipy.sparse as sp
    from numpy.typing import NDArray

RATES_KEY = "_extra_state"
"""Key of the rates in the loss's state dict: torch's name for state that is neither parameter nor buffer."""


class WithPairRates(nn.Module):
    """A loss with concurrent rates, which its state dict has under `RATES_KEY`.

    Attributes:
        rates: r, sparse, shape (C, C). Loading a state dict leaves it as it is: rates are data and not learnt.
    """

    rates: Tensor

    def keep_rates(self, rates: Tensor) -> None:
        """Keep rates of `concurrent_rates`, or any sparse or dense matrix of shape (C, C) in [0, 1].

        Raises:
            UsageError: they are not a square matrix of values in [0, 1].
        """
        sparse = rates.to_sparse_coo().coalesce()
        values = sparse.values()
        if rates.shape != (len(rates), len(rates)) or bool(((values < 0) | (values > 1)).any()):
            raise UsageError(
                f"concurrent rates of shape {tuple(rates.shape)} are not a square matrix of shares",
                remedy="give one row and one column per class, values from 0 to 1",
            )
        self.register_buffer("rates", sparse.to(torch.float32), persistent=False)

    def get_extra_state(self) -> dict[str, Tensor]:
        """Return the rates as the state dict has them: pairs of classes, int64, shape (2, pairs), and their shares."""
        return {"pairs": self.rates.indices().cpu(), "shares": self.rates.values().cpu()}

    def set_extra_state(self, state: dict[str, Tensor]) -> None:
        """Leave the rates as they are."""


def concurrent_rates(
    left: Tensor, right: Tensor, *, n_left: Tensor, n_both: Tensor, related: Tensor, n_classes: int
) -> Tensor:
    """Return r_ij = n_both / n_left of pairs of classes (i = left, j = right), sparse COO float32, shape (C, C).

    Args:
        left: class index of each pair, as in the `pair_counts` table, int64, shape (pairs,).
        right: class index of each pair, int64, shape (pairs,).
        n_left: images with the left class, shape (pairs,).
        n_both: images with both, shape (pairs,).
        related: pairs of which one class is an ancestor of the other, bool, shape (pairs,): their rate is 0 (4.1.1).
        n_classes: C.
    """
    kept = ~related & (n_left > 0) & (left != right)
    pairs = torch.stack((left[kept], right[kept]))
    rates = (n_both[kept] / n_left[kept]).to(torch.float32)
    return torch.sparse_coo_tensor(pairs, rates, (n_classes, n_classes), check_invariants=True).coalesce()


def rates_of_table(pair_counts: pa.Table, closure: sp.csr_array, *, where: object = None) -> Tensor:
    """Return the concurrent rates of a `pair_counts` table, sparse COO float32, shape (C, C).

    Classes of which one is an ancestor of the other have the rate 0 (Peng et al. 2020, section 4.1.1). The table counts
    images; the paper counts objects.

    Args:
        pair_counts: a `pair_counts` table.
        closure: reflexive ancestor matrix, bool, shape (C, C).
        where: the table's file, for messages.

    Raises:
        DataError: a class is not in 0..C-1, a pair is repeated, or more images have both classes than the left one.
    """
    n_classes = closure.shape[0]
    left, right, n_left, n_both = (pair_counts[name].to_numpy() for name in pair_counts.schema.names)
    if problem := _problem(left.astype(np.int64), right.astype(np.int64), n_left, n_both=n_both, n_classes=n_classes):
        raise DataError(problem, where=where, remedy="make it with this vocabulary: mlimages-build cooccurrence")
    related = np.zeros(len(left), bool)
    if len(left):  # indexing with no rows gives a sparse array, not a dense one
        related = np.asarray((closure + closure.T)[left, right], bool)
    return concurrent_rates(
        torch.from_numpy(left.astype(np.int64)),
        torch.from_numpy(right.astype(np.int64)),
        n_left=torch.from_numpy(n_left.copy()),
        n_both=torch.from_numpy(n_both.copy()),
        related=torch.from_numpy(related),
        n_classes=n_classes,
    )


def with_relatives(rates: Tensor, closure: sp.csr_array) -> Tensor:
    """Return rates of which those between a class and its ancestors, in both directions, are 1.

    Args:
        rates: sparse, shape (C, C), 0 for such pairs.
        closure: reflexive ancestor matrix, bool, shape (C, C).
    """
    related = (closure + closure.T).tocoo()
    left, right = (torch.from_numpy(side.astype(np.int64)) for side in related.coords)
    apart = left != right
    ones = torch.sparse_coo_tensor(
        torch.stack((left[apart], right[apart])), torch.ones(int(apart.sum())), rates.shape, check_invariants=True
    )
    return (rates + ones.coalesce()).coalesce()


def _problem(
    left: NDArray[np.int64],
    right: NDArray[np.int64],
    n_left: NDArray[np.int64],
    *,
    n_both: NDArray[np.int64],
    n_classes: int,
) -> str:
    """Return the fault of a table, empty if there is none."""
    classes = np.concatenate((left, right))
    other = classes[(classes < 0) | (classes >= n_classes)]
    if len(other):
        return f"names class {other[0]}, but the vocabulary has the classes 0 to {n_classes - 1}"
    if len(np.unique(left * n_classes + right)) < len(left):
        return "holds a pair twice"
    if not np.all((n_both >= 0) & (n_both <= n_left)):
        return "counts more images with both classes than with the first, or fewer than none"
    return ""


def rates_of_state(state: Mapping[str, object], n_classes: int, *, where: object = None) -> Tensor:
    """Return the concurrent rates that a loss's state dict has, sparse COO float32, shape (C, C).

    Raises:
        DataError: it has none, or they are not of C classes.
    """
    found = state.get(RATES_KEY)
    try:
        assert isinstance(found, dict)
        return torch.sparse_coo_tensor(
            found["pairs"], found["shares"], (n_classes, n_classes), check_invariants=True
        ).coalesce()
    except (AssertionError, KeyError, TypeError, RuntimeError) as error:
        raise DataError(
            "its loss needs concurrent rates, but it holds none for its classes",
            where=where,
            remedy="name a checkpoint of `pretrain`",
        ) from error


def check_rates(
    found: Mapping[str, object], wanted: Mapping[str, object], n_classes: int, where: object = None
) -> None:
    """Raise `UsageError` where a checkpoint's loss has other concurrent rates than a run's; `DataError` for none.

    Args:
        found: state dict of the checkpoint's loss.
        wanted: state dict of the run's loss.
        n_classes: C.
        where: the checkpoint's place, for messages.
    """
    before, after = rates_of_state(found, n_classes, where=where), rates_of_state(wanted, n_classes)
    if not (torch.equal(before.indices(), after.indices()) and torch.equal(before.values(), after.values())):
        raise UsageError(
            "its concurrent rates come from another pair_counts table",
            where=where,
            remedy="use the same loss.pair_counts as before, or another --out",
        )
