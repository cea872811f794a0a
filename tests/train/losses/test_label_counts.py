"""Entries with labels are listed where that pays."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mlimages_dataset.train.losses import label_counts
from mlimages_dataset.train.losses.label_counts import labelled_entries


@given(
    shape=st.tuples(st.integers(1, 9), st.integers(1, 300)),
    density=st.floats(0, 0.2),
    block=st.sampled_from([1, 3, 64]),
    seed=st.integers(0, 1000),
)
def test_labelled_entries_are_those_above_zero(shape: tuple[int, int], density: float, block: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    targets = np.where(
        rng.random(shape) < density, rng.choice([np.nan, 1e-30, 0.5, 1.0], shape), -rng.integers(0, 2, shape)
    )
    expected = np.flatnonzero(~(targets <= 0))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(label_counts, "_BLOCK", block)
        found = labelled_entries(torch.tensor(targets, dtype=torch.float32))
    n_blocks = targets.size // block
    n_labelled = len({nth for nth in (expected // block).tolist() if nth < n_blocks})
    assert (found is None) == (2 * n_labelled > n_blocks)
    if found is not None:
        np.testing.assert_array_equal(found.numpy(), expected)
