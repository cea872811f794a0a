"""ASPP-L is the sum of its branches, and the loss a mean over pixels and images."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from torchvision.models.resnet import resnet50

from mlimages_dataset.loaders.batch import one_batch
from mlimages_dataset.loaders.transforms import to_unit_range
from mlimages_dataset.sources.label_maps import IGNORED
from mlimages_dataset.train.losses.pixels import PixelLoss
from mlimages_dataset.train.models import batch_norms, create_model
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


@pytest.mark.parametrize("size", [(17, 17), (25, 18)])
def test_the_loss_is_that_of_every_judged_pixel(size: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(2, N_CLASSES, 4, 4, generator=generator, requires_grad=True)
    maps = torch.randint(0, N_CLASSES, (2, *size), generator=generator, dtype=torch.uint8)
    maps[0, :9] = IGNORED
    loss = PixelLoss()(logits, maps)
    large = functional.interpolate(logits, (25, 25), mode="bilinear", align_corners=True)
    parts = []
    for k in range(2):
        log = large[k].log_softmax(0)
        judged = [(i, j) for i in range(size[0]) for j in range(size[1]) if maps[k, i, j] != IGNORED]
        parts.append(-torch.stack([log[int(maps[k, i, j]), i, j] for i, j in judged]).mean())
    assert loss.item() == pytest.approx(torch.stack(parts).mean().item(), rel=1e-5)
    loss.backward()
    assert logits.grad is not None
    assert bool((logits.grad[0, :, 0] == 0).all())  # of pixels that are not judged


@pytest.mark.parametrize("sizes", [[(60, 77)] * 3, [(1, 1), (41, 97)], [(33, 8), (9, 90), (33, 8), (70, 70)]])
def test_a_batch_of_pictures_has_the_maps_of_each_alone(sizes: list[tuple[int, int]]) -> None:
    torch.manual_seed(0)
    segmenter = Segmenter(create_model("resnet18", N_CLASSES), "resnet18", Segmentation(rates=(1, 3))).eval()
    for norm in batch_norms(segmenter):  # shifts, as of a trained network: padding of zeros is then not nothing
        nn.init.uniform_(norm.bias)
    planes = [np.random.default_rng(k).integers(0, 256, (3, *size), np.uint8) for k, size in enumerate(sizes)]
    images, of_images = one_batch(planes)
    found = segmenter(to_unit_range(images), of_images)
    for k, (height, width) in enumerate(sizes):
        alone = segmenter(to_unit_range(torch.from_numpy(planes[k])[None]), of_images[k : k + 1])
        h, w = alone.logits.shape[2:]
        torch.testing.assert_close(found.logits[k, :, :h, :w], alone.logits[0], atol=1e-3, rtol=1e-3)
        assert found.class_map(k).shape == (height, width)


def test_the_map_of_a_picture_does_not_depend_on_what_is_beside_it() -> None:
    torch.manual_seed(0)
    segmenter = Segmenter(create_model("resnet18", N_CLASSES), "resnet18", Segmentation(rates=(1,))).eval()
    logits = torch.randn(1, N_CLASSES, 9, 13)
    alone = Segmented(logits[:, :, :6], torch.tensor([[41, 97]])).class_map(0)
    beside = Segmented(logits, torch.tensor([[41, 97]])).class_map(0)
    assert alone.shape == (41, 97)
    assert (alone == beside).all()
    x = torch.randn(1, 3, 60, 77)
    found = segmenter(x, torch.tensor([[60, 77]]))
    assert found.logits.shape[2:] == (9, 11)  # of 65 and 81 pixels
    assert found.class_map(0).shape == (60, 77)
