"""Calibrated probabilities are true shares, weights are undone exactly, small classes stay near the common fit."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from torch import Tensor

from mlimages_dataset.train.calibration import (
    OFFSET_DEVIATION,
    SLOPE_DEVIATION,
    Calibration,
    fit_calibration,
)
from mlimages_dataset.train.losses.ml_images import MLImagesLoss
from mlimages_dataset.train.metrics import ScoreHistogram

N_CLASSES = 7


def drawn(slope: Tensor, offset: Tensor, n_images: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Return logits and labels whose log-odds are slope * logit + offset, each of shape (images, classes)."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.empty(n_images, len(slope)).normal_(-1, 2, generator=generator)
    return logits, (
        torch.empty_like(logits).uniform_(generator=generator) < (slope * logits + offset).sigmoid()
    ).float()


def histogram(logits: Tensor, labels: Tensor) -> ScoreHistogram:
    counted = ScoreHistogram.empty(logits.shape[1])
    counted.update(logits, labels)
    return counted


def nothing(n_classes: int = N_CLASSES) -> Calibration:
    return Calibration.of_weights(torch.ones(n_classes))


def test_with_many_images_the_fit_finds_what_the_labels_were_drawn_with() -> None:
    slope, offset = torch.linspace(0.5, 1.5, N_CLASSES), torch.linspace(-3, 1, N_CLASSES)
    fitted = fit_calibration(histogram(*drawn(slope, offset, 100_000)), nothing(), 100_000)
    torch.testing.assert_close(fitted.slope, slope, atol=0.05, rtol=0)
    torch.testing.assert_close(fitted.offset, offset, atol=0.08, rtol=0)
    assert (fitted.n_images, fitted.n_own) == (100_000, N_CLASSES)


def test_the_fit_is_the_most_probable_one_by_another_optimiser() -> None:
    slope, offset = torch.tensor([0.4, 1.0, 1.7]), torch.tensor([-2.0, -4.0, 0.5])
    counted = histogram(*drawn(slope, offset, 400))
    fitted = fit_calibration(counted, nothing(3), 400)
    x, (negatives, positives) = counted.centres().numpy(), counted.counts.double().numpy()

    def cost(parameters: np.ndarray, classes: slice, prior: np.ndarray, deviation: np.ndarray) -> float:
        z = parameters[0] * x + parameters[1]
        of_images = negatives[classes] @ np.logaddexp(0, z) + positives[classes] @ np.logaddexp(0, -z)
        return float(of_images.sum() + (((parameters - prior) / deviation) ** 2).sum() / 2)

    start = np.array([1.0, 0.0])
    spread = np.array([SLOPE_DEVIATION, OFFSET_DEVIATION])
    common = minimize(cost, start, args=(slice(None), start, spread), tol=1e-12).x
    for one in range(3):
        own = minimize(cost, common, args=(slice(one, one + 1), common, spread * [common[0], 1]), tol=1e-12).x
        assert (fitted.slope[one].item(), fitted.offset[one].item()) == pytest.approx(tuple(own), abs=2e-3)


def test_what_is_calibrated_is_as_often_present_as_it_says_on_other_images() -> None:
    slope, offset = torch.full((40,), 1.6), torch.linspace(-5, 0, 40)
    fitted = fit_calibration(histogram(*drawn(slope, offset, 20_000)), nothing(40), 20_000)
    logits, labels = drawn(slope, offset, 20_000, seed=1)
    said = fitted.probabilities(logits)
    for low in (0.0, 0.2, 0.5, 0.9, 0.95):
        chosen = (said >= low) & (said < low + 0.05)
        assert labels[chosen].mean().item() == pytest.approx(said[chosen].mean().item(), abs=0.02)
    # Without it, a class that is over-estimated is right in far fewer cases than it says.
    assert labels[:, 0][logits[:, 0].sigmoid() > 0.9].mean() < 0.5


def test_a_class_with_few_images_stays_near_the_common_fit_and_one_with_many_leaves_it() -> None:
    slope, offset = torch.ones(N_CLASSES), torch.tensor([-1.0] * (N_CLASSES - 1) + [-4.0])
    logits, labels = drawn(slope, offset, 20_000)
    few = torch.zeros_like(labels, dtype=torch.bool)
    few[:20] = True
    counted = ScoreHistogram.empty(N_CLASSES)
    known = torch.ones_like(few)
    known[:, -1] = few[:, -1]
    counted.update(logits, labels, known)
    shy, bold = (
        fit_calibration(counted, nothing(), 20_000),
        fit_calibration(histogram(logits, labels), nothing(), 20_000),
    )
    assert bold.offset[-1].item() == pytest.approx(-4, abs=0.2)
    assert -3.5 < shy.offset[-1].item() < -1
    torch.testing.assert_close(shy.offset[:-1], offset[:-1], atol=0.2, rtol=0)


def test_no_slope_is_negative_even_where_the_held_out_labels_contradict_the_logits() -> None:
    logits, labels = drawn(torch.tensor([1.0] * 6 + [-1.0]), torch.zeros(7), 5_000)
    fitted = fit_calibration(histogram(logits, labels), nothing(), 5_000)
    assert (fitted.slope > 0).all()


def test_a_class_that_contradicts_its_logits_has_the_common_pair_and_no_common_contradiction_is_fitted() -> None:
    logits, labels = drawn(torch.tensor([1.0] * 6 + [-1.0]), torch.zeros(7), 5_000)
    fitted = fit_calibration(histogram(logits, labels), nothing(), 5_000)
    assert 0 < fitted.slope[-1] < fitted.slope[:-1].min(), "the pair that fits all classes together"
    assert abs(fitted.offset[-1]) < 0.3, "not that of the slope which was left out"
    logits, labels = drawn(torch.full((7,), -1.0), torch.zeros(7), 5_000)
    weights = nothing()
    assert fit_calibration(histogram(logits, labels), weights, 5_000) is weights


@pytest.mark.parametrize("n_images", [0, 1])
def test_without_images_the_weights_alone_are_undone(n_images: int) -> None:
    weights = Calibration.of_weights(torch.tensor([12.0, 1.0, 0.5]))
    fitted = fit_calibration(histogram(torch.zeros(n_images, 3), torch.zeros(n_images, 3)), weights, n_images)
    if n_images == 0:
        torch.testing.assert_close(fitted.probabilities(torch.zeros(1, 3)), torch.tensor([[1 / 13, 0.5, 2 / 3]]))
    assert torch.isfinite(fitted.slope).all()
    assert torch.isfinite(fitted.offset).all()


def test_logits_beyond_the_histograms_count_as_their_limit_in_the_fit_and_after() -> None:
    logits, labels = drawn(torch.full((3,), 0.3), torch.zeros(3), 4_000)
    far = logits * 12
    fitted = fit_calibration(histogram(far, labels), nothing(3), 4_000)
    assert fitted.probabilities(far).sum().item() == pytest.approx(labels.sum().item(), rel=0.02)
    assert fitted.probabilities(torch.tensor([[40.0] * 3])).equal(fitted.probabilities(torch.tensor([[16.0] * 3])))


def test_a_calibration_survives_its_state() -> None:
    fitted = fit_calibration(histogram(*drawn(torch.ones(3), torch.zeros(3), 100)), nothing(3), 100)
    back = Calibration.from_state(fitted.state())
    assert (back.n_images, back.n_own) == (fitted.n_images, fitted.n_own)
    logits = torch.randn(5, 3)
    assert torch.equal(back.probabilities(logits), fitted.probabilities(logits))


@pytest.mark.slow
@pytest.mark.parametrize(("variant", "negatives"), [("released", None), ("paper", None), ("paper", 5)])
def test_the_odds_factor_is_that_of_the_constant_logits_at_which_the_loss_has_no_slope(
    variant: str, negatives: int | None
) -> None:
    """The sum over batches of the gradient of one logit a class vanishes at the true odds times the factor."""
    n_classes, n_images, n_batches = 6, 40, 400
    generator = torch.Generator().manual_seed(0)
    share = torch.tensor([0.5, 0.3, 0.1, 0.05, 0.02, 0.01])
    loss = MLImagesLoss(n_classes, variant, negatives_per_positive=negatives, absent_class_rate=0.5)
    batches = [
        (torch.empty(n_images, n_classes).uniform_(generator=generator) < share).float() for _ in range(n_batches)
    ]
    for targets in batches:
        loss(torch.zeros(n_images, n_classes), targets)
    odds = torch.stack([targets.mean(0) for targets in batches]).mean(0)
    logit = (odds / (1 - odds) * loss.odds_factor()).log().requires_grad_()

    again = MLImagesLoss(n_classes, variant, negatives_per_positive=negatives, absent_class_rate=0.5)
    for targets in batches:
        again(logit.expand(n_images, n_classes), targets).backward()
    slopes = logit.grad
    assert slopes is not None
    # In units of the positives' pull alone; down-sampling is random about its expectation.
    pull = loss.weighed[0] * (1 - logit.detach().sigmoid()) / n_images
    assert (slopes.abs() / pull).max().item() < (0.1 if negatives else 1e-3)


def test_the_odds_factor_is_eta_where_every_entry_counts_in_every_batch() -> None:
    loss = MLImagesLoss(2, "released", positive_weight=12.0)
    for _ in range(20):
        loss(torch.zeros(4, 2), torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0], [1.0, 1.0]]))
    assert loss.odds_factor().tolist() == pytest.approx([12.0, 12.0])
    assert MLImagesLoss(3).odds_factor().tolist() == [1.0, 1.0, 1.0]
