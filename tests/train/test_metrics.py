"""Metrics against scikit-learn and torchmetrics, their bounds, and the laws of adding up."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, f1_score, precision_score, recall_score
from torch import Tensor
from torchmetrics.functional.classification import multilabel_average_precision

from mlimages_dataset.core.errors import UsageError
from mlimages_dataset.train.metrics import InstanceSums, ScoreHistogram, TopHits, average_precision, instance_sums

SEEDS = st.integers(0, 10_000)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def predictions(seed: int, n_images: int = 60, n_classes: int = 12, decimals: int = 9) -> tuple[Tensor, Tensor, Tensor]:
    """Return logits, targets of every class and a known-mask; logits rounded to one decimal have many ties."""
    rng = np.random.default_rng(seed)
    shape = (n_images, n_classes)
    targets = np.where(rng.random(shape) < 0.2, rng.choice([0.6, 0.8, 1.0], shape), 0)
    targets[np.arange(n_classes), np.arange(n_classes)] = 1
    logits = np.round(rng.standard_normal(shape) * 3 + 2 * (targets > 0.7), decimals)
    return torch.tensor(logits), torch.tensor(targets), torch.tensor(rng.random(shape) < 0.8)


def with_labels(targets: Tensor) -> Tensor:
    return (targets > 0.7).any(1)


@pytest.mark.parametrize("k", [1, 5, 10])
def test_instance_scores_are_scikit_learns_of_the_k_highest(k: int) -> None:
    logits, targets, _ = predictions(0)
    rows = with_labels(targets)
    present = (targets[rows] > 0.7).numpy()
    predicted = np.zeros(present.shape, bool)
    np.put_along_axis(predicted, np.argsort(-logits[rows].numpy(), axis=1)[:, :k], values=True, axis=1)
    (scores,) = instance_sums(logits, targets, ks=(k,)).compute()
    for ours, theirs in zip(
        (scores.precision, scores.recall, scores.f1), (precision_score, recall_score, f1_score), strict=True
    ):
        assert ours == pytest.approx(theirs(present, predicted, average="samples", zero_division=0))


def test_unknown_classes_are_not_predicted_and_have_no_label() -> None:
    logits = torch.tensor([[9.0, 8, 7, 6, 5]])
    targets = torch.tensor([[1.0, 0, 1, 1, 0]])
    known = torch.tensor([[False, True, True, True, False]])
    at_1, at_2, at_5 = instance_sums(logits, targets, known, ks=(1, 2, 5)).compute()
    assert (at_1.precision, at_1.recall, at_1.f1) == (0, 0, 0)
    assert (at_2.precision, at_2.recall, at_2.f1) == (0.5, 0.5, 0.5)
    # Three classes are known: no more are predicted.
    assert at_5.precision == pytest.approx(2 / 3)
    assert at_5.recall == 1


def test_images_without_labels_and_padding_do_not_count() -> None:
    logits, targets, known = predictions(1)
    targets[::3] = 0
    valid = torch.arange(60) % 4 != 1
    kept = valid & ((targets > 0.7) & known).any(1)
    sums = instance_sums(logits, targets, known, valid)
    assert int(sums.n_images) == int(kept.sum())
    torch.testing.assert_close(sums.sums, instance_sums(logits[kept], targets[kept], known[kept]).sums)


@given(seed=SEEDS, cut=st.integers(0, 60))
@settings(max_examples=20)
def test_parts_add_up_to_the_whole(seed: int, cut: int) -> None:
    logits, targets, known = predictions(seed)
    whole = instance_sums(logits, targets, known)
    histogram = ScoreHistogram.empty(12)
    histogram.update(logits, targets, known)
    sums = InstanceSums.empty((5, 10))
    scores = ScoreHistogram.empty(12)
    for rows in (slice(0, cut), slice(cut, 60)):
        sums = sums + instance_sums(logits[rows], targets[rows], known[rows])
        part = ScoreHistogram.empty(12)
        part.update(logits[rows], targets[rows], known[rows])
        scores = scores + part
    torch.testing.assert_close(sums.sums, whole.sums)
    assert int(sums.n_images) == int(whole.n_images)
    assert torch.equal(scores.counts, histogram.counts)


def test_merging_sums_over_ranks() -> None:
    logits, targets, known = predictions(2)
    sums = instance_sums(logits, targets, known)
    histogram = ScoreHistogram.empty(12)
    histogram.update(logits, targets, known)
    assert sums.merged(lambda one: 2 * one).compute() == (sums + sums).compute()
    assert torch.equal(histogram.merged(lambda one: 2 * one).counts, (histogram + histogram).counts)


@pytest.mark.parametrize("decimals", [9, 0])
def test_exact_average_precision_is_scikit_learns_and_torchmetrics(decimals: int) -> None:
    logits, targets, _ = predictions(3, decimals=decimals)
    present = targets > 0.7
    ours = average_precision(logits, present).numpy()
    theirs = [average_precision_score(present[:, c].numpy(), logits[:, c].numpy()) for c in range(12)]
    np.testing.assert_allclose(ours, theirs, rtol=1e-12)
    metrics = multilabel_average_precision(logits.sigmoid(), present.long(), num_labels=12, average="none")
    np.testing.assert_allclose(ours, metrics.numpy(), rtol=1e-5)


@given(seed=SEEDS, decimals=st.integers(0, 2))
@settings(max_examples=30)
def test_exact_average_precision_leaves_unknown_entries_out(seed: int, decimals: int) -> None:
    logits, targets, known = predictions(seed, decimals=decimals)
    present = targets > 0.7
    known |= torch.eye(60, 12, dtype=torch.bool)
    ours = average_precision(logits, present, known).tolist()
    for c, value in enumerate(ours):
        rows = known[:, c].numpy()
        assert value == pytest.approx(average_precision_score(present[rows, c].numpy(), logits[rows, c].numpy()))


@given(seed=SEEDS, n_bins=st.integers(1, 300))
@settings(max_examples=30)
@example(seed=415, n_bins=1)  # a class without positives
def test_the_exact_value_lies_between_the_bounds(seed: int, n_bins: int) -> None:
    logits, targets, known = predictions(seed)
    histogram = ScoreHistogram.empty(12, n_bins, limit=6)
    histogram.update(logits, targets, known)
    bounds = histogram.compute()
    exact = average_precision(logits, targets > 0.7, known)
    defined = bounds.n_positives > 0
    assert bool((bounds.lower <= exact + 1e-9)[defined].all())
    assert bool((exact <= bounds.upper + 1e-9)[defined].all())
    assert bool(exact[~defined].isnan().all())


def test_with_every_score_in_a_bin_of_its_own_the_bounds_meet() -> None:
    rng = np.random.default_rng(4)
    logits = torch.tensor(rng.permuted(np.tile(np.linspace(-15, 15, 40), (7, 1)), axis=1).T)
    targets = torch.tensor(rng.random((40, 7)) < 0.3).double()
    histogram = ScoreHistogram.empty(7)
    histogram.update(logits, targets)
    bounds = histogram.compute()
    torch.testing.assert_close(bounds.lower, bounds.upper)
    torch.testing.assert_close(bounds.estimate, average_precision(logits, targets > 0.7))


def test_the_bounds_are_reached_by_the_worst_and_the_best_order() -> None:
    # One bin holds two positives and three negatives; a positive lies above, a negative below.
    histogram = ScoreHistogram(torch.tensor([[[1, 3, 0]], [[0, 2, 1]]], dtype=torch.int32), limit=1.0)
    bounds = histogram.compute()
    assert bounds.lower.item() == pytest.approx((1 / 1 + 2 / 5 + 3 / 6) / 3)
    assert bounds.upper.item() == pytest.approx(1)
    assert bounds.n_positives.tolist() == [3]


def test_the_default_bins_bound_the_error_of_a_trained_models_scores() -> None:
    # 20,000 images and a class that one in a thousand has: scores of a good classifier, and of a poor one.
    rng = np.random.default_rng(5)
    present = rng.random((20_000, 2)) < 0.001
    logits = torch.tensor(rng.normal(-7, 1.5, present.shape) + present * [6, 2])
    targets = torch.tensor(present, dtype=torch.float64)
    histogram = ScoreHistogram.empty(2)
    histogram.update(logits, targets)
    bounds = histogram.compute()
    assert bool(((bounds.upper - bounds.lower) / 2 < 0.02).all())
    assert float((bounds.estimate - average_precision(logits, targets > 0.7)).abs().max()) < 0.01


def test_classes_without_positives_have_no_average_precision() -> None:
    logits, targets, _ = predictions(6)
    targets[:, 4] = 0
    histogram = ScoreHistogram.empty(12)
    histogram.update(logits, targets)
    bounds = histogram.compute()
    for values in (bounds.lower, bounds.upper, bounds.estimate, average_precision(logits, targets > 0.7)):
        assert torch.isnan(values).nonzero().tolist() == [[4]]


def test_padding_and_scores_outside_the_bins_and_nan_are_counted_as_said() -> None:
    histogram = ScoreHistogram.empty(1, n_bins=4, limit=2)
    logits = torch.tensor([[-99.0], [99.0], [torch.nan], [0.5], [0.5]])
    targets = torch.tensor([[0.0], [1.0], [0.0], [1.0], [1.0]])
    histogram.update(logits, targets, valid=torch.tensor([True, True, True, True, False]))
    assert histogram.counts.tolist() == [[[2, 0, 0, 0]], [[0, 0, 1, 1]]]


def test_what_was_counted_differently_does_not_add_up() -> None:
    with pytest.raises(UsageError, match="use the same list of k"):
        InstanceSums.empty((5,)) + InstanceSums.empty((10,))
    with pytest.raises(UsageError, match="make both with the same options"):
        ScoreHistogram.empty(3, limit=2) + ScoreHistogram.empty(3)


def reference_accuracy(output: Tensor, target: Tensor, ks: tuple[int, ...]) -> list[float]:
    """Return accuracies as torchvision's references/classification/utils.py has them: topk, equality, first k rows."""
    _, predicted = output.topk(max(ks), 1, True, True)
    correct = predicted.t().eq(target[None])
    return [float(correct[:k].flatten().sum(dtype=torch.float32) * (100.0 / len(target))) for k in ks]


@given(
    n_images=st.integers(1, 40),
    n_classes=st.integers(5, 60),
    values=st.integers(1, 1000),
    seed=st.integers(0, 2**31),
    parts=st.integers(1, 3),
)
def test_accuracies_are_those_of_torchvisions_reference_evaluation(
    n_images: int, n_classes: int, values: int, seed: int, parts: int
) -> None:
    rng = torch.Generator().manual_seed(seed)
    logits = torch.randint(values, (n_images, n_classes), generator=rng).float()  # few values: many ties
    target = torch.randint(n_classes, (n_images,), generator=rng)
    one_hot = torch.nn.functional.one_hot(target, n_classes).float()
    hits = TopHits.empty((1, 5))
    for rows in torch.arange(n_images).chunk(parts):
        hits += TopHits.empty((1, 5)).updated(logits[rows], one_hot[rows])
    found = [100 * accuracy for accuracy in hits.accuracies().values()]
    assert found == pytest.approx(reference_accuracy(logits, target, (1, 5)), rel=1e-6)


def test_images_without_a_label_and_padding_are_in_no_accuracy() -> None:
    logits, targets = torch.eye(6)[:4], torch.eye(6)[:4].clone()
    targets[1] = 0
    valid = torch.tensor([True, True, True, False])
    hits = TopHits.empty((1, 5)).updated(-logits, targets, valid)
    assert (int(hits.n_images), hits.hits.tolist()) == (2, [0, 0])
    assert TopHits.empty((1, 5)).updated(logits, targets, valid).accuracies() == {1: 1.0, 5: 1.0}
