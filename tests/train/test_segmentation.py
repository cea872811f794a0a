"""ASPP-L is the sum of its branches, and the loss a mean over pixels and images."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional
from torchvision.models.resnet import resnet50

from mlimages_dataset.sources.label_maps import IGNORED
from mlimages_dataset.train.losses.pixels import PixelLoss
from mlimages_dataset.train.models import create_model
from mlimages_dataset.train.segmentation import Segmented, Segmenter
from mlimages_dataset.train.task_options import Segmentation

N_CLASSES = 5


def test_it_is_a_dilated_network_and_the_sum_of_four_convolutions() -> None:
    torch.manual_seed(0)
    segmenter = Segmenter(create_model("resnet50", N_CLASSES), "resnet50", Segmentation())
    segmenter.train()
    segmenter.backbone.eval()
    theirs = resnet50(replace_stride_with_dilation=[False, True, True]).eval()
    theirs.fc = nn.Identity()
    theirs.load_state_dict(segmenter.backbone.state_dict())
    x = torch.randn(1, 3, 65, 65)
    with torch.no_grad():
        y = theirs.maxpool(theirs.relu(theirs.bn1(theirs.conv1(x))))
        y = theirs.layer4(theirs.layer3(theirs.layer2(theirs.layer1(y))))
        assert y.shape[2:] == (9, 9)  # output stride 8
        convolutions = [branch for branch in segmenter.branches if isinstance(branch, nn.Conv2d)]
        wanted = [
            functional.conv2d(y, branch.weight, branch.bias, padding=rate, dilation=rate)
            for branch, rate in zip(convolutions, (6, 12, 18, 24), strict=True)
        ]
        assert torch.allclose(segmenter(x), torch.stack(wanted).sum(0), atol=1e-5)


@pytest.mark.parametrize("size", [(16, 16), (24, 17)])
def test_the_loss_is_that_of_every_judged_pixel(size: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(2, N_CLASSES, *size, generator=generator, requires_grad=True)
    maps = torch.randint(0, N_CLASSES, (2, *size), generator=generator, dtype=torch.uint8)
    maps[0, :5] = IGNORED
    loss = PixelLoss()(logits, maps)
    parts = []
    for k in range(2):
        log = logits[k].log_softmax(0)
        judged = [(i, j) for i in range(size[0]) for j in range(size[1]) if maps[k, i, j] != IGNORED]
        parts.append(-torch.stack([log[int(maps[k, i, j]), i, j] for i, j in judged]).mean())
    assert loss.item() == pytest.approx(
        torch.stack(parts).mean().item(), rel=1e-5
    )  # logits have the maps' size already
    loss.backward()
    assert logits.grad is not None
    assert bool((logits.grad[0, :, :5] == 0).all())


def test_a_map_has_the_size_of_its_picture_without_the_padding() -> None:
    logits = torch.full((1, 3, 12, 12), -9.0)
    logits[:, 1, :, :6] = 9.0
    logits[:, 2, :, 6:] = 9.0
    segmented = Segmented(logits, torch.tensor([[60, 80]]), (96, 96))
    found = segmented.class_map(0)
    assert found.shape == (60, 80)
    assert set(found[:, :40].ravel().tolist()) == {1}
    assert set(found[:, 56:].ravel().tolist()) == {2}
    assert segmented.class_map(0, (120, 160)).shape == (120, 160)
