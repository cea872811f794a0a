"""The detector computes what torchvision's Faster R-CNN computes, image by image."""

from __future__ import annotations

import copy
import dataclasses
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import Tensor
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.roi_heads import RoIHeads
from torchvision.models.detection.rpn import RegionProposalNetwork
from torchvision.models.resnet import resnet18, resnet50

from mlimages_dataset.core.errors import UsageError
from mlimages_dataset.train.config import LossName, Run, TaskName
from mlimages_dataset.train.detection.detector import Detector
from mlimages_dataset.train.detection.found import found_boxes
from mlimages_dataset.train.detection.targets import SeededSampler
from mlimages_dataset.train.losses.concurrent_softmax import ConcurrentSoftmaxLoss, concurrent_probabilities
from mlimages_dataset.train.losses.detection import CLASSES, DetectionLoss, region_scores, with_background
from mlimages_dataset.train.losses.registry import LOSSES
from mlimages_dataset.train.losses.softmax import SoftmaxLoss
from mlimages_dataset.train.models import create_model
from mlimages_dataset.train.stages import N_STAGES, Stages, dilate, without_stride
from mlimages_dataset.train.task_options import Detection

if TYPE_CHECKING:
    from collections.abc import Sequence

N_CLASSES, SIZE = 3, (96, 128)
C4 = Detection(
    anchor_sizes=(16, 32, 64),
    anchors_of_image=32,
    regions_of_image=16,
    candidates=(200, 100),
    proposals=(50, 30),
    least_score=0.01,
)
PYRAMID = dataclasses.replace(
    C4, pyramid=True, pyramid_channels=16, head_features=32, anchor_sizes=(8, 16, 32, 64, 128)
)


def detector_of(options: Detection, name: str = "resnet18") -> Detector:
    torch.manual_seed(0)
    return Detector(create_model(name, N_CLASSES), name, options)


def batch(n: int) -> tuple[Tensor, Tensor, tuple[Tensor, Tensor, Tensor, Tensor], Tensor]:
    """Return images of one size with two boxes each, of which one has two labels, and seeds."""
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(n, 3, *SIZE, generator=generator)
    sides = torch.tensor([[8.0, 10, 60, 50], [30, 20, 110, 90]]).repeat(n, 1) + torch.rand(
        2 * n, 4, generator=generator
    )
    boxes = torch.arange(2 * n)
    truth = (boxes // 2, sides, boxes, boxes % N_CLASSES)
    return images, torch.tensor([SIZE] * n), truth, torch.arange(2 * n).view(n, 2) + 5


def torchvisions(
    detector: Detector, images: Tensor, truth: tuple[Tensor, Tensor, Tensor, Tensor], seeds: Sequence[Sequence[int]]
) -> Tensor:
    """Return the loss of torchvision's own proposal network and heads, on the same modules."""
    listed = ImageList(images, [SIZE] * len(images))
    targets = [{"boxes": truth[1][truth[0] == k], "labels": truth[3][truth[0] == k] + 1} for k in range(len(images))]
    levels = detector._features(images)
    detector.rpn.fg_bg_sampler.seeds, detector.roi_heads.fg_bg_sampler.seeds = map(list, zip(*seeds, strict=True))
    proposing = dict(enumerate(detector._proposing(levels)))
    proposals, first = RegionProposalNetwork.forward(detector.rpn, listed, proposing, targets)
    _, second = RoIHeads.forward(detector.roi_heads, levels, proposals, [SIZE] * len(images), targets)
    return torch.stack([*first.values(), *second.values()]).sum()


@pytest.mark.parametrize(
    ("options", "name"),
    [
        (C4, "resnet18"),
        (PYRAMID, "resnet18"),
        pytest.param(C4, "resnet101_released", marks=pytest.mark.slow),
        pytest.param(PYRAMID, "resnet101_released", marks=pytest.mark.slow),
    ],
)
def test_the_loss_and_its_gradient_are_torchvisions(options: Detection, name: str) -> None:
    detector = detector_of(options, name)
    detector.train()
    detector.backbone.eval()  # batch normalisation would see two batches
    images, sizes, truth, seeds = batch(2)
    ours = DetectionLoss(SoftmaxLoss())(detector(images, sizes, truth, seeds))
    theirs = torchvisions(detector, images, truth, seeds.tolist())
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-5)
    parameters = [p for p in detector.parameters() if p.requires_grad]
    for a, b in zip(
        torch.autograd.grad(ours, parameters, allow_unused=True),
        torch.autograd.grad(theirs, parameters, allow_unused=True),
        strict=True,
    ):
        assert (a is None) == (b is None)
        if a is not None:
            assert (a - b).norm() <= 1e-3 * b.norm() + 1e-6


@pytest.mark.parametrize("options", [C4, PYRAMID], ids=["c4", "pyramid"])
def test_a_batch_learns_the_mean_of_its_images(options: Detection) -> None:
    # So one rank and two learn the same.
    detector = detector_of(options)
    detector.train()
    detector.backbone.eval()
    images, sizes, truth, seeds = batch(2)
    loss = DetectionLoss(SoftmaxLoss())
    whole = loss(detector(images, sizes, truth, seeds))
    parts = []
    for k in range(2):
        mine = truth[0] == k
        alone = (torch.zeros(2, dtype=torch.int64), truth[1][mine], torch.arange(2), truth[3][mine])
        parts.append(loss(detector(images[k : k + 1], sizes[k : k + 1], alone, seeds[k : k + 1])))
    assert whole.item() == pytest.approx(torch.stack(parts).mean().item(), rel=1e-5)


def test_boxes_found_are_torchvisions() -> None:
    detector = detector_of(C4).eval()
    images, sizes, _, _ = batch(2)
    predicted = detector(images, sizes)
    found = found_boxes(predicted, lambda logits: logits.softmax(1)[:, 1:], C4)
    levels = detector._features(images)
    proposals, _ = detector.rpn.propose(ImageList(images, [SIZE] * 2), detector._proposing(levels), None)
    theirs, _ = RoIHeads.forward(detector.roi_heads, levels, proposals, [SIZE] * 2)
    shares = torch.cat([one["boxes"] for one in theirs]) / torch.tensor([SIZE[1], SIZE[0]] * 2)
    assert len(found.score) > 0
    assert torch.allclose(found.score, torch.cat([one["scores"] for one in theirs]))
    assert torch.equal(found.class_index, torch.cat([one["labels"] for one in theirs]) - 1)
    assert torch.allclose(found.sides, shares, atol=1e-6)


def test_a_box_with_two_labels_wants_both() -> None:
    detector = detector_of(C4)
    detector.train()
    images, sizes, _, seeds = batch(1)
    sides = torch.tensor([[8.0, 10, 60, 50]])
    truth = (torch.zeros(1, dtype=torch.int64), sides, torch.zeros(2, dtype=torch.int64), torch.tensor([0, 2]))
    learnt = detector(images, sizes, truth, seeds).classes
    objects = learnt.wanted[learnt.wanted[:, 0] == 0]
    assert len(objects) > 0
    assert bool((objects == torch.tensor([0.0, 1, 0, 1])).all())
    assert len(learnt.offsets) == 2 * len(objects)


def test_images_without_boxes_learn_the_background() -> None:
    detector = detector_of(PYRAMID)
    detector.train()
    images, sizes, _, seeds = batch(2)
    nothing = torch.zeros(0, dtype=torch.int64)
    learnt = detector(images, sizes, (nothing, torch.zeros(0, 4), nothing, nothing), seeds)
    assert bool((learnt.classes.wanted[:, 0] == 1).all())
    loss = DetectionLoss(SoftmaxLoss())(learnt)
    loss.backward()
    assert torch.isfinite(loss)
    assert all(torch.isfinite(p.grad).all() for p in detector.parameters() if p.grad is not None)


def test_draws_depend_on_the_image_alone() -> None:
    labels = [torch.tensor([1, 0, -1, 0, 1, 0, 0, 1] * 9), torch.tensor([0, 1] * 40)]
    both = SeededSampler(16, 0.25)
    both.seeds = [3, 4]
    alone = SeededSampler(16, 0.25)
    for k in range(2):
        alone.seeds = [both.seeds[k]]
        for mask, one in zip(both(labels), alone([labels[k]]), strict=True):
            assert torch.equal(mask[k], one[0])
    positive, negative = both(labels)
    assert [int(mask.sum()) for mask in positive] == [4, 4]
    assert [int(mask.sum()) for mask in negative] == [12, 12]
    assert bool((labels[0][positive[0]] == 1).all() and (labels[0][negative[0]] == 0).all())


def test_concurrent_scores_of_regions_leave_the_background_alone() -> None:
    generator = torch.Generator().manual_seed(2)
    rates = torch.rand(N_CLASSES, N_CLASSES, generator=generator).fill_diagonal_(0)
    loss = DetectionLoss(ConcurrentSoftmaxLoss(with_background(rates)))
    logits = torch.randn(6, N_CLASSES + 1, generator=generator)
    found = region_scores(LOSSES[LossName.CONCURRENT_SOFTMAX], loss.state_dict(), N_CLASSES, None)(logits)
    whole = torch.zeros(N_CLASSES + 1, N_CLASSES + 1)
    whole[1:, 1:] = rates
    assert torch.allclose(found, concurrent_probabilities(logits, whole)[:, 1:], atol=1e-6)
    assert any(name.startswith(CLASSES) for name in loss.state_dict())


@pytest.mark.parametrize(("network", "name"), [(resnet18, "resnet18"), (resnet50, "resnet50")])
def test_stages_are_the_networks(network: Any, name: str) -> None:
    model = network().eval()
    x = torch.randn(1, 3, 64, 64)
    stages = Stages(model, name)
    *_, last = stages.outputs(x)
    assert torch.equal(torch.flatten(model.avgpool(last), 1), torch.flatten(last.mean((2, 3), keepdim=True), 1))
    third = list(stages.outputs(x, N_STAGES - 1))[-1]
    assert torch.allclose(stages.last(third), last.mean((2, 3)))
    assert [output.shape[1] for output in stages.outputs(x)] == list(stages.channels)


def test_dilation_is_torchvisions() -> None:
    torch.manual_seed(0)
    theirs = resnet50(replace_stride_with_dilation=[False, True, True]).eval()
    ours = resnet50().eval()
    ours.load_state_dict(theirs.state_dict())
    stages = Stages(ours, "resnet50")
    dilate(stages.all[2], 2)
    dilate(stages.all[3], 4)
    x = torch.randn(1, 3, 65, 65)
    assert torch.allclose(ours(x), theirs(x), atol=1e-5)


def test_a_stage_without_stride_keeps_the_size() -> None:
    stage = resnet50().layer4
    without_stride(stage)
    assert stage(torch.randn(1, 1024, 7, 7)).shape == (1, 2048, 7, 7)


def test_a_copy_has_stages_of_its_own() -> None:
    detector = detector_of(C4).eval()
    other = copy.deepcopy(detector)
    torch.nn.init.zeros_(other.backbone.conv1.weight)  # type: ignore[union-attr,arg-type]  # it is torchvision's network
    images, sizes, _, _ = batch(1)
    assert not torch.equal(detector(images, sizes).logits[:1], other(images, sizes).logits[:1])


def test_a_network_without_stages_is_refused() -> None:
    with pytest.raises(UsageError, match="mobilenet_v2 does not give features of its stages"):
        Detector(create_model("mobilenet_v2", N_CLASSES), "mobilenet_v2", C4)


def test_a_loss_that_is_not_for_boxes_is_refused() -> None:
    with pytest.raises(ValueError, match=r"loss\.name = released is not for detection, which has binary-cross-entropy"):
        Run(epochs=1, task=TaskName.DETECTION)
