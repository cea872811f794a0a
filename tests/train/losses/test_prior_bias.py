"""A head that begins at the classes' frequencies predicts them."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mlimages_dataset.core.errors import UsageError
from mlimages_dataset.train.losses.prior_bias import prior_bias


@given(counts=st.lists(st.integers(0, 1000), min_size=1), extra=st.integers(0, 1000))
def test_prior_bias_is_finite_and_ordered_as_the_counts(counts: list[int], extra: int) -> None:
    n_images = max(counts) + extra
    bias = prior_bias(torch.tensor(counts), n_images).tolist()
    assert all(math.isfinite(one) for one in bias)
    order = np.argsort(counts, kind="stable")
    assert bool((np.diff(np.array(bias)[order]) >= 0).all())


def test_prior_bias_predicts_the_frequency() -> None:
    probability = prior_bias(torch.tensor([1000, 500_000]), 1_000_000).sigmoid()
    torch.testing.assert_close(probability, torch.tensor([0.001, 0.5]), rtol=1e-3, atol=0)


def test_more_images_of_a_class_than_there_are_is_refused() -> None:
    with pytest.raises(UsageError, match="count classes and images on the same table"):
        prior_bias(torch.tensor([5]), 4)
