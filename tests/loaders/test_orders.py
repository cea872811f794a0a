"""The laws of orders, and chi-square tests against the formulas, computed from dense label matrices."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from mlimages_dataset.core.errors import UsageError
from mlimages_dataset.loaders.orders import (
    BlockShuffled,
    Hybrid,
    InOrder,
    Order,
    RepeatFactor,
    RowsOfClass,
    Shuffled,
    SoftBalance,
    repeat_factors,
    soft_balance,
)
from tests.loaders.tables import long_tailed, rows_of_class

if TYPE_CHECKING:
    from numpy.typing import NDArray

N, C = 500, 12
DATA = long_tailed(N, C)
REPEATED = RepeatFactor(repeat_factors(DATA.rows_of_class, N, 0.3), 0.3, 5)
ORDERS: list[Order] = [
    InOrder(N),
    Shuffled(N, 5),
    BlockShuffled(N, 5, block_rows=17, blocks_of_window=4),
    SoftBalance(DATA.rows_of_class, N, 0.7, 5),
    REPEATED,
    Hybrid(Shuffled(N, 5), SoftBalance(DATA.rows_of_class, 300, 0.7, 5), 2),
]


@given(order=st.sampled_from(ORDERS), epoch=st.integers(0, 5), data=st.data())
@pytest.mark.slow
def test_any_stretch_is_computed_by_itself(order: Order, epoch: int, data: st.DataObject) -> None:
    length = order.length(epoch)
    start = data.draw(st.integers(0, length))
    stop = data.draw(st.integers(start, length))
    assert order.rows(epoch, start, stop).tolist() == order.rows(epoch, 0, length)[start:stop].tolist()


@pytest.mark.parametrize("order", ORDERS[1:], ids=lambda order: type(order).__name__)
def test_epochs_and_seeds_differ(order: Order) -> None:
    first, second = (order.rows(epoch, 0, 200).tolist() for epoch in (0, 1))
    assert first != second
    assert first == order.rows(0, 0, 200).tolist()


@pytest.mark.parametrize("order", ORDERS[:3], ids=lambda order: type(order).__name__)
def test_without_replacement_every_row_comes_once(order: Order) -> None:
    for epoch in range(3):
        assert sorted(order.rows(epoch, 0, N).tolist()) == list(range(N))


@given(n=st.integers(1, 300), block_rows=st.integers(1, 50), blocks_of_window=st.integers(1, 7), seed=st.integers(0, 9))
def test_a_window_of_block_shuffling_reads_few_stretches(
    n: int, block_rows: int, blocks_of_window: int, seed: int
) -> None:
    order = BlockShuffled(n, seed, block_rows, blocks_of_window)
    rows = order.rows(3, 0, n)
    assert sorted(rows.tolist()) == list(range(n))
    windows = order.windows(3)
    assert [windows[0], windows[-1]] == [0, n]
    for begin, end in itertools.pairwise(windows.tolist()):
        assert len(set((rows[begin:end] // block_rows).tolist())) <= blocks_of_window


def expected_by_formula(present: NDArray[np.bool_], balance: float) -> NDArray[np.float64]:
    """Return the probability of each row by equations 6 to 8 of Peng et al. 2020, term by term, shape (N,)."""
    present = present[:, present.any(axis=0)]
    n_of_class = present.sum(axis=0)
    p_n = n_of_class / n_of_class.sum()
    alpha = 1 / (len(n_of_class) * p_n)
    p_s = alpha**balance * p_n
    of_class = p_s / p_s.sum()
    return np.asarray((present / n_of_class) @ of_class)


@pytest.mark.parametrize("balance", [0.0, 0.3, 0.7, 1.0, 1.5])
def test_soft_balance_draws_rows_by_the_papers_formula(balance: float) -> None:
    draws = 200_000
    rows = SoftBalance(DATA.rows_of_class, draws, balance, seed=11).rows(0, 0, draws)
    probability = expected_by_formula(DATA.present, balance)
    possible = probability > 0
    seen = np.bincount(rows, minlength=N)
    assert seen[~possible].sum() == 0
    assert stats.chisquare(seen[possible], draws * probability[possible]).pvalue > 0.001


@pytest.mark.parametrize("balance", [0.0, 0.7, 1.0])
def test_soft_balance_draws_classes_by_the_papers_formula(balance: float) -> None:
    draws = 200_000
    classes = SoftBalance(DATA.rows_of_class, draws, balance, seed=12).classes(1, 0, draws)
    sizes = DATA.present.sum(axis=0)[:-1].astype(np.float64)
    p_s = (1 / len(sizes)) ** balance * (sizes / sizes.sum()) ** (1 - balance)
    assert stats.chisquare(np.bincount(classes, minlength=C)[:-1], draws * p_s / p_s.sum()).pvalue > 0.001
    assert (classes < C - 1).all(), "the last class has no row"


def test_draws_of_another_formula_are_told_apart() -> None:
    draws = 200_000
    rows = SoftBalance(DATA.rows_of_class, draws, 0.7, seed=11).rows(0, 0, draws)
    probability = expected_by_formula(DATA.present, 0.5)
    possible = probability > 0
    seen = np.bincount(rows, minlength=N)
    assert stats.chisquare(seen[possible], draws * probability[possible]).pvalue < 1e-6


def test_the_ends_of_lambda() -> None:
    sizes = np.array([1, 0, 9, 90])
    assert soft_balance(sizes, 0) == pytest.approx([0.01, 0, 0.09, 0.9])
    assert soft_balance(sizes, 1) == pytest.approx([1 / 3, 0, 1 / 3, 1 / 3])


def test_successive_draws_are_independent() -> None:
    draws = 200_000
    classes = SoftBalance(DATA.rows_of_class, draws, 1.0, seed=3).classes(0, 0, draws)
    pairs = np.zeros((C - 1, C - 1))
    np.add.at(pairs, (classes[:-1:2], classes[1::2]), 1)
    assert stats.chi2_contingency(pairs).pvalue > 0.001


def test_draws_are_exact_beyond_two_to_the_24_rows() -> None:
    n = 20_000_000
    rows = RowsOfClass(np.array([0, 2, n]), np.arange(n, dtype=np.int32))  # class 0 has two rows, class 1 the others
    found = SoftBalance(rows, n, 1.0, seed=1).rows(0, n - 400_000, n)
    of_rare = np.bincount(found[found < 2])
    assert (
        stats.chisquare([len(found) - of_rare.sum(), *of_rare], len(found) * np.array([0.5, 0.25, 0.25])).pvalue > 0.001
    )
    common = (found[found >= 2] - 2) * 64 // (n - 2)
    assert stats.chisquare(np.bincount(common, minlength=64)).pvalue > 0.001
    # Single precision has no odd numbers beyond 2^24: a sampler that used it would draw none of them.
    odd = (found[found > 2**24] % 2).sum()
    assert stats.binomtest(int(odd), int((found > 2**24).sum())).pvalue > 0.001


def test_nothing_to_draw_is_told() -> None:
    with pytest.raises(UsageError, match="no class has an image"):
        SoftBalance(rows_of_class(np.zeros((3, 2), bool)), 3)


@pytest.mark.parametrize("balance", [-0.1, math.nan, math.inf])
def test_a_balance_that_is_none_is_refused(balance: float) -> None:
    with pytest.raises(UsageError, match="balance is"):
        SoftBalance(DATA.rows_of_class, 3, balance)


@pytest.mark.parametrize("threshold", [-0.1, math.nan])
def test_a_threshold_that_is_none_is_refused(threshold: float) -> None:
    with pytest.raises(UsageError, match="threshold is"):
        repeat_factors(DATA.rows_of_class, 3, threshold)


def test_negative_lengths_seeds_and_epochs_are_refused() -> None:
    with pytest.raises(UsageError, match="an epoch cannot have -1 draws"):
        SoftBalance(DATA.rows_of_class, -1)
    for order, epoch in ((Shuffled(9, -1), 0), (Shuffled(9), -1), (SoftBalance(DATA.rows_of_class, 9), -1)):
        with pytest.raises(UsageError, match="-1 is neither a seed nor an epoch"):
            order.rows(epoch, 0, 9)


def test_repeat_factors_are_those_of_the_lvis_paper() -> None:
    threshold = 0.3
    frequency = DATA.present.mean(axis=0)
    with np.errstate(divide="ignore"):
        of_class = np.maximum(1, np.sqrt(threshold / frequency))
    expected = np.where(DATA.present, of_class, 1).max(axis=1)
    assert REPEATED.factors == pytest.approx(expected)
    assert (expected > 1).any()


def test_rows_repeat_by_their_factor_on_average_and_never_by_more_than_one_from_it() -> None:
    epochs = 400
    counts = np.stack([np.bincount(REPEATED.rows(e, 0, REPEATED.length(e)), minlength=N) for e in range(epochs)])
    factors = REPEATED.factors.astype(np.float64)
    assert (np.abs(counts - factors) < 1).all()
    fraction = factors % 1
    uncertain = (fraction > 0.01) & (fraction < 0.99)
    above = (counts - np.floor(factors)).sum(axis=0)[uncertain]
    expected = epochs * fraction[uncertain]
    # Each row's number of epochs in which it was rounded up is binomial.
    squares = (above - expected) ** 2 / (expected * (1 - fraction[uncertain]))
    assert stats.chi2.sf(squares.sum(), uncertain.sum()) > 0.001


def test_shuffled_rows_stand_anywhere() -> None:
    bins = 10
    table = np.zeros((bins, bins))
    for epoch in range(200):
        rows = Shuffled(N, 9).rows(epoch, 0, N)
        np.add.at(table, (np.arange(N) * bins // N, rows * bins // N), 1)
    # Margins are fixed, as in a contingency table.
    squares = ((table - table.mean()) ** 2 / table.mean()).sum()
    assert 0.001 < stats.chi2.sf(squares, (bins - 1) ** 2) < 0.999


def test_the_hybrid_schedule_changes_orders_between_epochs() -> None:
    first, then = Shuffled(N, 5), SoftBalance(DATA.rows_of_class, 300, 0.7, 5)
    order = Hybrid(first, then, 2)
    assert [order.length(epoch) for epoch in range(4)] == [N, N, 300, 300]
    assert order.rows(1, 0, N).tolist() == first.rows(1, 0, N).tolist()
    assert order.rows(2, 0, 300).tolist() == then.rows(2, 0, 300).tolist()
