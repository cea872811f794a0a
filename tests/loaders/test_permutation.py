"""Permutations are ones, and each is as likely."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from mlimages_dataset.loaders.permutation import TABLE, keys_of, permuted


@given(
    n=st.integers(1, TABLE) | st.integers(TABLE + 1, 3 * TABLE), seed=st.integers(0, 2**64), epoch=st.integers(0, 1000)
)
def test_it_is_a_permutation(n: int, seed: int, epoch: int) -> None:
    assert sorted(permuted(np.arange(n), n, keys_of(seed, epoch)).tolist()) == list(range(n))


@given(n=st.integers(1, 2**40), data=st.data())
def test_each_element_is_computed_by_itself(n: int, data: st.DataObject) -> None:
    some = np.array(data.draw(st.lists(st.integers(0, n - 1), min_size=1, max_size=8, unique=True)))
    together = permuted(some, n, keys_of(1))
    assert [int(permuted(some[[k]], n, keys_of(1))[0]) for k in range(len(some))] == together.tolist()
    assert len(set(together.tolist())) == len(some)
    assert 0 <= together.min() <= together.max() < n


@pytest.mark.parametrize("n", [3, 4, 5])
def test_every_order_of_a_few_is_as_likely(n: int) -> None:
    orders = {order: k for k, order in enumerate(itertools.permutations(range(n)))}
    seen = np.zeros(len(orders))
    for seed in range(1200):
        seen[orders[tuple(permuted(np.arange(n), n, keys_of(seed)).tolist())]] += 1
    assert stats.chisquare(seen).pvalue > 0.001


@pytest.mark.parametrize("n", [5000, 17_609_752])
def test_where_positions_go_is_uniform_and_neighbours_are_independent(n: int) -> None:
    bins = 20
    first = np.concatenate([permuted(np.arange(100), n, keys_of(seed)) for seed in range(200)])
    cells = first * bins // n
    sizes = np.bincount(np.arange(n) * bins // n) if n < 10**6 else np.ones(bins)
    assert stats.chisquare(np.bincount(cells, minlength=bins), len(cells) * sizes / sizes.sum()).pvalue > 0.001
    pairs = np.zeros((bins, bins))
    np.add.at(pairs, (cells[:-1:2], cells[1::2]), 1)
    assert stats.chi2_contingency(pairs).pvalue > 0.001


def test_keys_know_the_order_of_what_they_are_made_of() -> None:
    assert keys_of(1, 2).tolist() != keys_of(2, 1).tolist()
