"""The linear SVM: LinearSVC's objective and classes, bounds that hold, and each class as if it were alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.svm import LinearSVC

from mlimages_dataset.train import linear_svm
from mlimages_dataset.train.linear_svm import LinearSvm, Problem, fit
from tests.benchmarks.linear_svm_speed import features_of_classes


def objectives(svm: LinearSvm, features: np.ndarray, labels: np.ndarray, cost: float) -> np.ndarray:
    """Return liblinear's objective of each class, computed from its formula in double precision."""
    return primal(svm.weights.double().numpy().T, svm.intercept_scaling, features, labels, cost)


def primal(
    weights: np.ndarray, intercept_scaling: float, features: np.ndarray, labels: np.ndarray, cost: float
) -> np.ndarray:
    rows = np.concatenate([features, np.full((len(features), 1), intercept_scaling)], axis=1, dtype=np.float64)
    signs = np.where(labels[:, None] == np.arange(len(weights)), 1, -1)
    slack = np.maximum(0, 1 - signs * (rows @ weights.T))
    objective: np.ndarray = (weights**2).sum(axis=1) / 2 + cost * (slack**2).sum(axis=0)
    return objective


def peer(features: np.ndarray, labels: np.ndarray, cost: float, intercept_scaling: float = 1.0) -> LinearSVC:
    """Return scikit-learn's classifier, solved far beyond its usual tolerance."""
    svm = LinearSVC(C=cost, dual=False, tol=1e-9, max_iter=20_000, intercept_scaling=intercept_scaling)
    svm.fit(features.astype(np.float64), labels)
    return svm


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    n_classes=st.integers(3, 6),
    each=st.integers(1, 12),
    n_features=st.integers(1, 40),
    cost=st.sampled_from([1e-4, 1e-2, 1.0, 100.0]),
    scaling=st.sampled_from([0.5, 1.0, 10.0]),
)
def test_the_objective_is_that_of_linear_svc(
    *, seed: int, n_classes: int, each: int, n_features: int, cost: float, scaling: float
) -> None:
    features, labels = features_of_classes(n_classes, each, n_features, seed=seed)
    problem = Problem(torch.from_numpy(features), torch.from_numpy(labels), n_classes, intercept_scaling=scaling)
    found = fit(problem, cost, tolerance=1e-4)
    theirs = peer(features, labels, cost, scaling)
    weights = np.concatenate([theirs.coef_, theirs.intercept_[:, None] / scaling], axis=1)
    least = primal(weights, scaling, features, labels, cost)
    ours = objectives(found, features, labels, cost)
    assert ours == pytest.approx(found.objectives.numpy(), rel=1e-4)
    assert (ours <= least * 1.001 + 1e-9).all(), "within 0.1 % of the least"
    assert float(found.relative_gaps.max()) <= 1e-4


@given(seed=st.integers(0, 10**6), cost=st.floats(1e-4, 1e3))
@settings(max_examples=25, deadline=None)
def test_no_objective_is_below_the_bound_that_is_told(seed: int, cost: float) -> None:
    features, labels = features_of_classes(4, 8, 10, seed=seed)
    problem = Problem(torch.from_numpy(features), torch.from_numpy(labels), 4)
    exact, rough = (fit(problem, cost, tolerance=tolerance) for tolerance in (1e-5, 0.5))
    bound = rough.objectives * (1 - rough.relative_gaps)
    assert (bound <= exact.objectives * (1 + 1e-4)).all()
    assert (rough.objectives >= exact.objectives * (1 - 1e-4)).all()


@pytest.mark.parametrize(("share", "exact"), [(1e9, 0), (1, 0), (1, 1_000)])
def test_every_way_to_newton_s_step_ends_at_the_same_weights(
    monkeypatch: pytest.MonkeyPatch, share: float, exact: int
) -> None:
    features, labels = features_of_classes(10, 30, 50, seed=1)
    expected = peer(features, labels, 0.1)
    monkeypatch.setattr(linear_svm, "_SHARE_ALONE", share)
    monkeypatch.setattr(linear_svm, "_ROWS_EXACT", exact)
    found = fit(Problem(torch.from_numpy(features), torch.from_numpy(labels), 10), 0.1, tolerance=1e-6)
    assert found.weights[:-1].T.numpy() == pytest.approx(expected.coef_, abs=2e-3)
    assert found.weights[-1].numpy() == pytest.approx(expected.intercept_, abs=2e-3)
    assert (found.classes(torch.from_numpy(features)).numpy() == expected.predict(features)).mean() > 0.99


def test_classes_are_solved_as_if_they_were_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    features, labels = features_of_classes(7, 20, 30, seed=2)
    problem = Problem(torch.from_numpy(features), torch.from_numpy(labels), 7)
    together = fit(problem, 0.1, tolerance=1e-6)
    monkeypatch.setattr(linear_svm, "_BLOCK_ELEMENTS", 1)
    alone = fit(problem, 0.1, tolerance=1e-6)
    torch.testing.assert_close(alone.weights, together.weights, atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(alone.objectives, together.objectives, atol=0, rtol=1e-5)


def test_another_start_ends_at_the_same_objective_sooner() -> None:
    features, labels = features_of_classes(10, 30, 50, seed=3)
    problem = Problem(torch.from_numpy(features), torch.from_numpy(labels), 10)
    cold = fit(problem, 1.0, tolerance=1e-5)
    warm = fit(problem, 1.0, tolerance=1e-5, start=cold)
    assert warm.steps == 1
    near = fit(problem, 1.0, tolerance=1e-5, start=fit(problem, 0.1))
    torch.testing.assert_close(near.objectives, cold.objectives, atol=0, rtol=1e-4)


def test_rows_that_cannot_be_learnt_from_are_refused() -> None:
    for features in (torch.zeros(0, 3), torch.tensor([[0.0, torch.nan]]), torch.tensor([[torch.inf]])):
        with pytest.raises(ValueError, match="not finite"):
            Problem(features, torch.zeros(len(features), dtype=torch.int64), 2)


def test_a_class_without_rows_and_features_of_zero_are_solved() -> None:
    features = torch.zeros(6, 4)
    found = fit(Problem(features, torch.tensor([0, 0, 0, 1, 1, 1]), 3), 1.0)
    assert torch.isfinite(found.weights).all()
    assert float(found.relative_gaps.max()) <= 1e-4
    assert float(found.scores(features)[0, 2]) < float(found.scores(features)[0, 0])


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e2, 1e3])
@pytest.mark.parametrize("cost", [1e-6, 1.0, 1e2])
def test_features_of_any_scale_and_any_cost_are_solved(scale: float, cost: float) -> None:
    features, labels = features_of_classes(5, 6, 60, seed=4)  # fewer rows than features: they can be told apart
    features *= np.float32(scale)
    problem = Problem(torch.from_numpy(features), torch.from_numpy(labels), 5)
    found = fit(problem, cost)
    assert float(found.relative_gaps.max()) <= 1e-4
    ours = objectives(found, features, labels, cost)
    # LinearSVC does not end for some of these: the dual's value is the proof, here by its own formula.
    rows = np.concatenate([features, np.ones((len(features), 1))], axis=1, dtype=np.float64)
    signs = np.where(labels[:, None] == np.arange(5), 1, -1)
    pull = 2 * cost * np.maximum(0, 1 - signs * (rows @ found.weights.double().numpy()))
    quadratic = ((rows.T @ (pull * signs)) ** 2).sum(axis=0) / 2 + (pull**2).sum(axis=0) / (4 * cost)
    assert (ours <= pull.sum(axis=0) ** 2 / (4 * quadratic) * 1.001).all()
