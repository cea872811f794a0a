"""Concurrent softmax against loops written from the paper's equations."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

from mlimages_dataset.core.errors import UsageError
from mlimages_dataset.train.losses.concurrent_softmax import (
    ConcurrentSoftmaxLoss,
    concurrent_log_odds,
    concurrent_probabilities,
)
from mlimages_dataset.train.losses.pair_rates import concurrent_rates

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

N_CLASSES = 9


def example(seed: int = 0) -> tuple[Floats, Floats, NDArray[np.bool_], Floats]:
    """Return logits, hard targets, a known-mask and concurrent rates."""
    rng = np.random.default_rng(seed)
    shape = (5, N_CLASSES)
    rates = np.where(rng.random((N_CLASSES, N_CLASSES)) < 0.3, rng.random((N_CLASSES, N_CLASSES)), 0)
    np.fill_diagonal(rates, 0)
    rates[0, 1] = 1
    return rng.standard_normal(shape) * 3, (rng.random(shape) < 0.3).astype(float), rng.random(shape) < 0.8, rates


def equation_3(z: Floats, y: Floats, known: NDArray[np.bool_], r: Floats) -> float:
    """Return the mean over images of the loss of eq. 3, term by term."""
    total = 0.0
    for b, i in zip(*np.nonzero(y * known), strict=True):
        denominator = math.exp(z[b, i])
        for j in range(len(r)):
            denominator += known[b, j] * (1 - y[b, j]) * (1 - r[i, j]) * math.exp(z[b, j])
        total -= y[b, i] * math.log(math.exp(z[b, i]) / denominator)
    return total / len(z)


@pytest.mark.parametrize("seed", range(5))
def test_loss_is_equation_3(seed: int) -> None:
    z, y, known, r = example(seed)
    loss = ConcurrentSoftmaxLoss(torch.tensor(r))
    value = loss(torch.tensor(z), torch.tensor(y), torch.tensor(known))
    assert value.item() == pytest.approx(equation_3(z, y, known, r), rel=1e-5)


def equation_4(z: Floats, y: Floats, r: Floats) -> Floats:
    """Return the gradient of each image's loss, term by term.

    The paper's second case is the sum over the labels j of what class i adds to the denominator of j: the rate is that
    of j to i, as in equation 3.
    """
    gradient = np.zeros_like(z)
    for b in range(len(z)):
        labels = np.flatnonzero(y[b]).tolist()
        whole = {
            j: math.exp(z[b, j]) + sum((1 - y[b, k]) * (1 - r[j, k]) * math.exp(z[b, k]) for k in range(len(r)))
            for j in labels
        }
        for i in range(len(r)):
            if i in labels:
                gradient[b, i] = math.exp(z[b, i]) / whole[i] - 1
            else:
                gradient[b, i] = sum((1 - r[j, i]) * math.exp(z[b, i]) / whole[j] for j in labels)
    return gradient


@pytest.mark.parametrize("seed", range(5))
def test_gradient_by_autograd_is_equation_4(seed: int) -> None:
    z, y, _, r = example(seed)
    logits = torch.tensor(z, requires_grad=True)
    ConcurrentSoftmaxLoss(torch.tensor(r))(logits, torch.tensor(y)).backward()
    assert logits.grad is not None
    np.testing.assert_allclose(logits.grad.numpy() * len(z), equation_4(z, y, r), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_without_rates_and_with_one_label_it_is_softmax(seed: int) -> None:
    z, _, _, r = example(seed)
    labels = torch.arange(len(z))
    ours, theirs = (torch.tensor(z, dtype=torch.float32, requires_grad=True) for _ in range(2))
    value = ConcurrentSoftmaxLoss(torch.tensor(0 * r))(ours, functional.one_hot(labels, N_CLASSES).double())
    expected = functional.cross_entropy(theirs, labels)
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(*torch.autograd.grad(value, ours), *torch.autograd.grad(expected, theirs))
    scores = concurrent_probabilities(ours, torch.tensor(0 * r))
    torch.testing.assert_close(scores, functional.softmax(ours, 1), rtol=1e-5, atol=1e-7)


def test_labels_of_one_image_do_not_suppress_each_other() -> None:
    logits = torch.zeros(1, 3, requires_grad=True)
    ConcurrentSoftmaxLoss(torch.zeros(3, 3))(logits, torch.tensor([[1.0, 1.0, 0.0]])).backward()
    assert logits.grad is not None
    torch.testing.assert_close(logits.grad, torch.tensor([[-0.5, -0.5, 1.0]]))


@pytest.mark.parametrize("targets", [[[0.0, 0.0]], [[1.0, 1.0]], [[1.0, 0.0]], [[0.0, 1.0]]])
def test_extreme_logits_have_finite_loss_and_gradient(targets: list[list[float]]) -> None:
    logits = torch.tensor([[500.0, -500.0]], requires_grad=True)
    value = ConcurrentSoftmaxLoss(torch.tensor([[0.0, 1.0], [0.5, 0.0]]))(logits, torch.tensor(targets))
    value.backward()
    assert logits.grad is not None
    assert bool(torch.isfinite(value))
    assert bool(torch.isfinite(logits.grad).all())


def by_logarithms(z: torch.Tensor, y: torch.Tensor, r: torch.Tensor) -> torch.Tensor:
    """Return the loss of eq. 3 in float64, each denominator as the logarithm of a sum of exponentials."""
    of_labels = []
    for b, i in y.nonzero().tolist():
        rivals = [z[b, j] + torch.log(1 - r[i, j]) for j in range(len(r)) if not y[b, j] and r[i, j] < 1]
        of_labels.append(torch.stack([z[b, i], *rivals]).logsumexp(0) - z[b, i])
    return torch.stack(of_labels).sum() / len(z)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("scale", [1, 30, 90, 300, 1e4])
def test_logits_that_lie_far_apart_change_neither_loss_nor_gradient(scale: float, seed: int) -> None:
    _, y, _, r = example(seed)
    r[0, 1] = 0.5  # with 1, a rival that suppresses nothing hides those far below it
    y[0, :2] = 1
    generator = torch.Generator().manual_seed(seed)
    z = (torch.randn(y.shape, generator=generator) * scale).requires_grad_()
    exact = z.detach().double().requires_grad_()
    loss, expected = (
        ConcurrentSoftmaxLoss(torch.tensor(r))(z, torch.tensor(y)),
        by_logarithms(exact, *map(torch.tensor, (y, r))),
    )
    loss.backward()
    expected.backward()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-4)
    assert z.grad is not None
    assert exact.grad is not None
    torch.testing.assert_close(z.grad.double(), exact.grad, rtol=1e-3, atol=1e-4)


def test_unknown_classes_have_no_gradient() -> None:
    z, y, known, r = example()
    logits = torch.tensor(z, requires_grad=True)
    known[0] = False
    ConcurrentSoftmaxLoss(torch.tensor(r))(logits, torch.tensor(y), torch.tensor(known)).backward()
    assert logits.grad is not None
    assert bool((logits.grad.numpy()[~known] == 0).all())


def test_probabilities_are_equation_5() -> None:
    z, _, _, r = example()
    expected = np.exp(z) / (np.exp(z) @ (1 - r).T)
    for rates in (torch.tensor(r, dtype=torch.float32), torch.tensor(r, dtype=torch.float32).to_sparse()):
        np.testing.assert_allclose(concurrent_probabilities(torch.tensor(z), rates).numpy(), expected, rtol=1e-5)


def test_rates_are_shares_of_the_left_class_and_nothing_between_relatives() -> None:
    rates = concurrent_rates(
        torch.tensor([0, 1, 2]),
        torch.tensor([1, 0, 0]),
        n_left=torch.tensor([10, 40, 5]),
        n_both=torch.tensor([5, 5, 5]),
        related=torch.tensor([False, False, True]),
        n_classes=3,
    )
    assert rates.to_dense().tolist() == [[0, 0.5, 0], [0.125, 0, 0], [0, 0, 0]]


def test_rates_are_not_part_of_a_checkpoint_and_must_be_shares() -> None:
    assert "rates" not in ConcurrentSoftmaxLoss(torch.zeros(3, 3)).state_dict()
    with pytest.raises(UsageError, match="not a square matrix of shares"):
        ConcurrentSoftmaxLoss(torch.zeros(3, 2))
    with pytest.raises(UsageError, match="not a square matrix of shares"):
        ConcurrentSoftmaxLoss(torch.full((2, 2), 1.5))


def log_odds_term_by_term(z: Floats, r: Floats) -> Floats:
    """Return the log-odds of eq. 5, each sum of rivals taken in logarithms; a class is none of its own."""
    with np.errstate(divide="ignore"):
        terms = z[:, None, :] + np.log(1 - r)[None]
    diagonal = np.arange(len(r))
    terms[:, diagonal, diagonal] = -np.inf
    sums: Floats = np.logaddexp.reduce(terms, axis=2)
    return z - sums


LAYOUTS = {"dense": torch.strided, "coo": torch.sparse_coo, "csr": torch.sparse_csr}


@pytest.mark.parametrize("gap", [1.0, 12.0, 16.0, 17.0, 30.0, 36.0, 37.0, 100.0, 300.0, 700.0])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support is in beta state")
def test_equation_5_holds_however_far_logits_lie_apart(gap: float, layout: str) -> None:
    """The sum is taken in logarithms, term by term, and one logit is above all others by a gap, and one below."""
    rng = np.random.default_rng(int(gap))
    z = rng.standard_normal((N_CLASSES, N_CLASSES)) + gap * (np.eye(N_CLASSES) - np.roll(np.eye(N_CLASSES), 1, axis=1))
    rates = rng.choice([0.0, 0.25, 1 - 2.0**-20, 1.0], (N_CLASSES, N_CLASSES))
    np.fill_diagonal(rates, 0)
    rates[:, -1] *= rates[:, -1] < 1  # so each class has a rival, but the last, which may have none
    rates[-1, 0] = 0
    expected = log_odds_term_by_term(z, rates)
    dense = torch.tensor(rates)
    laid_out = dense if layout == "dense" else dense.to_sparse(layout=LAYOUTS[layout])
    np.testing.assert_allclose(concurrent_log_odds(torch.tensor(z), laid_out).numpy(), expected, rtol=1e-6, atol=1e-6)
    sigma = concurrent_probabilities(torch.tensor(z), laid_out).double().numpy()
    np.testing.assert_allclose(sigma, np.exp(-np.logaddexp(0, -expected)), rtol=1e-4, atol=1e-30)


@pytest.mark.parametrize("step", [0.1, 3.0, 15.0, 40.0, 700.0])
def test_equation_5_holds_where_a_class_makes_way_to_all_that_are_larger(step: float) -> None:
    """Each class makes way to all before it, wholly or nearly, and their logits descend in steps."""
    rng = np.random.default_rng(0)
    n = 40
    rates = np.tril(rng.choice([1 - 2.0**-24, 1.0], (n, n), p=[0.1, 0.9]), -1)
    rates[-1, :-1] = 1  # without rivals
    z = np.stack([-step * np.arange(n), step * np.arange(n), rng.permutation(n) * step])
    expected = log_odds_term_by_term(z, rates)
    odds = concurrent_log_odds(torch.tensor(z), torch.tensor(rates)).numpy()
    np.testing.assert_allclose(odds[:, :-1], expected[:, :-1], rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(odds[:, -1], z[:, -1] - z.min(1) + 708, rtol=1e-6)


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 2**32), st.sampled_from([1, 5, 20, 100]), st.sampled_from([0.1, 0.5, 0.9]))
def test_equation_5_holds_at_random(seed: int, spread: float, density: float) -> None:
    rng = np.random.default_rng(seed)
    n = int(rng.integers(2, 30))
    rates = rng.choice([0.3, 1 - 2.0**-20, 1.0], (n, n)) * (rng.random((n, n)) < density)
    z = rng.standard_normal((4, n)) * spread
    rates[np.arange(n), (np.arange(n) + 1) % n] = 0  # so each class has a rival
    expected = log_odds_term_by_term(z, rates)
    odds = concurrent_log_odds(torch.tensor(z), torch.tensor(rates)).numpy()
    np.testing.assert_allclose(odds, expected, rtol=1e-6, atol=1e-6)


class Largest(TorchDispatchMode):
    """Keeps the number of entries of the largest dense tensor that any operation makes."""

    entries = 0

    def __torch_dispatch__(
        self, func: Any, types: object, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run the operation and look at what it makes."""
        made = func(*args, **(kwargs or {}))
        for tensor in made if isinstance(made, (tuple, list)) else (made,):
            if isinstance(tensor, torch.Tensor) and tensor.layout == torch.strided:
                self.entries = max(self.entries, tensor.numel())
        return made


@pytest.mark.parametrize("gap", [0.0, 100.0])
def test_scores_take_no_dense_matrix_of_classes(gap: float) -> None:
    n, n_images = 3000, 2
    after = torch.arange(n - 1)
    pairs = torch.stack((torch.cat((after, after + 1)), torch.cat((after + 1, after))))
    rates = torch.sparse_coo_tensor(pairs, torch.ones(pairs.shape[1]), (n, n), check_invariants=True)
    z = torch.zeros(n_images, n)
    z[:, 7] += gap
    with Largest() as largest:  # type: ignore[no-untyped-call]  # torch's
        odds = concurrent_log_odds(z, rates)
    # Class 7 and its neighbours make way to each other, so their rivals are those that are small.
    expected = torch.tensor([-math.log(n - 3), gap - math.log(n - 3), -math.log(n - 3)])
    torch.testing.assert_close(odds[:, 6:9], expected.expand(n_images, -1))
    assert largest.entries <= 2 * n * max(n_images, 3)


def test_a_class_without_rivals_is_certain_and_its_log_odds_are_finite() -> None:
    for n in (1, 3):
        rates = torch.ones(n, n).fill_diagonal_(0)
        odds = concurrent_log_odds(torch.linspace(-200, 200, n)[None], rates)
        assert torch.isfinite(odds).all()
        assert torch.equal(odds.sigmoid(), torch.ones(1, n))
