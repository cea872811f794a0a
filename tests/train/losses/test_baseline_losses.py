"""The baseline losses against formulas in numpy and against torchvision's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torchvision.ops import sigmoid_focal_loss

from mlimages_dataset.core.errors import UsageError
from mlimages_dataset.train.losses.baseline_losses import (
    AsymmetricLoss,
    BaselineLoss,
    BinaryCrossEntropyLoss,
    CoBinaryCrossEntropyLoss,
    FocalLoss,
)

RATES = torch.rand(11, 11, generator=torch.Generator().manual_seed(1)) ** 8
LOSSES = [
    BinaryCrossEntropyLoss(),
    FocalLoss(),
    AsymmetricLoss(),
    AsymmetricLoss(1, 2, 0),
]


def batch() -> tuple[Tensor, Tensor, Tensor]:
    """Return logits, hard targets and a known-mask."""
    generator = torch.Generator().manual_seed(0)
    shape = (7, 11)
    return (
        4 * torch.randn(shape, generator=generator),
        (torch.rand(shape, generator=generator) < 0.3).to(torch.float32),
        torch.rand(shape, generator=generator) < 0.7,
    )


def test_binary_cross_entropy_is_its_formula() -> None:
    logits, targets, known = batch()
    x, y, k = logits.double().numpy(), 0.9 * targets.double().numpy(), known.numpy()
    p = 1 / (1 + np.exp(-x))
    expected = (k * -(y * np.log(p) + (1 - y) * np.log(1 - p))).mean()
    assert BinaryCrossEntropyLoss()(logits, 0.9 * targets, known).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("is_known", [True, False])
def test_co_binary_cross_entropy_leaves_out_what_is_often_labelled_together(*, is_known: bool) -> None:
    logits, targets, known = batch()
    x, y, k = logits.double().numpy(), targets.numpy(), known.numpy() if is_known else np.ones(known.shape, bool)
    p, r = 1 / (1 + np.exp(-x)), RATES.numpy()
    total, n_left_out = 0.0, 0
    for b, j in np.ndindex(x.shape):
        often = any(k[b, i] and y[b, i] and r[i, j] >= 0.1 for i in range(len(r)))
        n_left_out += bool(k[b, j] and not y[b, j] and often)
        if k[b, j] and (y[b, j] or not often):
            total -= np.log(p[b, j] if y[b, j] else 1 - p[b, j])
    assert n_left_out > 0
    value = CoBinaryCrossEntropyLoss(RATES)(logits, targets, known if is_known else None)
    assert value.item() == pytest.approx(total / x.size, rel=1e-5)


def test_without_rates_co_binary_cross_entropy_is_binary_cross_entropy() -> None:
    logits, targets, known = batch()
    expected = BinaryCrossEntropyLoss()(logits, 0.9 * targets, known)
    torch.testing.assert_close(CoBinaryCrossEntropyLoss(0 * RATES)(logits, 0.9 * targets, known), expected)


def test_focal_loss_is_torchvisions() -> None:
    logits, targets, _ = batch()
    expected = sigmoid_focal_loss(logits, targets, alpha=0.25, gamma=2, reduction="mean")
    torch.testing.assert_close(FocalLoss()(logits, targets), expected)


def test_focal_loss_without_focus_is_half_of_cross_entropy() -> None:
    logits, targets, known = batch()
    cross_entropy = BinaryCrossEntropyLoss()(logits, 0.8 * targets, known)
    torch.testing.assert_close(FocalLoss(gamma=0, alpha=0.5)(logits, 0.8 * targets, known), cross_entropy / 2)


@pytest.mark.parametrize(("positive", "negative", "margin"), [(0, 4, 0.05), (1, 2, 0.2), (0.5, 3, 0)])
def test_asymmetric_loss_is_its_formula(positive: float, negative: float, margin: float) -> None:
    logits, targets, known = batch()
    x, y, k = logits.double().numpy(), targets.double().numpy(), known.numpy()
    p = 1 / (1 + np.exp(-x))
    shifted = np.maximum(p - margin, 0)
    entries = -y * (1 - p) ** positive * np.log(p) - (1 - y) * shifted**negative * np.log(1 - shifted)
    value = AsymmetricLoss(positive, negative, margin)(logits, targets, known)
    assert value.item() == pytest.approx((k * entries).mean(), rel=1e-4)


def test_asymmetric_loss_without_asymmetry_is_cross_entropy() -> None:
    logits, targets, known = batch()
    expected = BinaryCrossEntropyLoss()(logits, targets, known)
    torch.testing.assert_close(AsymmetricLoss(0, 0, 0)(logits, targets, known), expected)


@pytest.mark.parametrize("kind", [BinaryCrossEntropyLoss, FocalLoss, AsymmetricLoss])
def test_a_sum_over_classes_has_gradients_that_do_not_depend_on_their_number(kind: type[BaselineLoss]) -> None:
    logits, targets, known = batch()
    summed = kind(sum_classes=True)(logits, targets, known)
    torch.testing.assert_close(summed, kind()(logits, targets, known) * logits.shape[1])
    gradients = []
    for copies in (1, 5):
        wide = logits.repeat(1, copies).requires_grad_()
        kind(sum_classes=True)(wide, targets.repeat(1, copies), known.repeat(1, copies)).backward()
        assert wide.grad is not None
        gradients.append(wide.grad[:, : logits.shape[1]])
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("loss", LOSSES)
def test_unknown_entries_add_no_gradient(loss: nn.Module) -> None:
    logits, targets, known = batch()
    logits.requires_grad_()
    loss(logits, targets, known).backward()
    assert logits.grad is not None
    assert bool((logits.grad[~known] == 0).all())
    assert bool((logits.grad[known] != 0).any())


@pytest.mark.parametrize("exponent", [0.1, 0.5, 1.0, 3.0])
@pytest.mark.parametrize("logit", [0.0, 5.0, 20.0, 200.0, 1e4])
def test_any_exponent_has_the_slope_of_its_formula(exponent: float, logit: float) -> None:
    losses = (FocalLoss(gamma=exponent), AsymmetricLoss(exponent, exponent), AsymmetricLoss(exponent, exponent, 0.0))
    for loss in losses:
        for target in (0.0, 1.0):
            for x in (logit, -logit):
                found = torch.tensor([[x]], requires_grad=True)
                loss(found, torch.tensor([[target]])).backward()
                assert found.grad is not None
                step = 1e-3 * max(1.0, abs(x))
                near = [loss(torch.tensor([[x + d]]), torch.tensor([[target]])).item() for d in (-step, step)]
                assert found.grad.item() == pytest.approx((near[1] - near[0]) / (2 * step), rel=2e-2, abs=2e-3)


@pytest.mark.parametrize("loss", LOSSES)
def test_large_logits_have_finite_loss_and_gradient(loss: nn.Module) -> None:
    logits = torch.tensor([[200.0, -200.0, 200.0, -200.0]], requires_grad=True)
    value = loss(logits, torch.tensor([[1.0, 1.0, 0.0, 0.0]]))
    value.backward()
    assert logits.grad is not None
    assert bool(torch.isfinite(value))
    assert bool(torch.isfinite(logits.grad).all())


@pytest.mark.parametrize("loss", LOSSES)
def test_shapes_that_do_not_fit_are_refused(loss: nn.Module) -> None:
    with pytest.raises(UsageError, match="one row per image and one column per class"):
        loss(torch.zeros(2, 3), torch.zeros(2, 4))
