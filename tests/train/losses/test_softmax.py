"""The loss of images with one label, against torch's own."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from mlimages_dataset.train.losses.softmax import SoftmaxLoss


@given(n_images=st.integers(1, 6), n_classes=st.integers(2, 9), seed=st.integers(0, 999))
def test_one_label_an_image_is_torchs_cross_entropy(n_images: int, n_classes: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(n_images, n_classes, generator=generator, requires_grad=True)
    classes = torch.randint(n_classes, (n_images,), generator=generator)
    confidence = torch.rand(n_images, 1, generator=generator) + 0.1
    targets = functional.one_hot(classes, n_classes) * confidence
    ours, theirs = SoftmaxLoss()(logits, targets), functional.cross_entropy(logits, classes)
    torch.testing.assert_close(ours, theirs)
    (gradient,) = torch.autograd.grad(ours, logits, retain_graph=True)
    (expected,) = torch.autograd.grad(theirs, logits)
    torch.testing.assert_close(gradient, expected)


def test_several_labels_share_an_image_and_none_adds_nothing() -> None:
    logits = torch.tensor([[1.0, 2.0, 3.0], [9.0, -9.0, 4.0]])
    logs = logits.log_softmax(1)
    targets = torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 0.0]])
    torch.testing.assert_close(SoftmaxLoss()(logits, targets), -(logs[0, 0] + logs[0, 2]) / 2 / 2)


def test_what_is_not_known_is_no_label() -> None:
    logits, targets = torch.randn(2, 3), torch.tensor([[1.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    known = torch.tensor([[True, False, True], [True, True, True]])
    expected = functional.cross_entropy(logits, torch.tensor([0, 2]))
    torch.testing.assert_close(SoftmaxLoss()(logits, targets, known), expected)
